/** Where Chromium is, and its driver in software. */
import { dirname, join } from "node:path";
import { findChromium } from "../../tests/support/chromium.ts";

/** Where Chromium is; undefined where there is none. */
export function chromiumPath(): string | undefined {
  const found = findChromium();
  return "path" in found ? found.path : undefined;
}

/** Where packages put the browser, if not beside the command. */
const FOLDERS = ["/usr/lib/chromium", "/usr/lib/chromium-browser", "/opt/google/chrome"];

/**
 * The manifest of Chromium's Vulkan driver in software, for the Vulkan loader's `VK_DRIVER_FILES`; undefined
 * where there is none. Chromium takes no other driver in software, so that this is the adapter which a
 * machine without a GPU can give to all.
 */
export async function chromiumDriver(): Promise<string | undefined> {
  const command = chromiumPath();
  if (command === undefined) return undefined;
  const folders = [dirname(await Deno.realPath(command)), ...FOLDERS];
  for (const folder of folders) {
    const manifest = join(folder, "vk_swiftshader_icd.json");
    const { isFile } = await Deno.stat(manifest).catch((error: unknown) => {
      if (error instanceof Deno.errors.NotFound) return { isFile: false };
      throw error;
    });
    if (isFile) return manifest;
  }
  return undefined;
}
