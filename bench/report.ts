/** What the benchmark prints to be read. */
import type { ColdStarts } from "./cold.ts";
import type { DispatchCosts } from "./dispatches.ts";
import type { Comparison, Failure, Measurement } from "./measure.ts";
import { KERNEL_CLASSES } from "./measured_run.ts";
import type { MachineRate } from "./peak.ts";
import { flopsPerSecond } from "./records.ts";
import { exponentsOf, type Scaling, type ScalingPoint } from "./scaling.ts";
import { median } from "./statistics.ts";
import { FOVEA } from "./systems.ts";
import { type Column, renderTable, threeDigits } from "./table.ts";
import { type CompileWork, flopsOf, type MachineWork } from "./works.ts";

function numbers(...headings: string[]): Column[] {
  return headings.map((heading) => ({ heading, numeric: true }));
}

/** The peaks as text. */
export function peakText(work: MachineWork, peaks: readonly MachineRate[]): string {
  const rows = peaks.map(({ threads, perSecond }) => [
    String(threads),
    threeDigits(perSecond / 1e9),
    threeDigits(perSecond / threads / 1e9),
  ]);
  const table = renderTable(numbers("threads", "GFLOP/s", "a thread"), rows);
  return `${work.name} (${peaks[0]?.setting})\n${table}\n`;
}

const COMPARISON_COLUMNS: readonly Column[] = [
  { heading: "system" },
  ...numbers(
    "threads",
    "ms",
    "least",
    "GFLOP/s",
    "of peak",
    "peak MB",
    "runs",
    `${FOVEA.name} is faster by`,
  ),
];

/** A comparison as text; shares of the peak where it was measured with as many threads. */
export function comparisonText(comparison: Comparison, peaks: readonly MachineRate[]): string {
  const { work, measurements, failures, difference } = comparison;
  const rows = measurements.map((measurement) => {
    const { system, threads, times, peakBytes } = measurement;
    const rate = flopsPerSecond(work, measurement);
    const peak = peaks.find((peak) => peak.threads === threads)?.perSecond;
    return [
      system.name,
      String(threads),
      threeDigits(median(times)),
      threeDigits(Math.min(...times)),
      threeDigits(rate / 1e9),
      peak === undefined ? "-" : percent(rate / peak),
      threeDigits(peakBytes / 1e6),
      String(times.length),
      leadOver(measurement, measurements),
    ];
  });
  const runtimes = new Set(measurements.map(({ runtime }) => runtime));
  const heading = `${work.name} (${[...runtimes].join(", ")}): ` +
    `${threeDigits(flopsOf(work) / 1e9)} GFLOP a run, ` +
    (measurements.length < 2
      ? "nothing to compare the results with"
      : `results within ${difference.toExponential(1)} of each other`);
  return `${heading}\n${renderTable(COMPARISON_COLUMNS, [...rows, ...failures.map(failureRow)])}\n${
    [...measurements.map(noteOf), ...failures.map(failureNote)].join("\n")
  }\n`;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(0)} %`;
}

/** How many times as fast ours is on as many threads. */
function leadOver(one: Measurement, all: readonly Measurement[]): string {
  const ours = all.find(({ system, threads }) => system === FOVEA && threads === one.threads);
  if (ours === undefined || ours === one) return "-";
  return `${(median(one.times) / median(ours.times)).toFixed(2)} x`;
}

/** How a system was set up. */
function noteOf({ system, threads, setting, tried, stable, calm }: Measurement): string {
  const choice = tried === 1 ? "" : `, the fastest of ${tried} settings`;
  const doubt = (stable ? "" : "; its rate was not stable after the warm-up") +
    (calm ? "" : "; the machine was never at its best meanwhile");
  return `  ${system.name} ${system.version}, threads ${threads}: ${setting}${choice}${doubt}`;
}

/** A failed system's row: nothing was measured. */
function failureRow({ system, threads }: Failure): string[] {
  const measured = COMPARISON_COLUMNS.slice(2).map((_, at) => at === 0 ? "failed" : "-");
  return [system.name, String(threads), ...measured];
}

function failureNote({ system, threads, message }: Failure): string {
  return `  ${system.name} ${system.version}, threads ${threads}: ${message.split("\n")[0]}`;
}

/** Starts as text. */
export function startText({ name }: CompileWork, starts: readonly ColdStarts[]): string {
  const columns = [
    { heading: "system" },
    ...numbers("threads", "ready, ms", "least", "first run done, ms", "least", "peak MB", "starts"),
  ];
  const rows = starts.map(({ system, threads, compile, firstRun, peakBytes }) => [
    system.name,
    String(threads),
    threeDigits(median(compile)),
    threeDigits(Math.min(...compile)),
    threeDigits(median(firstRun)),
    threeDigits(Math.min(...firstRun)),
    threeDigits(peakBytes / 1e6),
    String(compile.length),
  ]);
  const notes = starts.map(({ system, setting }) => `  ${system.name}: ${setting}`);
  return `${name}, each start in a fresh process; parameters are given before the first run\n` +
    `${renderTable(columns, rows)}\n${notes.join("\n")}\n`;
}

/** What dispatches cost, as text. */
export function dispatchText({ work, costs, failures }: DispatchCosts): string {
  const columns = [
    { heading: "system" },
    ...numbers("us a dispatch", "least", "dispatches a run", "peak MB", "runs"),
  ];
  const rows = costs.map(({ system, times, dispatches, peakBytes }) => [
    system.name,
    threeDigits(1000 * median(times)),
    threeDigits(1000 * Math.min(...times)),
    String(dispatches),
    threeDigits(peakBytes / 1e6),
    String(times.length),
  ]);
  const notes = costs.map(({ system, runtime, setting }) =>
    `  ${system.name} ${system.version}, ${runtime}: ${setting}`
  );
  return `${work.name}, of a run of ${work.forward.name} until its last commands are submitted\n` +
    `${renderTable(columns, rows)}\n${[...notes, ...failures.map(failureNote)].join("\n")}\n`;
}

/** A scaling as text: its sizes, the exponents of growth, and the shares of the kernels' classes. */
export function scalingText(scaling: Scaling): string {
  const { timeByTokens, flopsByTokens, timeByFlopsOverTokens, timeByBatch } = exponentsOf(scaling);
  const exponent = (value: number) => value.toFixed(3);
  return [
    `${scaling.work.name}, threads ${scaling.byTokens[0]?.measurement.threads}`,
    pointsTable(scaling.byTokens),
    `  time ~ tokens^${exponent(timeByTokens)}, FLOPs ~ tokens^${exponent(flopsByTokens)}, ` +
    `time ~ FLOPs^${exponent(timeByFlopsOverTokens)}`,
    pointsTable(scaling.byBatch),
    `  time ~ batch^${exponent(timeByBatch)}`,
    "share of each class of kernels in the time, on one thread, step by step",
    sharesTable(scaling),
    "",
  ].join("\n");
}

function pointsTable(points: readonly ScalingPoint[]): string {
  const columns = numbers("tokens", "batch", "ms", "least", "GFLOP", "GFLOP/s", "peak MB");
  return renderTable(
    columns,
    points.map(({ work, tokens, measurement }) => [
      String(tokens),
      String(work.batch),
      threeDigits(median(measurement.times)),
      threeDigits(Math.min(...measurement.times)),
      threeDigits(flopsOf(work) / 1e9),
      threeDigits(flopsPerSecond(work, measurement) / 1e9),
      threeDigits(measurement.peakBytes / 1e6),
    ]),
  );
}

function sharesTable({ shares }: Scaling): string {
  const columns = [{ heading: "work" }, ...numbers(...KERNEL_CLASSES)];
  return renderTable(
    columns,
    shares.map(({ work, shares }) => [
      work.name,
      ...KERNEL_CLASSES.map((name) => `${(100 * shares[name]).toFixed(1)} %`),
    ]),
  );
}
