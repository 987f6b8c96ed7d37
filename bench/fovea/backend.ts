/** Which of Fovea's backends does a work. */
import { type Backend, wasm, webgpu } from "../../backends/mod.ts";
import type { TimedWork } from "../works.ts";

/** The work's backend; threads are WASM's. */
export async function backendOf({ backend }: TimedWork, threads: number): Promise<Backend> {
  return backend === "webgpu" ? await webgpu() : wasm({ threads });
}
