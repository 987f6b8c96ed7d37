/** Small building blocks of emitted code: loops and address arithmetic. */
import type { FunctionBuilder, FunctionType, Local } from "../encoder.ts";

/** As many i32 parameters. */
export function i32s(count: number): FunctionType["params"] {
  return Array.from({ length: count }, () => "i32" as const);
}

/** As many parameters that are addresses. */
export function addresses(count: number): FunctionType["params"] {
  return Array.from({ length: count }, () => "address" as const);
}

/** The instructions on whole numbers of a local's type: i32, or an address's. */
function wholeNumbers(f: FunctionBuilder, { type }: Local) {
  return type === "i64"
    ? { ...f.i64, const: (value: number) => f.i64.const(BigInt(value)) }
    : f.i32;
}

/** `for (counter = 0; counter < limit; counter += step)`, with the test in front. */
export function countedLoop(
  f: FunctionBuilder,
  counter: Local,
  limit: Local,
  step: number,
  body: () => void,
): void {
  f.i32.const(0);
  f.set(counter);
  whileBelow(f, counter, limit, () => {
    body();
    increment(f, counter, step);
  });
}

/** `while (counter < limit) body()`, unsigned; the two may be addresses. */
export function whileBelow(
  f: FunctionBuilder,
  counter: Local,
  limit: Local,
  body: () => void,
): void {
  f.block((done) => {
    f.loop((again) => {
      f.get(counter);
      f.get(limit);
      wholeNumbers(f, counter).ge_u();
      f.brIf(done);
      body();
      f.br(again);
    });
  });
}

/** `local += constant`; the local may be an address. */
export function increment(f: FunctionBuilder, local: Local, by: number): void {
  const whole = wholeNumbers(f, local);
  f.get(local);
  whole.const(by);
  whole.add();
  f.set(local);
}

/** Pushes `local + constant`; the local may be an address. */
export function getPlus(f: FunctionBuilder, local: Local, by: number): void {
  f.get(local);
  if (by === 0) return;
  const whole = wholeNumbers(f, local);
  whole.const(by);
  whole.add();
}

/** A new local with the value `base + constant`, an address if `base` is one. */
export function localPlus(f: FunctionBuilder, base: Local, by: number): Local {
  const local = f.local(base.type);
  getPlus(f, base, by);
  f.set(local);
  return local;
}

/** Replaces the i32 on the stack by its product with a constant. */
export function timesConstant(f: FunctionBuilder, factor: number): void {
  if (factor === 1) return;
  f.i32.const(factor);
  f.i32.mul();
}

/** Pushes the smaller of an i32 local and a constant, unsigned. */
function getMin(f: FunctionBuilder, local: Local, limit: number): void {
  f.get(local);
  f.i32.const(limit);
  f.get(local);
  f.i32.const(limit);
  f.i32.lt_u();
  f.select("i32");
}

/** Pushes the smaller of two i32 locals, unsigned. */
export function getSmaller(f: FunctionBuilder, a: Local, b: Local): void {
  f.get(a);
  f.get(b);
  f.get(a);
  f.get(b);
  f.i32.lt_u();
  f.select("i32");
}

/** `local = min(max(local, low), high)`, signed. */
export function clamp(f: FunctionBuilder, local: Local, low: number, high: number): void {
  for (const [limit, keeps] of [[low, f.i32.gt_s], [high, f.i32.lt_s]] as const) {
    f.get(local);
    f.i32.const(limit);
    f.get(local);
    f.i32.const(limit);
    keeps();
    f.select("i32");
    f.set(local);
  }
}

/** A new local with the address 0. */
export function noOffset(f: FunctionBuilder): Local {
  const local = f.local("address");
  f.address.const(0);
  f.set(local);
  return local;
}

/** A new local with a constant. */
export function constant(f: FunctionBuilder, value: number): Local {
  const local = f.local("i32");
  f.i32.const(value);
  f.set(local);
  return local;
}

/** `quotient = value / by; rest = value % by`, unsigned; `quotient` may be `value`. */
export function divideWithRest(
  f: FunctionBuilder,
  value: Local,
  by: number,
  quotient: Local,
  rest: Local,
): void {
  f.get(value);
  f.i32.const(by);
  f.i32.rem_u();
  f.set(rest);
  f.get(value);
  f.i32.const(by);
  f.i32.div_u();
  f.set(quotient);
}

/**
 * New locals with the start and the length of a block of at most `size` of `total` elements, or of
 * `blocks` neighbouring ones.
 */
export function blockRange(
  f: FunctionBuilder,
  block: Local,
  size: number,
  total: number,
  blocks?: Local,
): { readonly start: Local; readonly count: Local } {
  const start = f.local("i32");
  const count = f.local("i32");
  f.get(block);
  timesConstant(f, size);
  f.set(start);
  f.i32.const(total);
  f.get(start);
  f.i32.sub();
  f.set(count);
  if (blocks === undefined) {
    getMin(f, count, size);
  } else {
    const limit = f.local("i32");
    f.get(blocks);
    timesConstant(f, size);
    f.set(limit);
    getSmaller(f, count, limit);
  }
  f.set(count);
  return { start, count };
}
