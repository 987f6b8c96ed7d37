/** What `--json` prints: a record for each system, number of threads and work. */
import type { ColdStarts } from "./cold.ts";
import type { DispatchCosts } from "./dispatches.ts";
import type { Comparison, Measurement } from "./measure.ts";
import type { MachineRate } from "./peak.ts";
import type { Scaling } from "./scaling.ts";
import { median } from "./statistics.ts";
import { FOVEA } from "./systems.ts";
import { type CompileWork, flopsOf, type MachineWork, type TimedWork, type Work } from "./works.ts";

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
  /**
   * Floating-point operations of matrix products in 1e-9 s; of the multiply-adds for the peak; 0 where
   * nothing is computed, as in a compilation.
   */
  readonly gflops: number;
  /** The most memory of the system's process, in 1e6 bytes. */
  readonly peak_mb: number;
  readonly runs: number;
}

interface Recorded {
  readonly threads: number;
  readonly runtime: string;
  readonly system: { readonly name: string; readonly version: string };
  readonly times: readonly number[];
  readonly peakBytes: number;
}

/** `flopsPerSecond` is of a run of the median time. */
function record(
  suite: Work["suite"],
  work: string,
  { threads, runtime, system, times, peakBytes }: Recorded,
  flopsPerSecond: number,
): JsonRecord {
  return {
    suite,
    work,
    threads,
    runtime,
    system: system.name,
    version: system.version,
    median_ms: rounded(median(times)),
    min_ms: rounded(Math.min(...times)),
    gflops: rounded(flopsPerSecond / 1e9),
    peak_mb: rounded(peakBytes / 1e6),
    runs: times.length,
  };
}

function rounded(value: number): number {
  return Number(value.toPrecision(6));
}

/** FLOPs of the work in the median time, a second. */
export function flopsPerSecond(work: TimedWork, { times }: Pick<Measurement, "times">): number {
  return flopsOf(work) / (median(times) / 1000);
}

/** The peaks. */
export function peakRecords(work: MachineWork, peaks: readonly MachineRate[]): JsonRecord[] {
  return peaks.map((peak) =>
    record(work.suite, work.name, { ...peak, system: FOVEA }, peak.perSecond)
  );
}

/** A comparison's measurements. */
export function comparisonRecords({ work, measurements }: Comparison): JsonRecord[] {
  return measurements.map((measurement) =>
    record(work.suite, work.name, measurement, flopsPerSecond(work, measurement))
  );
}

/** Starts: until the program is ready, and until its first run has ended. */
export function startRecords(
  { suite, name, forward }: CompileWork,
  starts: readonly ColdStarts[],
): JsonRecord[] {
  return starts.flatMap((start) => [
    record(suite, name, { ...start, times: start.compile }, 0),
    record(
      suite,
      `${name} and first run`,
      { ...start, times: start.firstRun },
      flopsPerSecond(forward, { times: start.firstRun }),
    ),
  ]);
}

/** What a dispatch costs: each run's time of the host, divided by its dispatches. */
export function dispatchRecords({ work, costs }: DispatchCosts): JsonRecord[] {
  return costs.map((cost) => record(work.suite, work.name, cost, 0));
}

/** Each size of a scaling, once. */
export function scalingRecords({ work, byTokens, byBatch }: Scaling): JsonRecord[] {
  const points = new Map([...byTokens, ...byBatch].map((point) => [point.work.name, point]));
  return [...points.values()].map(({ work: { name }, work: forward, measurement }) =>
    record(work.suite, name, measurement, flopsPerSecond(forward, measurement))
  );
}
