/** A 4x4 transposition in registers. */
import type { FunctionBuilder, Local } from "../encoder.ts";

/** Four vectors. */
export type Quad = readonly [Local, Local, Local, Local];

/** Four new vector locals. */
export function newQuad(f: FunctionBuilder): Quad {
  return [f.local("v128"), f.local("v128"), f.local("v128"), f.local("v128")];
}

const LOW_PAIRS = [0, 4, 1, 5] as const;
const HIGH_PAIRS = [2, 6, 3, 7] as const;
const LOW_HALVES = [0, 1, 4, 5] as const;
const HIGH_HALVES = [2, 3, 6, 7] as const;

/** Emits code that transposes `rows` in place; `spare` is overwritten. */
export function emitTranspose(f: FunctionBuilder, rows: Quad, spare: Quad): void {
  const [a, b, c, d] = rows;
  const [abLow, abHigh, cdLow, cdHigh] = spare;
  const pick = (
    left: Local,
    right: Local,
    lanes: readonly [number, number, number, number],
    into: Local,
  ) => {
    f.get(left);
    f.get(right);
    f.i32x4.shuffle(lanes);
    f.set(into);
  };
  pick(a, b, LOW_PAIRS, abLow);
  pick(a, b, HIGH_PAIRS, abHigh);
  pick(c, d, LOW_PAIRS, cdLow);
  pick(c, d, HIGH_PAIRS, cdHigh);
  pick(abLow, cdLow, LOW_HALVES, a);
  pick(abLow, cdLow, HIGH_HALVES, b);
  pick(abHigh, cdHigh, LOW_HALVES, c);
  pick(abHigh, cdHigh, HIGH_HALVES, d);
}
