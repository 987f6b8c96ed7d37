/** Numbers about lists of times. */

/**
 * The middle of the values, or the mean of the two in the middle.
 *
 * @throws {RangeError} When there are none.
 */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const half = sorted.length >> 1;
  const [low, high] = [sorted[half - 1], sorted[half]];
  if (high === undefined) throw new RangeError("The median of no values was asked for");
  return sorted.length % 2 === 1 || low === undefined ? high : (low + high) / 2;
}

/** |a - b|, relative to the larger of the two magnitudes; NaN when one is NaN. */
export function relativeDifference(a: number, b: number): number {
  return a === b ? 0 : Math.abs(a - b) / Math.max(Math.abs(a), Math.abs(b));
}

/**
 * The exponent e of the power law y = c x^e that is nearest to the points, by least squares of the
 * logarithms.
 *
 * @throws {RangeError} When a number is not above zero, or fewer than two x differ.
 */
export function growthExponent(
  points: readonly { readonly x: number; readonly y: number }[],
): number {
  if (!points.every(({ x, y }) => x > 0 && y > 0)) {
    throw new RangeError("A power law was asked for through a point that is not above zero");
  }
  const logs = points.map(({ x, y }) => ({ x: Math.log(x), y: Math.log(y) }));
  const mean = (of: "x" | "y") => logs.reduce((sum, log) => sum + log[of], 0) / logs.length;
  const [middleX, middleY] = [mean("x"), mean("y")];
  const spread = logs.reduce((sum, { x }) => sum + (x - middleX) ** 2, 0);
  if (!(spread > 0)) throw new RangeError("A power law was asked for through a single x");
  return logs.reduce((sum, { x, y }) => sum + (x - middleX) * (y - middleY), 0) / spread;
}

/**
 * Whether the rate no longer changes: the median of the last runs, which together took `window`, is within
 * `tolerance` (relative) of the median of the runs that took the `window` before. Each must hold two runs.
 */
export function isStable(times: readonly number[], window: number, tolerance: number): boolean {
  const last = lastRuns(times, window);
  const before = lastRuns(times.slice(0, times.length - last.length), window);
  if (last.length < LEAST_RUNS || before.length < LEAST_RUNS) return false;
  return relativeDifference(median(last), median(before)) <= tolerance;
}

const LEAST_RUNS = 2;

/** The fewest runs at the end, two at least, that together took `window`; none if all took less. */
function lastRuns(times: readonly number[], window: number): readonly number[] {
  let total = 0;
  for (let start = times.length - 1; start >= 0; start--) {
    total += times[start] ?? 0;
    if (total >= window && times.length - start >= LEAST_RUNS) return times.slice(start);
  }
  return [];
}
