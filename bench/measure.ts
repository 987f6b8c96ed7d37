/** Measuring a work on all systems in turns. */
import { Agreement, TOLERANCES } from "./agreement.ts";
import { CalmRounds, type Round, type Watch } from "./calm.ts";
import { Contender, ContenderError } from "./contender.ts";
import { type GpuPlace, placeOf } from "./gpu_place.ts";
import type { ReplyOf, StartMessage } from "./messages.ts";
import { isTuned } from "./fovea/settings.ts";
import { median } from "./statistics.ts";
import { FOVEA, type System } from "./systems.ts";
import { LEAD_IN } from "./timing.ts";
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
  /** Whether the machine was at its best all the time. */
  readonly calm: boolean;
  readonly peakBytes: number;
  /** Bytes below which no plan of its memory can go, where the system says so. */
  readonly lowerBoundBytes: number | undefined;
}

/** A peer that could not do the work. */
export interface Failure {
  readonly system: System;
  readonly threads: number;
  /** What it said, at the first of its settings. */
  readonly message: string;
}

/** All systems on one work. */
export interface Comparison {
  readonly work: TimedWork;
  readonly measurements: readonly Measurement[];
  readonly failures: readonly Failure[];
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
  /** Milliseconds that a work may wait for the machine, rounds that do not count included. */
  readonly patience: number;
  /** Whether all settings are tried, also where the best is known and a run takes long. */
  readonly everySetting: boolean;
  /** Whether peers run on the most threads alone, as in heavy works. */
  readonly quick: boolean;
  /** Whether Fovea may measure on WebGPU which tiles are the fastest, when it compiles a program. */
  readonly tune: boolean;
  /** A folder for this run's files. */
  readonly folder: string;
  /** Writes a work as an ONNX model to the folder, and gives its path. */
  readonly writeModel: (work: MatmulWork | ForwardWork, folder: string) => Promise<string>;
  /** What GPU work is done on. */
  readonly gpu: GpuPlace;
  /** Tells when the machine is at its best. */
  readonly watch: Watch;
  /** Is told what happens. */
  readonly progress: (text: string) => void;
}

/** One system with one setting on some number of threads. */
export interface Entry {
  readonly system: System;
  readonly threads: number;
  readonly settings: readonly string[];
}

type EntryOptions =
  & Pick<MeasureOptions, "systems" | "threads" | "everySetting" | "quick" | "tune">
  & { readonly gpu: Pick<GpuPlace, "software"> };

/**
 * Who is measured on a work. Where a run takes peers long they run on the most threads alone, with
 * the setting that is known to be their best; in Node.js all run on one thread.
 */
export function entriesOf(
  work: TimedWork,
  { systems, threads, everySetting, quick, tune, gpu }: EntryOptions,
): Entry[] {
  const isLong = isHeavy(work, gpu.software);
  const short = quick || isLong;
  // To measure all tiles of such products takes minutes.
  const tunes = tune && (everySetting || !isLong);
  const inNode = work.suite === "matmul" && work.host === "node";
  const counts = inNode ? [1] : threads;
  return counts.flatMap((count) =>
    systems.filter((system) => system.does(work)).flatMap((system): Entry[] => {
      if (short && system !== FOVEA && count !== Math.max(...counts)) return [];
      const settings = system.settings(work, count).filter((name) => tunes || !isTuned(name));
      return [{
        system,
        threads: count,
        settings: short && !everySetting ? settings.slice(0, 1) : settings,
      }];
    })
  );
}

/**
 * Measures every system and number of threads, each with its fastest setting. Peers may fail.
 *
 * @throws {MismatchError} When the results differ.
 * @throws {ContenderError} When ours fails.
 * @throws {HostError} When the work's host is not there for this machine.
 */
export async function compare(work: TimedWork, options: MeasureOptions): Promise<Comparison> {
  await using cleanup = new AsyncDisposableStack();
  const entries = entriesOf(work, options);
  await using _models = await modelFor(work, entries, options);
  const agreement = new Agreement(TOLERANCES[work.suite]);
  const ready: Ready[] = [];
  const failures: Failure[] = [];
  for (const entry of entries) {
    const { system, threads } = entry;
    const fastest = await orFailure(entry, fastestSetting(work, entry, agreement, options));
    if (typeof fastest === "string") failures.push({ system, threads, message: fastest });
    else {
      cleanup.use(fastest.contender);
      ready.push(fastest);
    }
  }
  const timed = await inTurns(work.name, ready, options);
  const { measurements } = timed;
  failures.push(...timed.failures);
  return { work, measurements, failures, difference: agreement.largest };
}

/** The result, or of a peer what it said when it failed. */
export async function orFailure<T>({ system }: Pick<Entry, "system">, result: Promise<T>) {
  try {
    return await result;
  } catch (error) {
    if (system === FOVEA || !(error instanceof ContenderError)) throw error;
    return error.message;
  }
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

/**
 * The system with its fastest setting, whose results the agreement has seen. Of a peer it is the fastest
 * of those with which it can do the work.
 *
 * @throws {ContenderError} When it can do it with none; ours already when it fails with one.
 */
export async function fastestSetting(
  work: TimedWork,
  { system, threads, settings }: Entry,
  agreement: Agreement,
  options: MeasureOptions,
): Promise<Ready> {
  let best: Candidate | undefined;
  let failure: string | undefined;
  for (const setting of settings) {
    options.progress(`${work.name}: ${system.name}, threads ${threads}, ${setting}`);
    const { folder, gpu } = options;
    const place = work.backend === "webgpu" ? placeOf(system, gpu) : {};
    const start = { work, system: system.name, threads, setting, folder, ...place };
    const next = await orFailure({ system }, tryOut(start, agreement, options));
    if (typeof next === "string") {
      failure ??= next;
      continue;
    }
    const slower = best && await slowerOf(best, next, options.milliseconds);
    if (slower !== next) best = next;
    await slower?.contender[Symbol.asyncDispose]();
  }
  if (best === undefined) throw new ContenderError(failure ?? `${system.name} has no setting`);
  return { ...best, system, tried: settings.length };
}

/**
 * The slower one of two settings. Where runs are short they take turns: a warm-up's last runs can be off by
 * more than settings differ.
 */
async function slowerOf(
  one: Candidate,
  other: Candidate,
  milliseconds: number,
): Promise<Candidate> {
  if (Math.max(one.trial, other.trial) > milliseconds / ROUNDS) {
    return one.trial <= other.trial ? other : one;
  }
  const ways = [one, other].map((candidate) => ({ candidate, times: [] as number[] }));
  const duration = milliseconds / RUN_OFF_TURNS / 2;
  try {
    for (let turn = 0; turn < RUN_OFF_TURNS; turn++) {
      for (const { candidate, times } of ways) {
        const round = await candidate.contender.ask({ kind: "round", duration, leadIn: 0 });
        times.push(...round.times);
      }
    }
  } catch (error) {
    for (const { candidate } of ways) await candidate.contender[Symbol.asyncDispose]();
    throw error;
  }
  const [first = 0, second = 0] = ways.map(({ times }) => median(times));
  return first <= second ? other : one;
}

/** Turns in which two settings of a system are compared. */
const RUN_OFF_TURNS = 5;

async function tryOut(
  start: StartMessage,
  agreement: Agreement,
  { milliseconds }: MeasureOptions,
): Promise<Candidate> {
  const contender = await Contender.launch(start);
  try {
    const { work, system, threads } = start;
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

/** What was timed, and which peers failed meanwhile. */
export type Timed = Pick<Comparison, "measurements" | "failures">;

/**
 * Times systems that are ready, in turns; `what` is all that they do, for the progress.
 *
 * @throws {ContenderError} When ours fails.
 */
export async function inTurns(
  what: string,
  ready: readonly Ready[],
  { milliseconds, patience, watch, progress }: MeasureOptions,
): Promise<Timed> {
  const rounds = new CalmRounds(watch, patience);
  const sums = ready.map((one) => ({ ...one, rounds: [] as TimedRound[], failure: "" }));
  for (let round = 0; round < ROUNDS; round++) {
    progress(`${what}: round ${round + 1} of ${ROUNDS}`);
    for (const sum of sums) {
      if (sum.failure !== "" || (sum.trial > milliseconds && round >= FEWEST_ROUNDS)) continue;
      const timed = await orFailure(sum, inSlices(sum, milliseconds / ROUNDS, rounds));
      if (typeof timed === "string") sum.failure = timed;
      else sum.rounds.push(...timed);
    }
  }
  const measurements = sums.filter(({ failure }) => failure === "").map(measurementOf);
  const failures = sums.filter(({ failure }) => failure !== "").map((sum) => ({
    system: sum.system,
    threads: sum.contender.start.threads,
    message: sum.failure,
  }));
  return { measurements, failures };
}

type TimedRound = Round<ReplyOf<"round">>;

/** What shares its cores with others may change from one tenth of a second to the next. */
const SLICES = 4;

/** Milliseconds of a run that hardly notices how its first moments went. */
const LONG_RUN = 10 * LEAD_IN;

/** A round of so many milliseconds, in slices between which the machine is looked at. */
async function inSlices(
  { contender, trial }: Candidate,
  milliseconds: number,
  rounds: CalmRounds,
): Promise<TimedRound[]> {
  const slices: TimedRound[] = [];
  const count = Math.max(1, Math.min(SLICES, Math.ceil(milliseconds / trial)));
  const duration = milliseconds / count;
  while (slices.length < count) {
    const leadIn = slices.length === 0 && trial < LONG_RUN ? LEAD_IN : 0;
    const ask = () => contender.ask({ kind: "round", duration, leadIn });
    slices.push(await rounds.time(contender.start.threads, ask));
  }
  return slices;
}

/** Of rounds in which the machine was calm; of all where it never was. */
function measurementOf(
  { contender, system, tried, stable, rounds }: Ready & { readonly rounds: readonly TimedRound[] },
): Measurement {
  const { start: { threads }, ready: { runtime, setting, lowerBoundBytes } } = contender;
  const calmRounds = rounds.filter(({ calm }) => calm);
  const calm = calmRounds.length > 0;
  const times = (calm ? calmRounds : rounds).flatMap(({ result }) => result.times);
  const peakBytes = Math.max(...rounds.map(({ result }) => result.peakBytes));
  return {
    system,
    threads,
    runtime,
    setting,
    tried,
    stable,
    times,
    calm,
    peakBytes,
    lowerBoundBytes,
  };
}
