/**
 * Brings rows of a matrix near before they are copied. Rows of a large matrix lie in a page each, and a
 * copy that goes through them one by one waits for each page and line in turn; loads of one word from
 * many rows wait for all of them at once.
 */
import type { FunctionBuilder, Local } from "../encoder.ts";
import { increment, localPlus, whileBelow } from "./control_flow.ts";

/** Rows to touch at once: enough to keep the memory system busy. */
export const TOUCHED_ROWS = 16;

const CACHE_LINE = 64;

/**
 * Emits a load of the word at `address`, whose line is near then, and moves `address` to the next
 * line. An atomic load is a load like any other, but engines may not drop it.
 */
export function touchLine(f: FunctionBuilder, address: Local): void {
  f.get(address);
  f.atomic.load();
  f.drop();
  increment(f, address, CACHE_LINE);
}

/** Emits a load from every line of the rows at `sources`, of `rowBytes` bytes each. */
export function emitTouchLines(
  f: FunctionBuilder,
  sources: readonly Local[],
  rowBytes: Local,
): void {
  const moving = sources.map((source) => localPlus(f, source, 0));
  const [first] = moving;
  if (first === undefined) return;
  const end = f.local("address");
  f.get(first);
  f.get(rowBytes);
  f.address.plus();
  f.set(end);
  whileBelow(f, first, end, () => {
    for (const source of moving) touchLine(f, source);
  });
}
