/** What goes wrong on a GPU: typed, with the kernel, its line and its nodes; and going on after a loss. */
import { compile } from "../../backends/compile.ts";
import { OutOfMemoryError, UnusableProgramError } from "../../backends/errors.ts";
import { assembleGpu } from "../../backends/webgpu/assemble.ts";
import { backendOn } from "../../backends/webgpu/backend.ts";
import type { GpuCapabilities, GpuLimits } from "../../backends/webgpu/capabilities.ts";
import { type GpuDevice, requestDevice } from "../../backends/webgpu/device.ts";
import { DeviceProgram } from "../../backends/webgpu/device_program.ts";
import {
  DeviceLostError,
  GpuUnavailableError,
  GpuValidationError,
  ShaderError,
} from "../../backends/webgpu/errors.ts";
import type { DeviceLossNote } from "../../backends/webgpu/runtime.ts";
import { lowerGraph } from "../../compiler/pipeline.ts";
import * as g from "../../graph/mod.ts";
import { add, mul, spec, sum, trace } from "../../graph/mod.ts";
import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "../support/assert.ts";
import { gpuTest } from "../support/gpu.ts";
import { moduleOf } from "../support/lowered.ts";

/** Adds the input to a running total, which it keeps. */
const totalGraph = trace(
  { state: { total: spec("f32", [2]), runs: spec("i32", []) }, x: spec("f32", [2]) },
  ({ state: { total, runs }, x }) => {
    const next = add(total, x);
    return { state: { total: next, runs: add(runs, 1) }, sum: sum(next) };
  },
);

/** A device whose loss nobody else notices. */
async function ownDevice(test: (gpu: GpuDevice) => Promise<void>): Promise<void> {
  const gpu = await requestDevice();
  try {
    await test(gpu);
  } finally {
    gpu.device.destroy();
  }
}

async function totals(gpu: GpuDevice) {
  const notes: DeviceLossNote[] = [];
  const backend = backendOn(gpu, { onDeviceLost: (note) => notes.push(note) });
  const program = await compile(totalGraph, { backend, donate: { state: "state" } });
  program.set({ state: { total: Float32Array.of(1, 2), runs: 0 } });
  const run = async (x: number) => (await program.run({ x: Float32Array.of(x, 0) })).sum.data[0];
  return { program, notes, run };
}

gpuTest(
  "webgpu: after a loss a program goes on where its state was set",
  () =>
    ownDevice(async (gpu) => {
      const { program, notes, run } = await totals(gpu);
      assertEquals(await run(10), 13);
      assertEquals(await run(10), 23);
      gpu.device.destroy();
      assertEquals(await run(100), 103);
      assertEquals(await run(1), 104);
      const { runs } = await program.get("state");
      assertEquals([...runs.data], [2]);
      assertEquals(notes.map(({ runsUndone }) => runsUndone), [2]);
      assertStringIncludes(notes[0]?.message ?? "", "destroyed");
      assertStringIncludes(notes[0]?.message ?? "", "2 runs before");
      (await gpu.replacement()).device.destroy();
      program[Symbol.dispose]();
    }),
);

gpuTest(
  "webgpu: after a loss a program goes on where its state was read as a whole",
  () =>
    ownDevice(async (gpu) => {
      const { program, notes, run } = await totals(gpu);
      assertEquals(await run(10), 13);
      const { total } = await program.get("state");
      // A part is of a later moment than the rest: it does not count.
      assertEquals(await run(5), 18);
      await program.get("state/total");
      total.data.fill(0);
      gpu.device.destroy();
      assertEquals(await run(100), 113);
      assertEquals([...(await program.get("state/runs")).data], [2]);
      assertEquals(notes.map(({ runsUndone }) => runsUndone), [1]);
      (await gpu.replacement()).device.destroy();
      program[Symbol.dispose]();
    }),
);

gpuTest(
  "webgpu: what is under way when the device is lost is done again, in order",
  () =>
    ownDevice(async (gpu) => {
      const { program, notes, run } = await totals(gpu);
      gpu.device.destroy();
      const runs = [run(10), run(20)];
      const state = program.get("state");
      runs.push(run(30));
      program.set({ state: { total: Float32Array.of(0, 0), runs: 0 } });
      runs.push(run(7));
      assertEquals(await Promise.all(runs), [13, 33, 63, 7]);
      assertEquals([...(await state).total.data], [31, 2]);
      assertEquals(notes.length, 1);
      (await gpu.replacement()).device.destroy();
      program[Symbol.dispose]();
    }),
);

gpuTest("webgpu: a second loss is an error, and stays one", () =>
  ownDevice(async (gpu) => {
    const { program, run } = await totals(gpu);
    gpu.device.destroy();
    assertEquals(await run(1), 4);
    (await gpu.replacement()).device.destroy();
    await assertRejects(() => run(1), DeviceLostError, "for the second time");
    await assertRejects(() => run(1), DeviceLostError, "for the second time");
    assertThrows(() => program.set({ x: Float32Array.of(1, 1) }), DeviceLostError);
    assertEquals(program.memory().totalBytes, 0);
    program[Symbol.dispose]();
  }));

gpuTest("webgpu: a program disposed while it recovers says so", () =>
  ownDevice(async (gpu) => {
    const { program, run } = await totals(gpu);
    gpu.device.destroy();
    const result = assertRejects(() => run(1), UnusableProgramError);
    await gpu.lostBy(undefined);
    program[Symbol.dispose]();
    await result;
    (await gpu.replacement()).device.destroy();
  }));

gpuTest(
  "webgpu: a kernel at which the device is lost is named, with its line and nodes",
  () =>
    ownDevice(async (gpu) => {
      const { device, capabilities } = gpu;
      const x = g.input("x", "f32", [4]);
      const y = g.withScope("successor", () => g.add(x, 1));
      const program = lowerGraph(moduleOf({ y }), { target: capabilities });
      const plan = { program, capabilities, assembled: assembleGpu(program, capabilities) };
      using loaded = await DeviceProgram.load(gpu, plan);
      device.destroy();
      await gpu.lostBy(undefined);
      const error = await assertRejects(() => loaded.runOneByOne([]), DeviceLostError);
      const [kernel] = program.kernels;
      assertEquals(error.kernel, kernel?.name);
      assertStringIncludes(error.message, `while kernel "${kernel?.name}" (step 0) was running`);
      assertStringIncludes(error.message, "@compute @workgroup_size");
      assertStringIncludes(error.message, "successor");
    }),
);

gpuTest(
  "webgpu: a program compiled on a lost device is compiled on another",
  () =>
    ownDevice(async (gpu) => {
      gpu.device.destroy();
      await gpu.lostBy(undefined);
      const { program, run } = await totals(gpu);
      assertEquals(await run(1), 4);
      (await gpu.replacement()).device.destroy();
      program[Symbol.dispose]();
    }),
);

/** The device's record with other limits than it has. */
function claiming(gpu: GpuDevice, limits: Partial<GpuLimits>): GpuCapabilities {
  return { ...gpu.capabilities, limits: { ...gpu.capabilities.limits, ...limits } };
}

async function runWith(gpu: GpuDevice, limits: Partial<GpuLimits>, size: number): Promise<unknown> {
  const graph = trace(
    { x: spec("f32", [size]) },
    ({ x }) => ({ y: g.withScope("double", () => mul(x, 2)) }),
  );
  using program = await compile(graph, {
    backend: backendOn(gpu, { capabilities: claiming(gpu, limits) }),
  });
  return await program.run({ x: new Float32Array(size) });
}

gpuTest("webgpu: a kernel that the device refuses to run is named", () =>
  ownDevice(async (gpu) => {
    const limits = { maxComputeWorkgroupsPerDimension: 2 ** 24 };
    const error = await assertRejects(
      () => runWith(gpu, limits, 65536 * 64),
      GpuValidationError,
      "The GPU device refused kernel",
    );
    assertEquals(error.step, 0);
    assertStringIncludes(error.message, `"${error.kernel}" (step 0)`);
    assertStringIncludes(error.message, "@compute @workgroup_size");
    assertStringIncludes(error.message, "mul in double");
    assertStringIncludes(error.message, "webgpu_errors_test.ts");
    // The device is as before.
    await runWith(gpu, {}, 4);
  }));

gpuTest(
  "webgpu: a shader that does not compile is shown at its line, with its nodes",
  () =>
    ownDevice(async (gpu) => {
      const { capabilities } = gpu;
      const y = g.withScope("successor", () => g.add(g.input("x", "f32", [4]), 1));
      const program = lowerGraph(moduleOf({ y }), { target: capabilities });
      const assembled = assembleGpu(program, capabilities);
      const modules = assembled.modules.map((module) => ({
        ...module,
        wgsl: module.wgsl.replace("fn main", "fn broken() { let a: i32 = 1.5; }\nfn main"),
      }));
      const plan = { program, capabilities, assembled: { ...assembled, modules } };
      const error = await assertRejects(() => DeviceProgram.load(gpu, plan), ShaderError);
      assertStringIncludes(error.message, `kernel "${program.kernels[0]?.name}" does not compile`);
      assertStringIncludes(error.message, "fn broken() { let a: i32 = 1.5; }");
      assertStringIncludes(error.message, "add in successor");
      assertEquals(gpu.pipelines.size, 0);
    }),
);

gpuTest(
  "webgpu: memory that cannot be had is an error that says what is large",
  () =>
    ownDevice(async (gpu) => {
      const { device } = gpu;
      // A driver may promise what the machine does not have, so the refusal is made up.
      const refuse = () => Promise.resolve(new GPUOutOfMemoryError("not enough memory left"));
      const pop = device.popErrorScope.bind(device);
      Object.defineProperty(device, "popErrorScope", { value: () => pop().then(refuse) });
      const error = await assertRejects(() => runWith(gpu, {}, 1024), OutOfMemoryError);
      assert(error.bytesWanted >= 8192);
      assertStringIncludes(error.message, "not enough memory left");
      assertStringIncludes(error.message, "in double");
    }),
);

gpuTest(
  "webgpu: memory for results that cannot be had is an error, and the next run has its own",
  () =>
    ownDevice(async (gpu) => {
      const { program, run } = await totals(gpu);
      const { totalBytes } = program.memory();
      await replacing(
        gpu.device,
        "popErrorScope",
        () => Promise.resolve(new GPUOutOfMemoryError("not enough memory left")),
        async () => {
          const error = await assertRejects(
            () => run(10),
            OutOfMemoryError,
            "not enough memory left",
          );
          assertEquals(error.bytesWanted, 8);
        },
      );
      assertEquals(program.memory().totalBytes, totalBytes);
      // The device has computed what could not be read.
      assertEquals(await run(10), 23);
      program[Symbol.dispose]();
    }),
);

gpuTest(
  "webgpu: memory that a device lacks while it runs is an error with what it was given",
  () =>
    ownDevice(async (gpu) => {
      const { program, run } = await totals(gpu);
      const error = new GPUOutOfMemoryError("not enough memory left");
      gpu.device.dispatchEvent(new GPUUncapturedErrorEvent("uncapturederror", { error }));
      const found = await assertRejects(() => run(10), OutOfMemoryError, "not enough memory left");
      assertEquals(found.bytesWanted, program.memory().totalBytes);
      program[Symbol.dispose]();
    }),
);

gpuTest(
  "webgpu: where no other device can be had, a loss is an error, and stays one",
  () =>
    ownDevice(async (gpu) => {
      const { program, run, notes } = await totals(gpu);
      assertEquals(await run(1), 4);
      gpu.device.destroy();
      await replacing(navigator.gpu, "requestAdapter", () => Promise.resolve(null), async () => {
        await assertRejects(() => run(1), GpuUnavailableError, "mesa-vulkan-drivers");
      });
      await assertRejects(() => run(1), GpuUnavailableError, "mesa-vulkan-drivers");
      assertEquals(program.memory().totalBytes, 0);
      assertEquals(notes, []);
      program[Symbol.dispose]();
    }),
);

/** Runs with another value of a property, which it puts back. */
async function replacing<T extends object, K extends keyof T>(
  object: T,
  name: K,
  value: T[K],
  run: () => Promise<void>,
): Promise<void> {
  const own = Object.getOwnPropertyDescriptor(object, name);
  Object.defineProperty(object, name, { value, configurable: true, writable: true });
  try {
    await run();
  } finally {
    if (own === undefined) delete object[name];
    else Object.defineProperty(object, name, own);
  }
}

Deno.test("webgpu: without an adapter the error says what to install", () =>
  replacing(navigator.gpu, "requestAdapter", () => Promise.resolve(null), async () => {
    await assertRejects(() => requestDevice(), GpuUnavailableError, "mesa-vulkan-drivers");
  }));

Deno.test("webgpu: without WebGPU the error says what has it", () =>
  // The types promise what hosts without WebGPU do not have.
  replacing(navigator as { gpu: unknown }, "gpu", undefined, async () => {
    await assertRejects(() => requestDevice(), GpuUnavailableError, "wanted Deno 2");
  }));

gpuTest("webgpu: an adapter that gives no device is an error with its reason", async () => {
  const adapter = await navigator.gpu.requestAdapter();
  assert(adapter !== null);
  const refuse = () => Promise.reject(new DOMException("the adapter is consumed"));
  await replacing(
    adapter,
    "requestDevice",
    refuse,
    () =>
      replacing(navigator.gpu, "requestAdapter", () => Promise.resolve(adapter), async () => {
        const error = await assertRejects(() => requestDevice(), GpuUnavailableError);
        assertStringIncludes(error.message, "the adapter is consumed");
      }),
  );
});

gpuTest("webgpu: programs that are the same share their pipelines", () =>
  ownDevice(async (gpu) => {
    const first = await totals(gpu);
    const { size } = gpu.pipelines;
    assert(size > 0);
    const second = await totals(gpu);
    assertEquals(gpu.pipelines.size, size);
    first.program[Symbol.dispose]();
    assertEquals(await second.run(1), 4);
    second.program[Symbol.dispose]();
    assertEquals(gpu.pipelines.size, 0);
  }));
