/** Measuring a work on all systems in turns. */
import { Contender } from "./contender.ts";
import { LossCheck } from "./loss_check.ts";
import { median } from "./statistics.ts";
import type { System } from "./systems.ts";
import type { TrainingWork } from "./works.ts";

/** What was measured of one system on some number of threads. */
export interface Measurement {
  readonly system: System;
  readonly threads: number;
  /** How the system was set up. */
  readonly setting: string;
  /** Settings that were tried, of which this one was the fastest. */
  readonly tried: number;
  /** Whether the rate had become stable before the timing. */
  readonly stable: boolean;
  /** Milliseconds of each step. */
  readonly times: readonly number[];
  readonly peakBytes: number;
}

/** All systems on one training work. */
export interface Comparison {
  readonly work: TrainingWork;
  readonly measurements: readonly Measurement[];
  /** The largest relative difference between two systems' losses after the same number of steps. */
  readonly lossDifference: number;
}

/** The systems take turns, so that a slower time of the machine meets them all. */
export const ROUNDS = 5;

/** How a comparison is made. */
export interface MeasureOptions {
  readonly systems: readonly System[];
  readonly threads: readonly number[];
  /** Time in which each system is measured, warm-up aside. */
  readonly milliseconds: number;
  /** Is told what happens. */
  readonly progress: (text: string) => void;
}

/**
 * Trains on every system and number of threads, each with its fastest setting.
 *
 * @throws {LossMismatchError} When the losses differ.
 * @throws {ContenderError} When a system fails.
 */
export async function compareTraining(
  work: TrainingWork,
  options: MeasureOptions,
): Promise<Comparison> {
  await using cleanup = new AsyncDisposableStack();
  const losses = new LossCheck();
  const ready: Ready[] = [];
  for (const threads of options.threads) {
    for (const system of options.systems) {
      const fastest = await fastestSetting({ work, system, threads, losses }, options);
      cleanup.use(fastest.contender);
      ready.push(fastest);
    }
  }
  const measurements = await inTurns(ready, options);
  return { work, measurements, lossDifference: losses.largest };
}

interface Candidate {
  readonly contender: Contender;
  readonly stable: boolean;
  /** Median time of a step in its trial. */
  readonly trial: number;
}

interface Ready extends Candidate {
  readonly system: System;
  readonly tried: number;
}

interface Entry {
  readonly work: TrainingWork;
  readonly system: System;
  readonly threads: number;
  readonly losses: LossCheck;
}

async function fastestSetting(entry: Entry, options: MeasureOptions): Promise<Ready> {
  const { system, threads } = entry;
  const settings = system.settings(threads);
  let best: Candidate | undefined;
  for (const setting of settings) {
    options.progress(`${entry.work.name}: ${system.name}, threads ${threads}, ${setting}`);
    const next = await tryOut(entry, setting, options);
    const slower = best !== undefined && best.trial <= next.trial ? next : best;
    if (slower !== next) best = next;
    await slower?.contender[Symbol.asyncDispose]();
  }
  if (best === undefined) throw new TypeError(`${system.name} has no setting`);
  return { ...best, system, tried: settings.length };
}

async function tryOut(
  { work, system, threads, losses }: Entry,
  setting: string,
  { milliseconds }: MeasureOptions,
): Promise<Candidate> {
  const contender = await Contender.launch({
    work: work.name,
    system: system.name,
    threads,
    setting,
  });
  try {
    const { values } = await contender.ask({ kind: "check", steps: work.checkedSteps });
    losses.add(`${system.name} (threads ${threads}, ${contender.setting})`, values);
    const { stable } = await contender.ask({ kind: "warm" });
    const { times } = await contender.ask({ kind: "round", duration: milliseconds / ROUNDS });
    return { contender, stable, trial: median(times) };
  } catch (error) {
    await contender[Symbol.asyncDispose]();
    throw error;
  }
}

async function inTurns(
  ready: readonly Ready[],
  { milliseconds, progress }: MeasureOptions,
): Promise<Measurement[]> {
  const measured = ready.map(() => ({ times: [] as number[], peakBytes: 0 }));
  for (let round = 0; round < ROUNDS; round++) {
    progress(`round ${round + 1} of ${ROUNDS}`);
    for (const [index, { contender }] of ready.entries()) {
      const duration = milliseconds / ROUNDS;
      const { times, peakBytes } = await contender.ask({ kind: "round", duration });
      const sum = measured[index];
      if (sum === undefined) continue;
      sum.times.push(...times);
      sum.peakBytes = peakBytes;
    }
  }
  return ready.map(({ contender, system, tried, stable }, index) => ({
    system,
    threads: contender.start.threads,
    setting: contender.setting,
    tried,
    stable,
    times: measured[index]?.times ?? [],
    peakBytes: measured[index]?.peakBytes ?? 0,
  }));
}
