/** The most that one thread can do: fused multiply-adds of 128-bit vectors, in registers alone. */
import { type Local, ModuleBuilder } from "../../backends/wasm/encoder.ts";
import { wasmFeatures } from "../../backends/wasm/features.ts";
import { VectorCode } from "../../backends/wasm/vector_code.ts";
import type { MeasuredRun } from "../measured_run.ts";

/** Sums that do not wait for each other: enough to hide the instruction's latency, and all in registers. */
const ACCUMULATORS = 12;
const UNROLL = 4;
const ROUNDS = 100_000;
const LANES = 4;

/** FLOPs of one run: a multiply-add counts as two. */
export const PEAK_FLOPS = 2 * LANES * ACCUMULATORS * UNROLL * ROUNDS;

/** What every sum tends to: x = x / 2 + 1. */
const LIMIT = 2;

/** The kernel as an exported function of the number of rounds, whose result is the sum of the first lanes. */
function peakModule(relaxedSimd: boolean): Uint8Array<ArrayBuffer> {
  const module = new ModuleBuilder();
  const f = module.function("fma_peak", { params: ["i32"], results: ["f32"] });
  const code = new VectorCode(f, relaxedSimd);
  const accumulators = Array.from({ length: ACCUMULATORS }, () => f.local("v128"));
  const push = (local: Local) => () => f.get(local);
  const rounds = f.param(0);
  f.loop((again) => {
    for (let repeat = 0; repeat < UNROLL; repeat++) {
      for (const accumulator of accumulators) {
        code.multiplyAdd(push(accumulator), code.f32(0.5), code.f32(1))();
        f.set(accumulator);
      }
    }
    f.get(rounds);
    f.i32.const(1);
    f.i32.sub();
    f.tee(rounds);
    f.brIf(again);
  });
  pushTotal(code, accumulators);
  module.export("peak", f.index);
  return module.build();
}

/** Pushes the sum of the locals' first lanes, so that an engine leaves none of them out. */
export function pushTotal(code: VectorCode, locals: readonly Local[]): void {
  const { f } = code;
  const total = f.local("v128");
  for (const local of locals) {
    code.add(() => f.get(total), () => f.get(local))();
    f.set(total);
  }
  f.get(total);
  f.f32x4.extract_lane(0);
}

/**
 * The kernel, ready to run on this thread.
 *
 * @throws {Error} From a step whose arithmetic went wrong.
 */
export function startPeak(): MeasuredRun {
  const { relaxedSimd } = wasmFeatures();
  const module = new WebAssembly.Module(peakModule(relaxedSimd));
  // Exported above, with one i32 parameter and an f32 result.
  const peak = new WebAssembly.Instance(module).exports["peak"] as (rounds: number) => number;
  return {
    setting: relaxedSimd ? "relaxed SIMD, fused" : "SIMD, a multiplication and an addition",
    step() {
      const sum = peak(ROUNDS);
      if (sum !== LIMIT * ACCUMULATORS) {
        throw new Error(`The FMA kernel gave ${sum}, wanted ${LIMIT * ACCUMULATORS}`);
      }
      return Promise.resolve([sum]);
    },
  };
}
