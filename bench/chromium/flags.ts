/** How headless Chromium is started so that pages have WebGPU. */

/**
 * No sandbox: a container has none to give. Adapters say what they are. The rest keeps the browser from
 * looking outside.
 */
const COMMON = [
  "--no-sandbox",
  "--enable-unsafe-webgpu",
  "--enable-webgpu-developer-features",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** The machine's own Vulkan driver. */
const NATIVE = ["--enable-features=Vulkan", "--use-vulkan=native", "--ignore-gpu-blocklist"];

/** The browser's own driver in software: it takes no other. */
const SOFTWARE = ["--use-webgpu-adapter=swiftshader"];

/** The browser's command line: for a GPU, or for a machine that has only a driver in software. */
export function browserFlags(software: boolean): string[] {
  return [...COMMON, ...(software ? SOFTWARE : NATIVE)];
}

/** With these headers a page may have the finest clock, and share memory. */
export const ISOLATION = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
} as const;
