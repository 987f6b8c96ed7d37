/**
 * Multiply-adds whose operands come from the first cache, in the proportions of a matrix product: what a
 * core that is shared with a neighbour does far fewer of, while multiply-adds in registers alone lose
 * nothing.
 */
import { type Local, ModuleBuilder } from "../../backends/wasm/encoder.ts";
import { wasmFeatures } from "../../backends/wasm/features.ts";
import { constant, countedLoop } from "../../backends/wasm/templates/control_flow.ts";
import { VectorCode } from "../../backends/wasm/vector_code.ts";
import type { MeasuredRun } from "../measured_run.ts";
import { pushTotal } from "./fma_peak.ts";

const ROWS = 6;
const VECTORS = 2;
const LANES = 4;
/** Bytes of all operands: a part of any first cache. */
const OPERAND_BYTES = 8192;
const UNROLL = 8;
const VECTOR_BYTES = 16;
const ROUND_BYTES = UNROLL * VECTORS * VECTOR_BYTES;
const PASSES = 64;
/** From one row's numbers to the next row's, which lie in other places of the cache. */
const ROW_BYTES = OPERAND_BYTES + 320;

/** Steps of a run; in each, every row's number is multiplied with every vector. */
const STEPS = PASSES * UNROLL * (OPERAND_BYTES / ROUND_BYTES);

/** FLOPs of one run: a multiply-add counts as two. */
export const FED_FLOPS = 2 * LANES * ROWS * VECTORS * STEPS;

/** The kernel as an exported function of no parameters, whose result is the sum of the first lanes. */
function fedModule(relaxedSimd: boolean): Uint8Array<ArrayBuffer> {
  const module = new ModuleBuilder();
  module.importMemory("env", "memory", { pages: 1, shared: false });
  const f = module.function("fed_fma", { params: [], results: ["f32"] });
  const code = new VectorCode(f, relaxedSimd);
  const sums = Array.from({ length: ROWS * VECTORS }, () => f.local("v128"));
  const vectors = Array.from({ length: VECTORS }, () => f.local("v128"));
  const factor = f.local("v128");
  const [pass, at] = [f.local("i32"), f.local("i32")];
  const push = (local: Local) => () => f.get(local);
  const step = (number: number) => {
    vectors.forEach((vector, index) => {
      f.get(at);
      f.v128.load(VECTOR_BYTES * (VECTORS * number + index));
      f.set(vector);
    });
    for (let row = 0; row < ROWS; row++) {
      f.get(at);
      f.v128.load32_splat(ROW_BYTES * (row + 1) + 4 * number);
      f.set(factor);
      vectors.forEach((vector, index) => {
        const sum = sums[VECTORS * row + index];
        if (sum === undefined) throw new RangeError("No such sum");
        code.multiplyAdd(push(factor), push(vector), push(sum))();
        f.set(sum);
      });
    }
  };
  countedLoop(f, pass, constant(f, PASSES), 1, () => {
    countedLoop(f, at, constant(f, OPERAND_BYTES), ROUND_BYTES, () => {
      for (let number = 0; number < UNROLL; number++) step(number);
    });
  });
  pushTotal(code, sums);
  module.export("fed_fma", f.index);
  return module.build();
}

/**
 * The kernel, ready to run on this thread.
 *
 * @throws {Error} From a step whose arithmetic went wrong.
 */
export function startFedMultiplyAdds(): MeasuredRun {
  const { relaxedSimd } = wasmFeatures();
  const module = new WebAssembly.Module(fedModule(relaxedSimd));
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
  new Float32Array(memory.buffer).fill(1);
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  // Exported above, without parameters and with an f32 result.
  const run = exports["fed_fma"] as () => number;
  return {
    setting: relaxedSimd ? "relaxed SIMD, fused" : "SIMD, a multiplication and an addition",
    step() {
      const sum = run();
      const wanted = ROWS * VECTORS * STEPS;
      if (sum !== wanted) throw new Error(`The kernel gave ${sum}, wanted ${wanted}`);
      return Promise.resolve([sum]);
    },
  };
}
