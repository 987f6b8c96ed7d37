/** How long a program's steps take on WebGPU. */
import { backendOn } from "../../backends/webgpu/backend.ts";
import { sharedDevice } from "../../backends/webgpu/device.ts";
import { GpuExecutable } from "../../backends/webgpu/runtime.ts";
import type { GpuCapabilities } from "../../backends/webgpu/capabilities.ts";
import * as g from "../../graph/mod.ts";
import { assert, assertEquals, assertRejects } from "../support/assert.ts";
import { gpuTest } from "../support/gpu.ts";
import { moduleOf } from "../support/lowered.ts";

async function prepared(capabilities?: GpuCapabilities): Promise<GpuExecutable> {
  const x = g.input("x", "f32", [64, 96]);
  const y = g.softmax(g.contract("a k, b k -> a b", x, x), -1);
  const backend = backendOn(await sharedDevice(), { capabilities });
  const executable = await backend.prepare(moduleOf({ y }), { bind: {}, donate: {} });
  if (!(executable instanceof GpuExecutable)) throw new TypeError("It runs on another backend");
  const data = Float32Array.from({ length: 64 * 96 }, (_, at) => Math.sin(at));
  executable.write("x", { data });
  return executable;
}

gpuTest("WebGPU times every step, and the results are those of a run", async () => {
  using executable = await prepared();
  const run = (await executable.run(["y"])).get("y");
  const { capabilities } = await sharedDevice();
  if (!capabilities.timestamps) return;
  const times = await executable.timeSteps();
  assertEquals(times.length, executable.steps().length);
  assert(times.length > 1);
  assert(times.every((time) => Number.isFinite(time) && time >= 0));
  assert(times.some((time) => time > 0));
  assertEquals((await executable.run(["y"])).get("y"), run);
});

gpuTest("WebGPU times no steps on a device without timestamps", async () => {
  const { capabilities } = await sharedDevice();
  using executable = await prepared({ ...capabilities, timestamps: false });
  await assertRejects(() => executable.timeSteps(), TypeError, "timestamp-query");
});
