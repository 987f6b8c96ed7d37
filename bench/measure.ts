/** Measuring a work on all systems in turns. */
import { Agreement, TOLERANCES } from "./agreement.ts";
import { Contender } from "./contender.ts";
import { FOVEA, type System } from "./systems.ts";
import { type ForwardWork, isHeavy, type MatmulWork, type TimedWork } from "./works.ts";

/** What was measured of one system on some number of threads. */
export interface Measurement {
  readonly system: System;
  readonly threads: number;
  /** Such as `deno 2.9.6`. */
  readonly runtime: string;
  /** How the system was set up. */
  readonly setting: string;
  /** Settings that were tried, of which this one was the fastest. */
  readonly tried: number;
  /** Whether the rate had become stable before the timing. */
  readonly stable: boolean;
  /** Milliseconds of each run. */
  readonly times: readonly number[];
  readonly peakBytes: number;
  /** Bytes below which no plan of its memory can go, where the system says so. */
  readonly lowerBoundBytes: number | undefined;
}

/** All systems on one work. */
export interface Comparison {
  readonly work: TimedWork;
  readonly measurements: readonly Measurement[];
  /** The largest relative difference of a system's results from the first one's. */
  readonly difference: number;
}

/** The systems take turns, so that a slower time of the machine meets them all. */
export const ROUNDS = 5;
/** Of a system whose single run takes longer than all rounds should. */
const FEWEST_ROUNDS = 3;

/** How a comparison is made. */
export interface MeasureOptions {
  readonly systems: readonly System[];
  readonly threads: readonly number[];
  /** Time in which each system is measured, warm-up aside. */
  readonly milliseconds: number;
  /** Whether all settings are tried, also where the best is known and a run takes long. */
  readonly everySetting: boolean;
  /** Whether peers run on the most threads alone, as in heavy works. */
  readonly quick: boolean;
  /** A folder for this run's files. */
  readonly folder: string;
  /** Writes a work as an ONNX model to the folder, and gives its path. */
  readonly writeModel: (work: MatmulWork | ForwardWork, folder: string) => Promise<string>;
  /** Is told what happens. */
  readonly progress: (text: string) => void;
}

/** One system with one setting on some number of threads. */
export interface Entry {
  readonly system: System;
  readonly threads: number;
  readonly settings: readonly string[];
}

type EntryOptions = Pick<MeasureOptions, "systems" | "threads" | "everySetting" | "quick">;

/**
 * Who is measured on a work. Where a run takes peers long they run on the most threads alone, with
 * the setting that is known to be their best; in Node.js all run on one thread.
 */
export function entriesOf(
  work: TimedWork,
  { systems, threads, everySetting, quick }: EntryOptions,
): Entry[] {
  const short = quick || isHeavy(work);
  const inNode = work.suite === "matmul" && work.host === "node";
  const counts = inNode ? [1] : threads;
  return counts.flatMap((count) =>
    systems.filter((system) => system.does(work)).flatMap((system): Entry[] => {
      if (short && system !== FOVEA && count !== Math.max(...counts)) return [];
      const settings = system.settings(work, count);
      return [{
        system,
        threads: count,
        settings: short && !everySetting ? settings.slice(0, 1) : settings,
      }];
    })
  );
}

/**
 * Measures every system and number of threads, each with its fastest setting.
 *
 * @throws {MismatchError} When the results differ.
 * @throws {ContenderError} When a system fails.
 * @throws {HostError} When the work's host is not there for this machine.
 */
export async function compare(work: TimedWork, options: MeasureOptions): Promise<Comparison> {
  await using cleanup = new AsyncDisposableStack();
  const entries = entriesOf(work, options);
  await using _models = await modelFor(work, entries, options);
  const agreement = new Agreement(TOLERANCES[work.suite]);
  const ready: Ready[] = [];
  for (const entry of entries) {
    const fastest = await fastestSetting(work, entry, agreement, options);
    cleanup.use(fastest.contender);
    ready.push(fastest);
  }
  const measurements = await inTurns(work.name, ready, options);
  return { work, measurements, difference: agreement.largest };
}

/** Writes the work's ONNX model, where a system reads it; it is removed at the end. */
export async function modelFor(
  work: TimedWork,
  entries: readonly Pick<Entry, "system">[],
  { folder, writeModel, progress }: MeasureOptions,
): Promise<AsyncDisposable> {
  if (work.suite === "train" || !entries.some(({ system }) => system.readsOnnx)) {
    return { [Symbol.asyncDispose]: () => Promise.resolve() };
  }
  progress(`${work.name}: writing its model`);
  const path = await writeModel(work, folder);
  return { [Symbol.asyncDispose]: () => Deno.remove(path) };
}

interface Candidate {
  readonly contender: Contender;
  readonly stable: boolean;
  /** Median time of the last runs of its warm-up. */
  readonly trial: number;
}

/** A system that is warm, with the fastest of its settings. */
export interface Ready extends Candidate {
  readonly system: System;
  readonly tried: number;
}

/** The system with its fastest setting, whose results the agreement has seen. */
export async function fastestSetting(
  work: TimedWork,
  { system, threads, settings }: Entry,
  agreement: Agreement,
  options: MeasureOptions,
): Promise<Ready> {
  let best: Candidate | undefined;
  for (const setting of settings) {
    options.progress(`${work.name}: ${system.name}, threads ${threads}, ${setting}`);
    const contender = await Contender.launch({
      work,
      system: system.name,
      threads,
      setting,
      folder: options.folder,
    });
    const next = await tryOut(contender, agreement, options);
    const slower = best !== undefined && best.trial <= next.trial ? next : best;
    if (slower !== next) best = next;
    await slower?.contender[Symbol.asyncDispose]();
  }
  if (best === undefined) throw new TypeError(`${system.name} has no setting`);
  return { ...best, system, tried: settings.length };
}

async function tryOut(
  contender: Contender,
  agreement: Agreement,
  { milliseconds }: MeasureOptions,
): Promise<Candidate> {
  try {
    const { work, system, threads } = contender.start;
    const steps = work.suite === "train" ? work.checkedSteps : 1;
    const { values } = await contender.ask({ kind: "check", steps });
    agreement.add(`${system} (threads ${threads}, ${contender.ready.setting})`, values);
    const warm = await contender.ask({ kind: "warm", duration: milliseconds });
    return { contender, stable: warm.stable, trial: warm.milliseconds };
  } catch (error) {
    await contender[Symbol.asyncDispose]();
    throw error;
  }
}

/** Times systems that are ready, in turns; `what` is all that they do, for the progress. */
export async function inTurns(
  what: string,
  ready: readonly Ready[],
  { milliseconds, progress }: MeasureOptions,
): Promise<Measurement[]> {
  const measured = ready.map(() => ({ times: [] as number[], peakBytes: 0 }));
  for (let round = 0; round < ROUNDS; round++) {
    progress(`${what}: round ${round + 1} of ${ROUNDS}`);
    for (const [index, { contender, trial }] of ready.entries()) {
      const sum = measured[index];
      if (sum === undefined || (trial > milliseconds && round >= FEWEST_ROUNDS)) continue;
      const duration = milliseconds / ROUNDS;
      const { times, peakBytes } = await contender.ask({ kind: "round", duration });
      sum.times.push(...times);
      sum.peakBytes = peakBytes;
    }
  }
  return ready.map(({ contender, system, tried, stable }, index) => ({
    system,
    threads: contender.start.threads,
    runtime: contender.ready.runtime,
    setting: contender.ready.setting,
    tried,
    stable,
    times: measured[index]?.times ?? [],
    peakBytes: measured[index]?.peakBytes ?? 0,
    lowerBoundBytes: contender.ready.lowerBoundBytes,
  }));
}
