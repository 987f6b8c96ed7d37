/** What the benchmark prints: tables to read, or a JSON object a line. */
import type { Comparison, Measurement } from "./measure.ts";
import type { Peak } from "./peak.ts";
import { median } from "./statistics.ts";
import { FOVEA, JAX } from "./systems.ts";
import { type Column, renderTable, threeDigits } from "./table.ts";
import { type PeakWork, stepFlops, type Work } from "./works.ts";

/** A line of `--json`. */
export interface JsonRecord {
  readonly suite: Work["suite"];
  readonly work: string;
  readonly threads: number;
  readonly runtime: string;
  readonly system: string;
  readonly version: string;
  readonly median_ms: number;
  readonly min_ms: number;
  /** Floating-point operations of matrix products in 1e-9 s; of the multiply-adds for the peak. */
  readonly gflops: number;
  /** The most memory of the system's process, in 1e6 bytes. */
  readonly peak_mb: number;
  readonly runs: number;
}

const RUNTIME = `deno ${Deno.version.deno}`;

/** The peaks as lines of JSON. */
export function peakRecords(work: PeakWork, peaks: readonly Peak[]): JsonRecord[] {
  return peaks.map((peak) => ({
    suite: work.suite,
    work: work.name,
    threads: peak.threads,
    runtime: RUNTIME,
    system: FOVEA.name,
    version: FOVEA.version,
    ...timesOf(peak),
    gflops: rounded(peak.flopsPerSecond / 1e9),
  }));
}

/** The measurements as lines of JSON. */
export function comparisonRecords({ work, measurements }: Comparison): JsonRecord[] {
  return measurements.map((measurement) => ({
    suite: work.suite,
    work: work.name,
    threads: measurement.threads,
    runtime: RUNTIME,
    system: measurement.system.name,
    version: measurement.system.version,
    ...timesOf(measurement),
    gflops: rounded(stepFlops(work) / median(measurement.times) / 1e6),
  }));
}

function timesOf({ times, peakBytes }: Pick<Measurement, "times" | "peakBytes">) {
  return {
    median_ms: rounded(median(times)),
    min_ms: rounded(times.reduce((least, time) => Math.min(least, time), Infinity)),
    peak_mb: rounded(peakBytes / 1e6),
    runs: times.length,
  };
}

function rounded(value: number): number {
  return Number(value.toPrecision(6));
}

/** The peaks as text. */
export function peakText(work: PeakWork, peaks: readonly Peak[]): string {
  const columns: readonly Column[] = [
    { heading: "threads", numeric: true },
    { heading: "GFLOP/s", numeric: true },
    { heading: "a thread", numeric: true },
  ];
  const rows = peaks.map(({ threads, flopsPerSecond }) => [
    String(threads),
    threeDigits(flopsPerSecond / 1e9),
    threeDigits(flopsPerSecond / threads / 1e9),
  ]);
  return `${work.name} (${peaks[0]?.setting})\n${renderTable(columns, rows)}\n`;
}

const COMPARISON_COLUMNS: readonly Column[] = [
  { heading: "system" },
  { heading: "threads", numeric: true },
  { heading: "ms/step", numeric: true },
  { heading: "least", numeric: true },
  { heading: "images/s", numeric: true },
  { heading: "GFLOP/s", numeric: true },
  { heading: "of peak", numeric: true },
  { heading: "peak MB", numeric: true },
  { heading: "steps", numeric: true },
  { heading: `speed to ${JAX.name}`, numeric: true },
];

/** A comparison as text; shares of the peak where it was measured with as many threads. */
export function comparisonText(comparison: Comparison, peaks: readonly Peak[]): string {
  const { work, measurements, lossDifference } = comparison;
  const rows = measurements.map((measurement) => {
    const { system, threads, times, peakBytes } = measurement;
    const milliseconds = median(times);
    const flopsPerSecond = stepFlops(work) / (milliseconds / 1000);
    const peak = peaks.find((peak) => peak.threads === threads)?.flopsPerSecond;
    return [
      system.name,
      String(threads),
      threeDigits(milliseconds),
      threeDigits(times.reduce((least, time) => Math.min(least, time), Infinity)),
      threeDigits(work.batch / (milliseconds / 1000)),
      threeDigits(flopsPerSecond / 1e9),
      peak === undefined ? "-" : `${(100 * flopsPerSecond / peak).toFixed(0)} %`,
      threeDigits(peakBytes / 1e6),
      String(times.length),
      speedToPeer(measurement, measurements),
    ];
  });
  const heading = `${work.name}: ${threeDigits(stepFlops(work) / 1e9)} GFLOP a step, ` +
    agreement(measurements.length, work.checkedSteps, lossDifference);
  return `${heading}\n${renderTable(COMPARISON_COLUMNS, rows)}\n${comparisonNotes(comparison)}\n`;
}

function agreement(systems: number, steps: number, difference: number): string {
  if (systems < 2) return "nothing to compare the losses with";
  return `losses of ${steps} steps within ${difference.toExponential(1)} of each other`;
}

/** How many times as fast as the peer on as many threads. */
function speedToPeer(one: Measurement, all: readonly Measurement[]): string {
  const peer = all.find(({ system, threads }) => system === JAX && threads === one.threads);
  if (peer === undefined) return "-";
  return `${(median(peer.times) / median(one.times)).toFixed(2)} x`;
}

/** How each system was set up: a line each. */
export function comparisonNotes({ measurements }: Comparison): string {
  return measurements.map(noteOf).join("\n");
}

function noteOf({ system, threads, setting, tried, stable }: Measurement): string {
  const choice = tried === 1 ? "" : `, the fastest of ${tried} settings`;
  const doubt = stable ? "" : "; its rate was not stable after the warm-up";
  return `  ${system.name} ${system.version}, threads ${threads}: ${setting}${choice}${doubt}`;
}
