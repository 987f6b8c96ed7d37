/** f16 and bf16 on WebGPU: every pattern is loaded exactly, and rounding goes to the nearest, ties to even. */
import { backendOn } from "../../backends/webgpu/backend.ts";
import { sharedDevice } from "../../backends/webgpu/device.ts";
import { bf16Value, f16Value, roundToStorage } from "../../backends/reference/storage.ts";
import { compile } from "../../backends/compile.ts";
import { cast, spec, trace } from "../../graph/mod.ts";
import { assertEquals } from "../support/assert.ts";
import { gpuTest } from "../support/gpu.ts";

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

for (const dtype of ["f16", "bf16"] as const) {
  const valueOf = dtype === "f16" ? f16Value : bf16Value;
  for (const f16 of dtype === "f16" ? [true, false] : [false]) {
    const how = f16 ? "in its own type" : "by bit operations";
    gpuTest(`webgpu: all values of ${dtype} are read and rounded to, ${how}`, async () => {
      const gpu = await sharedDevice();
      const capabilities = { ...gpu.capabilities, f16: f16 && gpu.capabilities.f16 };
      const graph = trace(
        { halves: spec(dtype, [PATTERNS]), numbers: spec("f32", [4 * PATTERNS]) },
        ({ halves, numbers }) => ({ read: cast(halves, "f32"), rounded: cast(numbers, dtype) }),
      );
      using program = await compile(graph, {
        backend: backendOn(gpu, { capabilities }),
        checkInputs: false,
      });
      const halves = Uint16Array.from({ length: PATTERNS }, (_, pattern) => pattern);
      const numbers = numbersAround(valueOf);
      const { read, rounded } = await program.run({ halves, numbers });
      const wrong = {
        read: [...halves].filter((pattern) =>
          !Object.is(read.data[pattern], Math.fround(valueOf(pattern)))
        ),
        rounded: [...numbers].filter((value, at) =>
          !Object.is(valueOf(rounded.data[at] ?? 0), roundToStorage(value, dtype))
        ),
      };
      assertEquals(wrong, { read: [], rounded: [] });
    });
  }
}
