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
 * Emits a load from every line of the rows at `sources`, of `rowBytes` bytes each. What was loaded is
 * written to `sink`, which the caller overwrites: else the engine would drop the loads.
 */
export function emitTouchLines(
  f: FunctionBuilder,
  sources: readonly Local[],
  rowBytes: Local,
  sink: Local,
): void {
  const [first] = sources;
  if (first === undefined) return;
  const seen = f.local("i32");
  const moving = sources.map((source) => localPlus(f, source, 0));
  const end = f.local("address");
  f.get(first);
  f.get(rowBytes);
  f.address.plus();
  f.set(end);
  whileBelow(f, moving[0] ?? first, end, () => {
    for (const source of moving) {
      f.get(source);
      f.i32.load();
      f.get(seen);
      f.i32.or();
      f.set(seen);
      increment(f, source, CACHE_LINE);
    }
  });
  f.get(sink);
  f.get(seen);
  f.i32.store();
}
