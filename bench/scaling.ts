/** How time grows with tokens and batch, and which kernels it goes to. */
import { tokenCount } from "../models/mod.ts";
import { Agreement, TOLERANCES } from "./agreement.ts";
import { STEP_BY_STEP } from "./fovea/settings.ts";
import {
  fastestSetting,
  inTurns,
  type Measurement,
  type MeasureOptions,
  type Ready,
} from "./measure.ts";
import { type ClassTimes, KERNEL_CLASSES, type KernelClass } from "./measured_run.ts";
import { growthExponent, median } from "./statistics.ts";
import { FOVEA } from "./systems.ts";
import { flopsOf, type ForwardWork, type ScalingWork } from "./works.ts";

/** One size. */
export interface ScalingPoint {
  readonly work: ForwardWork;
  readonly tokens: number;
  readonly measurement: Measurement;
}

/** Shares of the time that the classes of kernels take, on one thread; together 1. */
export interface ClassShares {
  readonly work: ForwardWork;
  readonly shares: ClassTimes;
}

/** All sizes of a scaling work. */
export interface Scaling {
  readonly work: ScalingWork;
  /** Growing images, batch 1. */
  readonly byTokens: readonly ScalingPoint[];
  /** Growing batches of one image size. */
  readonly byBatch: readonly ScalingPoint[];
  readonly shares: readonly ClassShares[];
}

/** Exponents of growth: time against tokens, batch and FLOPs, and FLOPs against tokens. */
export interface Exponents {
  readonly timeByTokens: number;
  readonly flopsByTokens: number;
  readonly timeByFlopsOverTokens: number;
  readonly timeByBatch: number;
}

/** The exponents that are nearest to a scaling's medians. */
export function exponentsOf({ byTokens, byBatch }: Scaling): Exponents {
  const time = ({ measurement }: ScalingPoint) => median(measurement.times);
  const tokens = ({ tokens }: ScalingPoint) => tokens;
  const flops = ({ work }: ScalingPoint) => flopsOf(work);
  type Quantity = (point: ScalingPoint) => number;
  const fit = (points: readonly ScalingPoint[], y: Quantity, x: Quantity) =>
    growthExponent(points.map((point) => ({ x: x(point), y: y(point) })));
  return {
    timeByTokens: fit(byTokens, time, tokens),
    flopsByTokens: fit(byTokens, flops, tokens),
    timeByFlopsOverTokens: fit(byTokens, time, flops),
    timeByBatch: fit(byBatch, time, ({ work }) => work.batch),
  };
}

/** Measures all sizes in turns, on the most threads, and then the kernels of the extreme ones. */
export async function measureScaling(work: ScalingWork, options: MeasureOptions): Promise<Scaling> {
  const works = new Map([...work.tokens, ...work.batches].map((one) => [one.name, one]));
  const extremes = [work.tokens.at(0), work.tokens.at(-1), work.batches.at(-1)];
  const extremeNames = new Set(extremes.map((one) => one?.name));
  const points = new Map<string, ScalingPoint>();
  const shares: ClassShares[] = [];
  await using cleanup = new AsyncDisposableStack();
  const ready: Ready[] = [];
  for (const one of works.values()) {
    const agreement = new Agreement(TOLERANCES.forward);
    const entry = { system: FOVEA, threads: Math.max(...options.threads), settings: [""] };
    const started = await fastestSetting(one, entry, agreement, options);
    cleanup.use(started.contender);
    ready.push(started);
    if (extremeNames.has(one.name)) shares.push(await classShares(one, agreement, options));
  }
  const { measurements } = await inTurns(work.name, ready, options);
  [...works.values()].forEach((one, index) => {
    const measurement = measurements[index];
    if (measurement === undefined) throw new TypeError(`"${one.name}" was not measured`);
    points.set(one.name, { work: one, tokens: tokenCount(one.config), measurement });
  });
  const measured = (some: readonly ForwardWork[]) =>
    some.flatMap(({ name }) => points.get(name) ?? []);
  return { work, byTokens: measured(work.tokens), byBatch: measured(work.batches), shares };
}

/** Runs the work step by step, for as long as others are timed; its logits must be the program's. */
async function classShares(
  work: ForwardWork,
  agreement: Agreement,
  options: MeasureOptions,
): Promise<ClassShares> {
  const entry = { system: FOVEA, threads: 1, settings: [STEP_BY_STEP] };
  await using contender = (await fastestSetting(work, entry, agreement, options)).contender;
  const before = (await contender.ask({ kind: "classes" })).times;
  await contender.ask({ kind: "round", duration: options.milliseconds, leadIn: 0 });
  const after = (await contender.ask({ kind: "classes" })).times;
  return { work, shares: sharesOf(before, after) };
}

/** Each class's share of the time between two readings of their times. */
export function sharesOf(before: ClassTimes, after: ClassTimes): ClassTimes {
  const spent = (name: KernelClass) => after[name] - before[name];
  const total = KERNEL_CLASSES.reduce((sum, name) => sum + spent(name), 0);
  const share = (name: KernelClass) => spent(name) / total;
  return {
    matmul: share("matmul"),
    attention: share("attention"),
    rows: share("rows"),
    other: share("other"),
  };
}
