/** How headless Chromium is started so that pages have WebGPU. */
import { COMMON_FLAGS, SOFTWARE_FLAG } from "../../tests/support/chromium.ts";

/** Those of tests; adapters say what they are. */
const COMMON = [...COMMON_FLAGS, "--enable-webgpu-developer-features"];

/** The machine's own Vulkan driver. */
const NATIVE = ["--enable-features=Vulkan", "--use-vulkan=native", "--ignore-gpu-blocklist"];

/** The browser's own driver in software: it takes no other. */
const SOFTWARE = [SOFTWARE_FLAG];

/** The browser's command line: for a GPU, or for a machine that has only a driver in software. */
export function browserFlags(software: boolean): string[] {
  return [...COMMON, ...(software ? SOFTWARE : NATIVE)];
}
