import { assert, assertAlmostEquals, assertEquals, assertThrows } from "../support/assert.ts";
import { Agreement, distance, fold, MismatchError } from "../../bench/agreement.ts";
import { sharesOf } from "../../bench/scaling.ts";
import { growthExponent, isStable, median, relativeDifference } from "../../bench/statistics.ts";
import { timedRound, warmUp } from "../../bench/timing.ts";

Deno.test("bench: median and relative difference", () => {
  assertEquals(median([3]), 3);
  assertEquals(median([9, 1, 4]), 4);
  assertEquals(median([10, 9, 1, 2]), 5.5);
  assertThrows(() => median([]), RangeError);
  assertEquals(relativeDifference(0, 0), 0);
  assertEquals(relativeDifference(4, 5), 0.2);
  assertEquals(relativeDifference(-4, 4), 2);
  assert(Number.isNaN(relativeDifference(NaN, 1)));
});

Deno.test("bench: the exponent of a power law is found", () => {
  const law = [1, 2, 5, 40].map((x) => ({ x, y: 3 * x ** 1.25 }));
  assertAlmostEquals(growthExponent(law), 1.25, 1e-12);
  assertAlmostEquals(
    growthExponent([{ x: 1, y: 4 }, { x: 2, y: 4 }]),
    0,
    1e-12,
  );
  const uneven = [{ x: 1, y: 1 }, { x: 2, y: 4 }, { x: 4, y: 4 }];
  assertAlmostEquals(growthExponent(uneven), 1, 1e-12);
  assertThrows(
    () => growthExponent([{ x: 2, y: 1 }, { x: 2, y: 3 }]),
    RangeError,
    "single x",
  );
  assertThrows(
    () => growthExponent([{ x: 0, y: 1 }, { x: 2, y: 3 }]),
    RangeError,
    "above zero",
  );
});

Deno.test("bench: shares of kernel classes are those of the time between two readings", () => {
  const before = { matmul: 10, attention: 5, rows: 1, other: 2 };
  const after = { matmul: 16, attention: 7, rows: 2, other: 3 };
  assertEquals(sharesOf(before, after), {
    matmul: 0.6,
    attention: 0.2,
    rows: 0.1,
    other: 0.1,
  });
});

Deno.test("bench: a rate is stable when two windows agree", () => {
  assertEquals(isStable([], 100, 0.05), false);
  assertEquals(isStable([50, 50, 50], 100, 0.05), false);
  assertEquals(isStable([50, 50, 50, 50], 100, 0.05), true);
  assertEquals(isStable([60, 60, 50, 50], 100, 0.05), false);
  assertEquals(isStable([900, 50, 51, 50, 51], 100, 0.05), true);
  assertEquals(isStable([500, 500], 100, 0.05), false);
  assertEquals(isStable([500, 501, 502, 503], 100, 0.05), true);
});

/** A clock that each run moves on by the next of the times, the last one again and again. */
function fakeRuns(times: readonly number[]) {
  const state = { now: 0, runs: 0 };
  const run = () => {
    state.now += times[Math.min(state.runs, times.length - 1)] ?? 0;
    state.runs++;
    return Promise.resolve();
  };
  return { state, run, clock: () => state.now };
}

Deno.test("bench: warming up ends when the rate is stable, or when the time is over", async () => {
  const rule = { least: 100, most: 1000, window: 40, tolerance: 0.05 };
  const settles = fakeRuns([200, 100, 50, 20]);
  assertEquals(await warmUp(settles.run, rule, settles.clock), {
    stable: true,
    milliseconds: 20,
  });
  assertEquals(settles.state.runs, 7);
  const quick = fakeRuns([20]);
  assertEquals(await warmUp(quick.run, rule, quick.clock), {
    stable: true,
    milliseconds: 20,
  });
  assertEquals(quick.state.now, 100);
  const wild = fakeRuns(
    Array.from({ length: 60 }, (_, index) => 20 + 5 * index),
  );
  const { stable, milliseconds } = await warmUp(wild.run, rule, wild.clock);
  assertEquals(stable, false);
  assert(wild.state.now >= 1000 && milliseconds > 60);
});

Deno.test("bench: a round lasts as long as asked, and has one run at least", async () => {
  const short = fakeRuns([30]);
  assertEquals(await timedRound(short.run, 100, short.clock), [30, 30, 30, 30]);
  const long = fakeRuns([5000]);
  assertEquals(await timedRound(long.run, 100, long.clock), [5000]);
});

Deno.test("bench: distance is relative to the second, in the Euclidean norm", () => {
  assertEquals(distance([3, 4], [3, 4]), 0);
  assertEquals(distance([0, 0], [0, 0]), 0);
  assertEquals(distance([3, 5], [3, 4]), 0.2);
  assert(Number.isNaN(distance([1], [1, 2])));
});

Deno.test("bench: folding keeps short results, and every number of long ones counts", () => {
  assertEquals(fold([1, 2, 3]), [1, 2, 3]);
  const long = new Float32Array(10_000).fill(1);
  assertEquals(fold(long).length, 4093);
  assertEquals(fold(long).reduce((sum, value) => sum + value, 0), 10_000);
  const changed = long.slice();
  changed[9_999] = 2;
  assert(distance(fold(changed), fold(long)) > 0);
});

Deno.test("bench: results that differ stop it", () => {
  const agreement = new Agreement(1e-4);
  agreement.add("one", [3, 4]);
  agreement.add("two", [3, 4.0004]);
  assertAlmostEquals(agreement.largest, 8e-5, 1e-9);
  assertThrows(
    () => agreement.add("three", [3, 4.01]),
    MismatchError,
    "The results of three (2 numbers: 3.00000, 4.01000) are 2.0e-3 from those of one",
  );
  assertThrows(
    () => agreement.add("four", [NaN, 1]),
    MismatchError,
    "Number 0 of four is NaN",
  );
  assertThrows(
    () => agreement.add("five", [3]),
    MismatchError,
    "NaN from those of one",
  );
  assertThrows(() => new Agreement(1).add("six", [Infinity]), MismatchError);
});
