/** f16 and bf16 on WebGPU: every pattern is loaded exactly, and rounding goes to the nearest, ties to even. */
import { backendOn } from "../../backends/webgpu/backend.ts";
import { sharedDevice } from "../../backends/webgpu/device.ts";
import { bf16Value, f16Value, roundToStorage } from "../../backends/reference/storage.ts";
import { compile } from "../../backends/compile.ts";
import { cast, contract, reshape, spec, trace } from "../../graph/mod.ts";
import { assertEquals } from "../support/assert.ts";
import { checkRun } from "../support/attention_graphs.ts";
import { gpuTest, gpuWithoutCosts } from "../support/gpu.ts";
import { graphsOfHalves } from "../support/half_graphs.ts";
import { runOn } from "../support/run_graph.ts";

const PATTERNS = 65536;

/** Every value, halfway to the one before, and the f32 on both sides of that. */
function numbersAround(valueOf: (bits: number) => number): Float32Array<ArrayBuffer> {
  const numbers = new Float32Array(4 * PATTERNS);
  const bits = new Uint32Array(numbers.buffer);
  for (let pattern = 0; pattern < PATTERNS; pattern++) {
    const [value, before] = [valueOf(pattern), valueOf(Math.max(pattern - 1, 0))];
    const at = 4 * pattern;
    numbers.set([value, (value + before) / 2], at);
    bits[at + 2] = (bits[at + 1] ?? 0) + 1;
    bits[at + 3] = (bits[at + 1] ?? 0) - 1;
  }
  return numbers;
}

/** The least normal f32: a GPU's arithmetic may take less for zero. */
const LEAST_NORMAL = 2 ** -126;

/** Whether this is what a sum that began at 0 became by adding a value, once. */
function isProduct(found: number, value: number): boolean {
  const mayBeZero = Math.abs(value) < LEAST_NORMAL;
  return Object.is(found, value + 0) || (mayBeZero && found === 0);
}

const TIGHT = { maxStorageBufferBindingSize: 4096, minStorageBufferOffsetAlignment: 32 };

for (const [device, limits] of Object.entries({ "": {}, ", cut in pieces": TIGHT })) {
  gpuTest(`webgpu: templates read half floats as they lie${device}`, async () => {
    const { capabilities } = await sharedDevice();
    const types = new Set([true, false].map((f16) => f16 && capabilities.f16));
    for (const f16 of types) {
      const backend = await gpuWithoutCosts(limits, { f16 });
      for (const [name, y] of Object.entries(graphsOfHalves())) {
        const outputs = { [name]: y };
        await checkRun((graph) => runOn(backend, graph), outputs, 5e-6);
      }
    }
  });
}

for (const dtype of ["f16", "bf16"] as const) {
  const valueOf = dtype === "f16" ? f16Value : bf16Value;
  for (const f16 of dtype === "f16" ? [true, false] : [false]) {
    const how = f16 ? "in its own type" : "by bit operations";
    gpuTest(`webgpu: all values of ${dtype} are read and rounded to, ${how}`, async () => {
      const gpu = await sharedDevice();
      const capabilities = { ...gpu.capabilities, f16: f16 && gpu.capabilities.f16 };
      const graph = trace(
        {
          halves: spec(dtype, [PATTERNS]),
          numbers: spec("f32", [4 * PATTERNS]),
          one: spec("f32", [1, 1]),
        },
        ({ halves, numbers, one }) => ({
          read: cast(halves, "f32"),
          multiplied: contract("m k, k n -> n m", one, reshape(cast(halves, "f32"), [1, PATTERNS])),
          rounded: cast(numbers, dtype),
        }),
      );
      using program = await compile(graph, {
        backend: backendOn(gpu, { capabilities }),
        checkInputs: false,
      });
      const halves = Uint16Array.from({ length: PATTERNS }, (_, pattern) => pattern);
      const numbers = numbersAround(valueOf);
      const one = Float32Array.of(1);
      const { read, multiplied, rounded } = await program.run({ halves, numbers, one });
      const wrong = {
        read: [...halves].filter((pattern) =>
          !Object.is(read.data[pattern], Math.fround(valueOf(pattern)))
        ),
        multiplied: [...halves].filter((pattern) =>
          !isProduct(multiplied.data[pattern] ?? 0, valueOf(pattern))
        ),
        rounded: [...numbers].filter((value, at) =>
          !Object.is(valueOf(rounded.data[at] ?? 0), roundToStorage(value, dtype))
        ),
      };
      assertEquals(wrong, { read: [], multiplied: [], rounded: [] });
    });
  }
}
