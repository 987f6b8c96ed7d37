import { assert, assertEquals, assertThrows } from "../support/assert.ts";
import type { Comparison, Measurement } from "../../bench/measure.ts";
import {
  comparisonRecords,
  peakRecords,
  scalingRecords,
  startRecords,
} from "../../bench/records.ts";
import { comparisonText, peakText, scalingText, startText } from "../../bench/report.ts";
import { exponentsOf, type Scaling } from "../../bench/scaling.ts";
import { FOVEA, JAX, ORT_WEB } from "../../bench/systems.ts";
import { renderTable, threeDigits } from "../../bench/table.ts";
import { marginOf, targetsOf, targetText } from "../../bench/targets.ts";
import { flopsOf, type MachineWork, type ScalingWork, WORKS } from "../../bench/works.ts";

const PEAK_WORK: MachineWork = { suite: "machine", name: "simd fma peak" };

const PEAK = {
  threads: 2,
  perSecond: 1.2e11,
  setting: "x",
  runtime: "deno 2.9.6",
  times: [1, 2],
  peakBytes: 4e7,
};

function forwardWork() {
  const work = WORKS.find(({ name }) => name === "vit-b16 forward b1");
  if (work?.suite === "forward") return work;
  throw new TypeError("There is no forward pass of ViT-B/16");
}

function measurement(changes: Partial<Measurement>): Measurement {
  return {
    system: FOVEA,
    threads: 2,
    runtime: "deno 2.9.6",
    setting: "a setting",
    tried: 1,
    stable: true,
    times: [400, 500, 440],
    calm: true,
    peakBytes: 6e8,
    lowerBoundBytes: 5e8,
    ...changes,
  };
}

function comparison(...measurements: Measurement[]): Comparison {
  return { work: forwardWork(), measurements, failures: [], difference: 2e-6 };
}

Deno.test("bench: JSON lines have the promised fields", () => {
  const [record] = comparisonRecords(comparison(measurement({})));
  assertEquals(record, {
    suite: "forward",
    work: "vit-b16 forward b1",
    threads: 2,
    runtime: "deno 2.9.6",
    system: "fovea",
    version: FOVEA.version,
    median_ms: 440,
    min_ms: 400,
    gflops: Number((flopsOf(forwardWork()) / 440e6).toPrecision(6)),
    peak_mb: 600,
    runs: 3,
  });
  const [line] = peakRecords(PEAK_WORK, [PEAK]);
  assertEquals(Object.keys(line ?? {}), Object.keys(record ?? {}));
  assertEquals([line?.gflops, line?.median_ms, line?.runs], [120, 1.5, 2]);
});

const STARTS = [{
  system: FOVEA,
  threads: 2,
  runtime: "deno 2.9.6",
  setting: "a setting",
  compile: [900, 700, 1100],
  firstRun: [1900, 1700, 3100],
  peakBytes: 6e8,
}];

Deno.test("bench: starts have a line until the program is ready, and one until its first run", () => {
  const work = {
    suite: "compile",
    name: "vit-b16 compile",
    forward: forwardWork(),
  } as const;
  const records = startRecords(work, STARTS);
  assertEquals(
    records.map(({ work, median_ms, min_ms }) => [work, median_ms, min_ms]),
    [
      ["vit-b16 compile", 900, 700],
      ["vit-b16 compile and first run", 1900, 1700],
    ],
  );
  assert(startText(work, STARTS).includes("a setting"));
});

Deno.test("bench: the table compares with the peer on as many threads", () => {
  const text = comparisonText(
    comparison(
      measurement({}),
      measurement({
        system: JAX,
        times: [4400],
        tried: 4,
        setting: "theirs",
        stable: false,
      }),
      measurement({ threads: 1 }),
    ),
    [PEAK],
  );
  const [heading = "", , ours = "", theirs = "", alone = "", , note = ""] = text
    .split("\n");
  assert(heading.includes("results within 2.0e-6 of each other"), heading);
  assert(ours.endsWith("-") && ours.includes("%"), ours);
  assert(theirs.endsWith("10.00 x"), theirs);
  assert(alone.endsWith("-") && !alone.includes("%"), alone);
  assert(
    note.includes("theirs, the fastest of 4 settings; its rate was not stable"),
    note,
  );
  const one = comparisonText(comparison(measurement({})), []);
  assert(one.includes("nothing to compare the results with"), one);
  assert(peakText(PEAK_WORK, [PEAK]).includes("120"));
});

Deno.test("bench: a peer that could not do the work is named, with what it said", () => {
  const message = "onnxruntime-web failed: RangeError: too large\n    at somewhere";
  const failures = [{ system: ORT_WEB, threads: 2, message }];
  const text = comparisonText({ ...comparison(measurement({})), failures }, []);
  assert(text.includes(`${ORT_WEB.version}, threads 2: onnxruntime-web failed: RangeError`), text);
  assert(!text.includes("somewhere"));
  assert(/^onnxruntime-web +2 +failed( +-){6}$/m.test(text), text);
});

Deno.test("bench: targets are those of the chosen works, reached, missed or not measured", () => {
  const ours = measurement({});
  const results = {
    peaks: [PEAK],
    comparisons: [
      comparison(
        ours,
        measurement({ system: ORT_WEB, times: [660] }),
        measurement({
          threads: 1,
          times: [880],
        }),
      ),
    ],
    starts: STARTS,
    dispatches: [],
    bundleBytes: 108_000,
  };
  const targets = targetsOf([forwardWork()], results);
  const shown = targets.map((target) => [target.goal, target.measured, marginOf(target)] as const);
  const share = 100 * flopsOf(forwardWork()) / 0.44 / PEAK.perSecond;
  assertEquals(shown, [
    ["vit-b16 forward b1: as fast as onnxruntime-web", 1.5, 1.5 / 1.7 - 1],
    ["vit-b16 forward b1: of the peak", share, share / 75 - 1],
    ["vit-b16 forward b1: two threads to one", 2, 2 / 1.85 - 1],
    ["inference bundle, gzip", 108, 0.09999999999999998],
    [
      "vit-b16 forward b1: peak memory to weights and activations",
      1.2,
      1 - 1.2 / 1.5,
    ],
  ]);
  const text = targetText(targets);
  assert(text.startsWith("targets: 3 reached of 5 measured (5 in all)"), text);
  assert(
    text.includes("missed, by 11.8 %") && text.includes("reached, by 10.0 %"),
    text,
  );
});

Deno.test("bench: all works together have every target of the issue, none measured yet", () => {
  const targets = targetsOf(WORKS, { peaks: [], comparisons: [], starts: [], dispatches: [] });
  assertEquals(targets.filter(({ measured }) => measured !== undefined), []);
  const count = (part: string) => targets.filter(({ goal }) => goal.includes(part)).length;
  assertEquals(count("as fast as onnxruntime-web"), 8);
  assertEquals(count("as fast as @jax-js/jax"), 2);
  assertEquals(count("of the peak"), 10);
  assertEquals(count("compile"), 2);
  assertEquals(count("peak memory"), 2);
  assertEquals(count("in Node.js, one thread: as fast as onnxruntime-node"), 1);
  assert(targetText(targets).includes("0 reached of 0 measured"));
  assertEquals(targetText([]), "no targets are set for this");
});

/** Times as if each token, and each image, took one millisecond. */
function linearScaling(): Scaling {
  const work = WORKS.find((work): work is ScalingWork => work.suite === "scaling");
  if (work === undefined) throw new TypeError("There is no scaling");
  const points = (
    sizes: typeof work.tokens,
    time: (tokens: number, batch: number) => number,
  ) =>
    sizes.map((one) => {
      const tokens = 1 + (one.config.imageSize / one.config.patchSize) ** 2;
      return {
        work: one,
        tokens,
        measurement: measurement({ times: [time(tokens, one.batch)] }),
      };
    });
  const shares = { matmul: 0.7, attention: 0.2, rows: 0.06, other: 0.04 };
  return {
    work,
    byTokens: points(work.tokens, (tokens) => tokens),
    byBatch: points(work.batches, (_, batch) => batch),
    shares: work.tokens.slice(0, 1).map((one) => ({ work: one, shares })),
  };
}

Deno.test("bench: scaling goes from 197 to 1370 tokens, and batch 1 to 32, with its exponents", () => {
  const scaling = linearScaling();
  assertEquals(
    scaling.byTokens.map(({ tokens }) => tokens).filter((_, at) => at % 3 === 0),
    [
      197,
      1370,
    ],
  );
  assertEquals(scaling.byBatch.at(-1)?.work.batch, 32);
  const { timeByTokens, timeByBatch, flopsByTokens, timeByFlopsOverTokens } = exponentsOf(scaling);
  assert(
    Math.abs(timeByTokens - 1) < 1e-12 && Math.abs(timeByBatch - 1) < 1e-12,
  );
  assert(flopsByTokens > 1 && flopsByTokens < 2);
  assert(timeByFlopsOverTokens < 1);
  const text = scalingText(scaling);
  assert(text.includes("time ~ tokens^1.000") && text.includes("70.0 %"), text);
  const names = scalingRecords(scaling).map(({ work }) => work);
  assertEquals(names.length, new Set(names).size);
  assertEquals(
    names.length,
    scaling.byTokens.length + scaling.byBatch.length - 1,
  );
});

Deno.test("bench: tables are as wide as their cells", () => {
  const columns = [{ heading: "system" }, { heading: "ms", numeric: true }];
  assertEquals(
    renderTable(columns, [["a", "1.00"], ["long name", "10"]]),
    "system       ms\na          1.00\nlong name    10",
  );
  assertEquals(renderTable(columns, []), "system  ms");
  assertThrows(
    () => renderTable(columns, [["a"]]),
    RangeError,
    "1 cells, wanted 2",
  );
});

Deno.test("bench: numbers have about three digits", () => {
  const shown = [0, 0.01234, 1.005, 12.34, 123.4, 1234.5, Infinity].map(
    threeDigits,
  );
  assertEquals(shown, [
    "0",
    "0.0123",
    "1.00",
    "12.3",
    "123",
    "1235",
    "Infinity",
  ]);
});
