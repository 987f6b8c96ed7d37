import { assert, assertAlmostEquals, assertEquals, assertThrows } from "../support/assert.ts";
import { HELP, readOptions, UsageError } from "../../bench/arguments.ts";
import { PEAK_FLOPS, startPeak } from "../../bench/fma_peak.ts";
import { jaxShape } from "../../bench/jax_parameters.ts";
import { LossCheck, LossMismatchError } from "../../bench/loss_check.ts";
import type { Measurement } from "../../bench/measure.ts";
import { comparisonRecords, comparisonText, peakRecords, peakText } from "../../bench/report.ts";
import { isStable, median, relativeDifference } from "../../bench/statistics.ts";
import { FOVEA, JAX, systemNamed, SYSTEMS } from "../../bench/systems.ts";
import { renderTable, threeDigits } from "../../bench/table.ts";
import { timedRound, warmUp } from "../../bench/timing.ts";
import {
  forwardFlops,
  type PeakWork,
  stepFlops,
  trainingBatch,
  type TrainingWork,
  workNamed,
  WORKS,
} from "../../bench/works.ts";
import { vitVariant } from "../../models/mod.ts";

function smallWork(): TrainingWork {
  const work = workNamed("vit-small-28px train b64");
  if (work.suite !== "train") throw new TypeError("The small ViT is no training work");
  return work;
}

const PEAK_WORK: PeakWork = { suite: "machine", name: "simd fma peak" };

Deno.test("bench: without arguments everything is measured", () => {
  assertEquals(readOptions([], 8), {
    json: false,
    works: WORKS,
    systems: SYSTEMS,
    threads: [1, 2],
    seconds: 5,
  });
  assertEquals(readOptions([], 1)?.threads, [1]);
});

Deno.test("bench: arguments narrow what is measured", () => {
  const options = readOptions(
    ["--json", "--only", "vit-small", "--systems", "@jax-js/jax,fovea", "--threads", "2,4,2"],
    2,
  );
  assertEquals(options?.json, true);
  assertEquals(options?.works.map(({ name }) => name), ["vit-small-28px train b64"]);
  assertEquals(options?.systems, [FOVEA, JAX]);
  assertEquals(options?.threads, [2, 4]);
  assertEquals(readOptions(["--systems", "fovea"], 2)?.systems, [FOVEA]);
  assertEquals(readOptions(["--seconds", "0.5"], 2)?.seconds, 0.5);
});

Deno.test("bench: help names every work and system", () => {
  assertEquals(readOptions(["--help"], 2), undefined);
  for (const { name } of [...WORKS, ...SYSTEMS]) assert(HELP.includes(name), name);
});

Deno.test("bench: arguments that make no sense are refused", () => {
  const wrong: readonly (readonly [readonly string[], string])[] = [
    [["--only", "resnet"], "--only is resnet"],
    [["--systems", "fovea,tfjs"], '--systems has "tfjs"'],
    [["--threads", "0"], "--threads is 0, wanted a number > 0"],
    [["--threads", "1.5"], "--threads has 1.5, wanted whole numbers"],
    [["--seconds", "soon"], "--seconds is soon"],
    [["--seconds", ""], "--seconds is , wanted a number > 0"],
    [["--fast"], "--fast"],
    [["fast"], "fast"],
  ];
  for (const [args, message] of wrong) {
    assertThrows(() => readOptions(args, 2), UsageError, message);
  }
  assertThrows(() => systemNamed("tfjs"), RangeError, "fovea, @jax-js/jax");
  assertThrows(() => workNamed("resnet"), RangeError, "simd fma peak");
});

Deno.test("bench: the peer's version is that of the import map, and its settings differ", () => {
  assert(/^\d+\.\d+\.\d+$/.test(JAX.version), JAX.version);
  for (const threads of [1, 2]) {
    const settings = JAX.settings(threads);
    assertEquals(settings.length, 2 * threads);
    assertEquals(new Set(settings).size, settings.length);
  }
});

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
  assertEquals(await warmUp(settles.run, rule, settles.clock), true);
  assertEquals(settles.state.runs, 7);
  const quick = fakeRuns([20]);
  assertEquals(await warmUp(quick.run, rule, quick.clock), true);
  assertEquals(quick.state.now, 100);
  const wild = fakeRuns(Array.from({ length: 60 }, (_, index) => 20 + 5 * index));
  assertEquals(await warmUp(wild.run, rule, wild.clock), false);
  assert(wild.state.now >= 1000);
});

Deno.test("bench: a round lasts as long as asked, and has one run at least", async () => {
  const short = fakeRuns([30]);
  assertEquals(await timedRound(short.run, 100, short.clock), [30, 30, 30, 30]);
  const long = fakeRuns([5000]);
  assertEquals(await timedRound(long.run, 100, long.clock), [5000]);
});

Deno.test("bench: losses that differ stop it", () => {
  const check = new LossCheck();
  check.add("one", [2, 1]);
  check.add("two", [2, 1.0001]);
  assertAlmostEquals(check.largest, 0.0001, 1e-7);
  assertThrows(
    () => check.add("three", [2, 1.001]),
    LossMismatchError,
    "The loss of step 2 is 1.001 with three, but 1 with one",
  );
  assertThrows(() => check.add("four", [NaN, 1]), LossMismatchError, "NaN with four");
  assertThrows(() => new LossCheck().add("five", [NaN]), LossMismatchError);
});

Deno.test("bench: FLOPs are those of the matrix products, two for each multiply-add", () => {
  assertAlmostEquals(forwardFlops(vitVariant("B/16")) / 1e9, 35.1, 0.05);
  assertAlmostEquals(forwardFlops(vitVariant("S/16")) / 1e9, 9.2, 0.05);
  assertAlmostEquals(forwardFlops(vitVariant("Ti/16")) / 1e9, 2.5, 0.05);
  const small = smallWork();
  const block = 4 * 17 * 64 * 64 + 2 * 17 * 17 * 64 + 2 * 17 * 64 * 256;
  assertEquals(stepFlops(small), 3 * 64 * 2 * (16 * 49 * 64 + 4 * block + 640));
});

Deno.test("bench: the batch is the same each time, and in range", () => {
  const { images, labels } = trainingBatch(smallWork());
  assertEquals(trainingBatch(smallWork()), { images, labels });
  assertEquals([images.length, labels.length], [64 * 28 * 28, 64]);
  assert(images.every((pixel) => pixel >= -1 && pixel <= 1));
  assert(labels.every((label) => label >= 0 && label < 10));
  assert(new Set(labels).size > 5);
});

Deno.test("bench: the multiply-add kernel computes what it should", async () => {
  assertEquals(await startPeak().step(), 24);
  assertEquals(PEAK_FLOPS, 2 * 4 * 12 * 4 * 100_000);
});

Deno.test("bench: parameters get the peer's shapes", () => {
  assertEquals(jaxShape("patch/kernel", [7, 7, 1, 64]), [49, 64]);
  assertEquals(jaxShape("encoder/0/attention/query/kernel", [64, 4, 16]), [64, 64]);
  assertEquals(jaxShape("encoder/0/attention/out/kernel", [4, 8, 64]), [32, 64]);
  assertEquals(jaxShape("encoder/0/attention/value/kernel", [64, 4, 8]), [64, 32]);
  assertEquals(jaxShape("encoder/0/attention/value/bias", [4, 8]), [32]);
  assertEquals(jaxShape("encoder/0/mlp/in/kernel", [64, 256]), [64, 256]);
  assertEquals(jaxShape("position", [17, 64]), [17, 64]);
});

Deno.test("bench: tables are as wide as their cells", () => {
  const columns = [{ heading: "system" }, { heading: "ms", numeric: true }];
  assertEquals(
    renderTable(columns, [["a", "1.00"], ["long name", "10"]]),
    "system       ms\na          1.00\nlong name    10",
  );
  assertEquals(renderTable(columns, []), "system  ms");
  assertThrows(() => renderTable(columns, [["a"]]), RangeError, "1 cells, wanted 2");
});

Deno.test("bench: numbers have about three digits", () => {
  const shown = [0, 0.01234, 1.005, 12.34, 123.4, 1234.5, Infinity].map(threeDigits);
  assertEquals(shown, ["0", "0.0123", "1.00", "12.3", "123", "1235", "Infinity"]);
});

function measurement(changes: Partial<Measurement>): Measurement {
  return {
    system: FOVEA,
    threads: 2,
    setting: "a setting",
    tried: 1,
    stable: true,
    times: [20, 22, 21],
    peakBytes: 2e8,
    ...changes,
  };
}

Deno.test("bench: JSON lines have the promised fields", () => {
  const work = smallWork();
  const measurements = [measurement({})];
  const [record] = comparisonRecords({ work, measurements, lossDifference: 0 });
  assertEquals(record, {
    suite: "train",
    work: "vit-small-28px train b64",
    threads: 2,
    runtime: `deno ${Deno.version.deno}`,
    system: "fovea",
    version: FOVEA.version,
    median_ms: 21,
    min_ms: 20,
    peak_mb: 200,
    runs: 3,
    gflops: Number((stepFlops(work) / 21e6).toPrecision(6)),
  });
  const peak = { threads: 2, flopsPerSecond: 1.2e11, setting: "x", times: [1, 2], peakBytes: 4e7 };
  const [line] = peakRecords(PEAK_WORK, [peak]);
  assertEquals(Object.keys(line ?? {}).toSorted(), Object.keys(record ?? {}).toSorted());
  assertEquals([line?.gflops, line?.median_ms, line?.runs], [120, 1.5, 2]);
});

Deno.test("bench: the table compares with the peer on as many threads", () => {
  const measurements = [
    measurement({}),
    measurement({ system: JAX, times: [210], tried: 4, setting: "theirs", stable: false }),
    measurement({ threads: 1 }),
  ];
  const peak = { threads: 2, flopsPerSecond: 2e11, setting: "x", times: [1], peakBytes: 4e7 };
  const text = comparisonText({ work: smallWork(), measurements, lossDifference: 2e-6 }, [peak]);
  const [heading = "", , ours = "", theirs = "", alone = "", , note = ""] = text.split("\n");
  assert(heading.includes("losses of 8 steps within 2.0e-6"), heading);
  assert(ours.endsWith("10.00 x") && ours.includes("%"), ours);
  assert(theirs.endsWith("1.00 x"), theirs);
  assert(alone.endsWith("-") && !alone.includes("%"), alone);
  assert(note.includes("theirs, the fastest of 4 settings; its rate was not stable"), note);
  const one = comparisonText({
    work: smallWork(),
    measurements: [measurement({})],
    lossDifference: 0,
  }, []);
  assert(one.includes("nothing to compare the losses with"), one);
  assert(peakText(PEAK_WORK, [peak]).includes("100"), "GFLOP/s of one thread");
});
