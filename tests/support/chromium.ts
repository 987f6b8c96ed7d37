/** Headless Chromium on this machine, with WebGPU. */
import { commandOnPath, type Requirement } from "./lanes.ts";

/** Where the browser is, or what to install. */
export function findChromium(): Requirement {
  return commandOnPath(
    ["chromium", "chromium-browser", "google-chrome"],
    /\d+\.\d+/,
    "Chromium, such as Debian's package chromium",
  );
}

/**
 * Flags that any run takes. No sandbox: a container has none to give. The rest but WebGPU keeps the browser
 * from looking outside.
 */
export const COMMON_FLAGS: readonly string[] = [
  "--no-sandbox",
  "--enable-unsafe-webgpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** WebGPU by the browser's own driver in software. */
export const SOFTWARE_FLAG = "--use-webgpu-adapter=swiftshader";

/** With these headers a page may have the finest clock, and share memory. */
export const ISOLATION = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
} as const;
