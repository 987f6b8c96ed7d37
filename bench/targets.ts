/** What the project wants to reach, beside what was measured. */
import type { ColdStarts } from "./cold.ts";
import type { DispatchCosts } from "./dispatches.ts";
import type { Comparison, Measurement } from "./measure.ts";
import type { MachineRate } from "./peak.ts";
import { flopsPerSecond } from "./records.ts";
import { median } from "./statistics.ts";
import { FOVEA, JAX, ORT_NODE, ORT_WEB, type System } from "./systems.ts";
import { type Column, renderTable } from "./table.ts";
import type { TimedWork, Work } from "./works.ts";

/** All that was measured in a run. */
export interface Results {
  readonly peaks: readonly MachineRate[];
  readonly comparisons: readonly Comparison[];
  readonly starts: readonly ColdStarts[];
  readonly dispatches: readonly DispatchCosts[];
  /** Of the inference bundle, compressed; where it was made. */
  readonly bundleBytes?: number;
}

type Unit = "x" | "%" | "s" | "us" | "kB";

/** One goal. */
export interface Target {
  readonly goal: string;
  /** Whether more is better. */
  readonly atLeast: boolean;
  readonly wanted: number;
  readonly unit: Unit;
  /** Undefined where it was not measured. */
  readonly measured: number | undefined;
}

/** Threads on which goals are to be reached, where they name no other number. */
const THREADS = 2;

/** Every goal of these works, in their order; that of the bundle where it was made. */
export function targetsOf(works: readonly Work[], results: Results): Target[] {
  const inDeno = works.filter(isTimed).filter((work) => !inNode(work) && work.backend === "wasm");
  const onGpu = works.filter(isTimed).filter(({ backend }) => backend === "webgpu");
  return [
    ...onGpu.flatMap((work) => gpuTargets(work, results)),
    ...works.filter(({ suite }) => suite === "dispatch").map(({ name }) =>
      dispatchTarget(name, results)
    ),
    ...inDeno.flatMap((work) => speedTargets(work, results)),
    ...inDeno.filter(({ suite }) => suite !== "train").map((work) => threadTarget(work, results)),
    ...works.filter(({ suite }) => suite === "compile").flatMap(() => startTargets(results)),
    ...bundleTargets(results),
    ...inDeno.filter(({ name }) => /^vit-b16 forward/.test(name))
      .map((work) => memoryTarget(work, results)),
    ...works.filter(isTimed).filter(inNode).map((work) => nodeTarget(work, results)),
  ];
}

function isTimed(work: Work): work is TimedWork {
  return work.suite === "matmul" || work.suite === "forward" || work.suite === "train";
}

function inNode(work: TimedWork): boolean {
  return work.suite === "matmul" && work.host === "node";
}

/** Times as fast as a peer, and share of the machine's peak. */
const SPEED_GOALS = {
  matmul: { peer: ORT_WEB, times: 1.75, peak: 85 },
  forward: { peer: ORT_WEB, times: 1.7, peak: 75 },
  train: { peer: JAX, times: 8, peak: 60 },
} as const;

/** On WebGPU: ahead of every peer. */
const GPU_TIMES = 1;

/** Goals are set for images of the usual size; smaller ones are measured for the sake of small models. */
const JUDGED_PIXELS = 224;

function gpuTargets(work: TimedWork, results: Results): Target[] {
  const ours = measurementOf(work, results, FOVEA, 1);
  return [JAX, ORT_WEB].filter(({ does }) => does(work)).map((peer) => ({
    goal: `${work.name}: as fast as ${peer.name}`,
    atLeast: true,
    wanted: GPU_TIMES,
    unit: "x",
    measured: timesAsFast(ours, measurementOf(work, results, peer, 1)),
  }));
}

/** Microseconds of the host for each dispatch. */
const MOST_MICROSECONDS = 20;

function dispatchTarget(name: string, { dispatches }: Results): Target {
  const ours = dispatches.find(({ work }) => work.name === name)?.costs
    .find(({ system }) => system === FOVEA);
  return {
    goal: name,
    atLeast: false,
    wanted: MOST_MICROSECONDS,
    unit: "us",
    measured: ours && 1000 * median(ours.times),
  };
}

function speedTargets(work: TimedWork, results: Results): Target[] {
  if (work.suite === "train" && work.config.imageSize < JUDGED_PIXELS) return [];
  const { peer, times, peak } = SPEED_GOALS[work.suite];
  const ours = measurementOf(work, results, FOVEA);
  const most = results.peaks.find(({ threads }) => threads === THREADS)?.perSecond;
  return [
    {
      goal: `${work.name}: as fast as ${peer.name}`,
      atLeast: true,
      wanted: times,
      unit: "x",
      measured: timesAsFast(ours, measurementOf(work, results, peer)),
    },
    {
      goal: `${work.name}: of the peak`,
      atLeast: true,
      wanted: peak,
      unit: "%",
      measured: ours === undefined || most === undefined
        ? undefined
        : 100 * flopsPerSecond(work, ours) / most,
    },
  ];
}

function threadTarget(work: TimedWork, results: Results): Target {
  return {
    goal: `${work.name}: two threads to one`,
    atLeast: true,
    wanted: 1.85,
    unit: "x",
    measured: timesAsFast(
      measurementOf(work, results, FOVEA),
      measurementOf(work, results, FOVEA, 1),
    ),
  };
}

function startTargets({ starts }: Results): Target[] {
  const ours = starts.find(({ system, threads }) => system === FOVEA && threads === THREADS);
  const seconds = (times: readonly number[] | undefined) =>
    times === undefined ? undefined : median(times) / 1000;
  return [
    {
      goal: "vit-b16 compile",
      atLeast: false,
      wanted: 1.5,
      unit: "s",
      measured: seconds(ours?.compile),
    },
    {
      goal: "vit-b16 compile and first run",
      atLeast: false,
      wanted: 3,
      unit: "s",
      measured: seconds(ours?.firstRun),
    },
  ];
}

function bundleTargets({ bundleBytes }: Results): Target[] {
  if (bundleBytes === undefined) return [];
  const measured = bundleBytes / 1000;
  return [{ goal: "inference bundle, gzip", atLeast: false, wanted: 120, unit: "kB", measured }];
}

function memoryTarget(work: TimedWork, results: Results): Target {
  const ours = measurementOf(work, results, FOVEA);
  const bound = ours?.lowerBoundBytes;
  return {
    goal: `${work.name}: peak memory to weights and activations`,
    atLeast: false,
    wanted: 1.5,
    unit: "x",
    measured: ours === undefined || bound === undefined ? undefined : ours.peakBytes / bound,
  };
}

function nodeTarget(work: TimedWork, results: Results): Target {
  return {
    goal: `${work.name} in Node.js, one thread: as fast as ${ORT_NODE.name}`,
    atLeast: true,
    wanted: 0.9,
    unit: "x",
    measured: timesAsFast(
      measurementOf(work, results, FOVEA, 1),
      measurementOf(work, results, ORT_NODE, 1),
    ),
  };
}

function measurementOf(
  work: TimedWork,
  { comparisons }: Results,
  system: System,
  threads = THREADS,
): Measurement | undefined {
  return comparisons.find((comparison) => comparison.work === work)?.measurements
    .find((one) => one.system === system && one.threads === threads);
}

function timesAsFast(one: Measurement | undefined, other: Measurement | undefined) {
  if (one === undefined || other === undefined) return undefined;
  return median(other.times) / median(one.times);
}

/** How far the goal was passed, relative to it; below zero where it was missed. */
export function marginOf({ atLeast, wanted, measured }: Target): number | undefined {
  if (measured === undefined) return undefined;
  return atLeast ? measured / wanted - 1 : 1 - measured / wanted;
}

const COLUMNS: readonly Column[] = [
  { heading: "target" },
  { heading: "wanted", numeric: true },
  { heading: "measured", numeric: true },
  { heading: "" },
];

/** The goals as text: which are reached, which are not, and by how much. */
export function targetText(targets: readonly Target[]): string {
  if (targets.length === 0) return "no targets are set for this";
  const rows = targets.map((target) => {
    const { goal, atLeast, wanted, unit, measured } = target;
    return [
      goal,
      `${atLeast ? ">=" : "<="} ${wanted} ${unit}`,
      measured === undefined ? "-" : `${measured.toFixed(unit === "kB" ? 1 : 2)} ${unit}`,
      verdict(marginOf(target)),
    ];
  });
  const reached = targets.filter((target) => (marginOf(target) ?? -1) >= 0).length;
  const measured = targets.filter((target) => target.measured !== undefined).length;
  return `targets: ${reached} reached of ${measured} measured (${targets.length} in all), ` +
    `on ${THREADS} threads where no other number is named\n${renderTable(COLUMNS, rows)}\n`;
}

function verdict(margin: number | undefined): string {
  if (margin === undefined) return "not measured";
  const by = `${(100 * Math.abs(margin)).toFixed(1)} %`;
  return margin >= 0 ? `reached, by ${by}` : `missed, by ${by}`;
}
