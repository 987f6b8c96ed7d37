/** How runs reach a GPU: what is made once, what each run submits, and what is under way at once. */
import { compile } from "../../backends/compile.ts";
import { backendOn } from "../../backends/webgpu/backend.ts";
import { DEFAULT_LIMITS, type GpuLimits } from "../../backends/webgpu/capabilities.ts";
import { requestDevice } from "../../backends/webgpu/device.ts";
import { add, mul, softmax, spec, sum, trace } from "../../graph/mod.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { gpuTest } from "../support/gpu.ts";

/** Puts a function in front of an object's method, which it is given. */
function replace<Args extends unknown[], Result>(
  object: object,
  name: string,
  change: (method: (...args: Args) => Result) => (...args: Args) => Result,
): void {
  const method = Reflect.get(object, name) as (...args: Args) => Result;
  Object.defineProperty(object, name, {
    value: change((...args) => Reflect.apply(method, object, args)),
    configurable: true,
  });
}

/** What a device is asked for from now on. */
class Calls {
  readonly #counts = new Map<string, number>();
  #mapping = 0;
  /** The most buffers that were being mapped at once. */
  mostMapping = 0;

  constructor(device: GPUDevice) {
    for (const name of ["createBuffer", "createBindGroup", "createComputePipelineAsync"]) {
      this.#count(device, name);
    }
    this.#count(device, "createCommandEncoder");
    this.#count(device.queue, "submit");
    replace(device, "createCommandEncoder", (create: () => GPUCommandEncoder) => () => {
      const encoder = create();
      this.#count(encoder, "beginComputePass");
      return encoder;
    });
    replace(device, "createBuffer", (create: GPUDevice["createBuffer"]) => (descriptor) => {
      const buffer = create(descriptor);
      replace(buffer, "mapAsync", (map: GPUBuffer["mapAsync"]) => async (...range) => {
        this.mostMapping = Math.max(this.mostMapping, ++this.#mapping);
        await map(...range);
        this.#mapping--;
        return undefined;
      });
      return buffer;
    });
  }

  #count(object: object, name: string): void {
    replace(object, name, (method: (...args: unknown[]) => unknown) => (...args) => {
      this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1);
      return method(...args);
    });
  }

  /** How often which methods were called since this was last asked. */
  take(): Record<string, number> {
    const counts = Object.fromEntries(this.#counts);
    this.#counts.clear();
    return counts;
  }
}

/** Several kernels, a state that they update, and two results. */
const graph = trace(
  { total: spec("f32", [33, 7]), x: spec("f32", [33, 7]) },
  ({ total, x }) => {
    const next = add(total, softmax(x));
    return { total: next, rows: sum(mul(next, next), 1), columns: sum(softmax(next), 0) };
  },
);

gpuTest(
  "webgpu: a run is one encoder, one pass and one submit, before others have ended",
  async () => {
    const gpu = await requestDevice();
    const calls = new Calls(gpu.device);
    try {
      using program = await compile(graph, {
        backend: backendOn(gpu),
        donate: { total: "total" },
      });
      const kernels = program.kernels().length;
      assert(kernels > 1);
      assertEquals(calls.take().createBindGroup, kernels);
      const x = Float32Array.from({ length: 231 }, (_, at) => at % 5);
      program.set({ total: new Float32Array(231), x });
      const once = { createCommandEncoder: 1, beginComputePass: 1, submit: 1 };
      const first = program.run();
      assertEquals(calls.take(), { ...once, createBuffer: 1 });
      const second = program.run({ x: x.map((value) => 2 * value) });
      const third = program.run();
      // Both are with the device, and no result has been waited for.
      assertEquals(calls.take(), {
        createCommandEncoder: 2,
        beginComputePass: 2,
        submit: 2,
        createBuffer: 2,
      });
      await Promise.all([first, second, third]);
      assertEquals(calls.mostMapping, 3);
      await program.run();
      // The buffer to read from is one of those from before.
      assertEquals(calls.take(), once);
    } finally {
      gpu.device.destroy();
    }
  },
);

gpuTest("webgpu: the device has its adapter's own limits", async () => {
  const adapter = await navigator.gpu.requestAdapter();
  const gpu = await requestDevice();
  try {
    for (const name of Object.keys(DEFAULT_LIMITS) as (keyof GpuLimits)[]) {
      assertEquals(gpu.device.limits[name], adapter?.limits[name], name);
      assertEquals(gpu.capabilities.limits[name], adapter?.limits[name], name);
    }
  } finally {
    gpu.device.destroy();
  }
});

gpuTest("webgpu: a tensor of more than 128 MiB is computed with", async (backend) => {
  const [rows, columns] = [33, 2 ** 20];
  const large = trace({ x: spec("f32", [rows, columns]) }, ({ x }) => {
    const doubled = mul(x, 2);
    return { doubled, sums: sum(doubled, 1) };
  });
  using program = await compile(large, { backend, checkInputs: false });
  const x = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) x.fill(row, row * columns, row * columns + 1024);
  const { doubled, sums } = await program.run({ x });
  assertEquals([...sums.data], Array.from({ length: rows }, (_, row) => 2048 * row));
  assertEquals(doubled.data.length, x.length);
  assert(doubled.data.every((value, at) => value === 2 * (x[at] ?? NaN)));
});
