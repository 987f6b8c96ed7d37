/** Row operations of attention, on blocks in scratch whose rows are padded to whole vectors. */
import type { FunctionBuilder, Local, ModuleBuilder } from "../encoder.ts";
import { exp } from "../math/exponential.ts";
import { log } from "../math/logarithm.ts";
import { type Push, VectorCode } from "../vector_code.ts";
import { acrossLanes } from "./across_lanes.ts";
import { increment, whileBelow } from "./control_flow.ts";

/** Bytes of a row's running state: its maximum, the sum of exponentials, and the last rescaling. */
export const STATE_BYTES = 12;
const STATE = { maximum: 0, sum: 4, rescale: 8 } as const;

const LANE_NUMBERS = new Uint8Array(new Int32Array([0, 1, 2, 3]).buffer);

/**
 * Emits, once a module, the function `(scores, rows, rowBytes, columns, state, first, scale: f32)`. It turns
 * scores into `exp(scale * score - maximum)`, where `maximum` is the row's largest in this tile and
 * those before, and keeps the rows' state. `first` (not zero) says that there is none before; else
 * what is summed so far must then be multiplied by the row's `rescale`. (The running softmax of Milakov and Gimelshein, 2018.)
 *
 * In the last vector of a row, lanes beyond the last column must hold copies of a score of the row.
 */
export function emitSoftmaxRows(module: ModuleBuilder, relaxedSimd: boolean): number {
  return module.once(`softmax_rows_${relaxedSimd}`, () => {
    const f = module.function("softmax_rows", {
      params: ["address", "i32", "i32", "i32", "address", "i32", "f32"],
      results: [],
    });
    const [scores, rows, rowBytes, state] = [f.param(0), f.param(1), f.param(2), f.param(4)];
    const first = f.param(5);
    const code = new VectorCode(f, relaxedSimd);
    const row = f.local("i32");
    const scale = f.local("v128");
    f.get(f.param(6));
    f.f32x4.splat();
    f.set(scale);
    whileBelow(f, row, rows, () => {
      const maximum = emitRowMaximum(code, scores, f.param(3), scale);
      const shift = emitNewMaximum(code, state, maximum, first);
      const sum = emitExponentials(code, scores, f.param(3), scale, shift);
      emitNewSum(code, state, sum, first);
      f.get(scores);
      f.get(rowBytes);
      f.address.plus();
      f.set(scores);
      increment(f, state, STATE_BYTES);
      increment(f, row, 1);
    });
    return f.index;
  });
}

/** Pushes a row's latest factor for what was summed before, in four lanes. */
export function getRescale(f: FunctionBuilder, state: Local): void {
  f.get(state);
  f.v128.load32_splat(STATE.rescale);
}

/** Pushes one over a row's sum, in four lanes. */
export function getReciprocalSum(f: FunctionBuilder, state: Local): void {
  f.f32x4.constSplat(1);
  f.get(state);
  f.v128.load32_splat(STATE.sum);
  f.f32x4.div();
}

/** Pushes the logarithm of a row's sum of exponentials, maximum included, as an f32. */
export function getLogSumExp(code: VectorCode, state: Local): void {
  const { f } = code;
  log(code, () => {
    f.get(state);
    f.v128.load32_splat(STATE.sum);
  });
  f.get(state);
  f.v128.load32_splat(STATE.maximum);
  f.f32x4.add();
  f.f32x4.extract_lane(0);
}

/** Runs `body` with the address of each vector of a row. */
export function vectorLoop(
  f: FunctionBuilder,
  row: Local,
  columns: Local,
  body: (address: Local) => void,
): void {
  const address = f.local("address");
  const column = f.local("i32");
  f.get(row);
  f.set(address);
  f.i32.const(0);
  f.set(column);
  whileBelow(f, column, columns, () => {
    body(address);
    increment(f, address, 16);
    increment(f, column, 4);
  });
}

/** The maximum of the scaled scores in all lanes; NaN is passed over, and shows up in the sum. */
function emitRowMaximum(code: VectorCode, scores: Local, columns: Local, scale: Local): Local {
  const { f } = code;
  const maxima = [f.local("v128"), f.local("v128")] as const;
  for (const maximum of maxima) {
    code.f32(-Infinity)();
    f.set(maximum);
  }
  const update = (maximum: Local, address: Local, offset: number) => {
    f.get(maximum);
    f.get(address);
    f.v128.load(offset);
    f.get(scale);
    f.f32x4.mul();
    f.f32x4.pmax();
    f.set(maximum);
  };
  pairedVectorLoop(f, scores, columns, (address) => {
    maxima.forEach((maximum, position) => update(maximum, address, 16 * position));
  }, (address) => update(maxima[0], address, 0));
  f.get(maxima[0]);
  f.get(maxima[1]);
  f.f32x4.pmax();
  f.set(maxima[0]);
  acrossLanes(f, maxima[0], f.f32x4.pmax);
  return maxima[0];
}

/** Runs `pair` for every two whole vectors of a row, and `rest` for each of the up to two after them. */
function pairedVectorLoop(
  f: FunctionBuilder,
  row: Local,
  columns: Local,
  pair: (address: Local) => void,
  rest: (address: Local, column: Local) => void,
): void {
  const [address, column, paired] = [f.local("address"), f.local("i32"), f.local("i32")];
  f.get(row);
  f.set(address);
  f.i32.const(0);
  f.set(column);
  f.get(columns);
  f.i32.const(-8);
  f.i32.and();
  f.set(paired);
  whileBelow(f, column, paired, () => {
    pair(address);
    increment(f, address, 32);
    increment(f, column, 8);
  });
  whileBelow(f, column, columns, () => {
    rest(address, column);
    increment(f, address, 16);
    increment(f, column, 4);
  });
}

/**
 * Stores the new maximum and, but for the first tile, the factor from the old to it. Gives what to
 * subtract: the maximum, or 0 while all scores are -infinity.
 */
function emitNewMaximum(code: VectorCode, state: Local, maximum: Local, first: Local): Local {
  const { f } = code;
  const [shift, before] = [f.local("v128"), f.local("v128")];
  code.f32(-Infinity)();
  f.set(before);
  f.get(first);
  f.i32.eqz();
  f.if(() => {
    f.get(state);
    f.v128.load32_splat(STATE.maximum);
    f.set(before);
  });
  f.get(maximum);
  f.get(before);
  f.f32x4.pmax();
  f.set(maximum);
  const none = code.apply(f.f32x4.eq, () => f.get(maximum), code.f32(-Infinity));
  code.apply(f.v128.andnot, () => f.get(maximum), none)();
  f.set(shift);
  f.get(first);
  f.i32.eqz();
  f.if(() => {
    f.get(state);
    exp(code, code.sub(() => f.get(before), () => f.get(shift)));
    f.v128.store32_lane(0, STATE.rescale);
  });
  f.get(state);
  f.get(maximum);
  f.v128.store32_lane(0, STATE.maximum);
  return shift;
}

/** Replaces the scores by their exponentials; gives the sum in all lanes. */
function emitExponentials(
  code: VectorCode,
  scores: Local,
  columns: Local,
  scale: Local,
  shift: Local,
): Local {
  const { f } = code;
  const [sum, value, limit] = [f.local("v128"), f.local("v128"), f.local("v128")];
  code.f32(0)();
  f.set(sum);
  f.get(columns);
  f.i32x4.splat();
  f.set(limit);
  const replace = (address: Local, offset: number, counted: Push) => {
    const score: Push = () => {
      f.get(address);
      f.v128.load(offset);
    };
    f.get(address);
    exp(code, code.sub(code.mul(score, () => f.get(scale)), () => f.get(shift)));
    f.tee(value);
    f.v128.store(offset);
    code.add(() => f.get(sum), counted)();
    f.set(sum);
  };
  pairedVectorLoop(f, scores, columns, (address) => {
    for (const offset of [0, 16]) replace(address, offset, () => f.get(value));
  }, (address, column) => {
    const lanes: Push = () => {
      f.get(column);
      f.i32x4.splat();
      f.v128.const(LANE_NUMBERS);
      f.i32x4.add();
    };
    const inside = code.apply(f.i32x4.lt_s, lanes, () => f.get(limit));
    replace(address, 0, code.and(() => f.get(value), inside));
  });
  acrossLanes(f, sum, f.f32x4.add);
  return sum;
}

function emitNewSum(code: VectorCode, state: Local, sum: Local, first: Local): void {
  const { f } = code;
  f.get(first);
  f.i32.eqz();
  f.if(() => {
    const before: Push = () => {
      f.get(state);
      f.v128.load32_splat(STATE.sum);
    };
    code.add(code.mul(before, () => getRescale(f, state)), () => f.get(sum))();
    f.set(sum);
  });
  f.get(state);
  f.get(sum);
  f.v128.store32_lane(0, STATE.sum);
}
