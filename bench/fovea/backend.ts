/** Which of Fovea's backends does a work, and how. */
import { type Backend, memoryTuning, wasm, webgpu } from "../../backends/mod.ts";
import type { StartMessage } from "../messages.ts";
import type { TimedWork } from "../works.ts";
import { isTuned } from "./settings.ts";

/** How Fovea is set up: threads are WASM's. */
export type FoveaSetting = Pick<StartMessage, "threads" | "setting">;

/** The work's backend. */
export async function backendOf(
  { backend }: TimedWork,
  { threads, setting }: FoveaSetting,
): Promise<Backend> {
  if (backend === "wasm") return wasm({ threads });
  return await webgpu(isTuned(setting) ? { tuning: memoryTuning() } : {});
}
