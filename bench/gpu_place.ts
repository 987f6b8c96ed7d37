/** Which adapter GPU work is done on, and where: the same for all systems. */
import { adapterHere } from "./adapter.ts";
import { chromiumDriver } from "./chromium/find.ts";
import type { StartMessage } from "./messages.ts";
import { ORT_WEB, type System } from "./systems.ts";

/** Where GPU work is done. */
export interface GpuPlace {
  /** The manifest of the Vulkan driver; the machine's own when undefined. */
  readonly vulkanDriver: string | undefined;
  /** Whether onnxruntime-web runs in Chromium, as it is meant to, or in Deno. */
  readonly browser: boolean;
  /** Whether it is a driver in software. */
  readonly software: boolean;
}

/**
 * On a GPU, what runs in Deno and in Chromium shares it. Of drivers in software Chromium takes none but its
 * own: so all have that, or, with `ownDriver`, all have the machine's, in Deno.
 */
export async function findGpuPlace(ownDriver: boolean): Promise<GpuPlace> {
  const software = (await adapterHere())?.software ?? false;
  if (!software) return { vulkanDriver: undefined, browser: true, software };
  if (ownDriver) return { vulkanDriver: undefined, browser: false, software };
  return { vulkanDriver: await chromiumDriver(), browser: true, software };
}

/** What a system's process is told of it. */
export function placeOf(
  system: System,
  { vulkanDriver, browser }: Omit<GpuPlace, "software">,
): Pick<StartMessage, "vulkanDriver" | "inChromium"> {
  return { vulkanDriver, inChromium: browser && system === ORT_WEB };
}
