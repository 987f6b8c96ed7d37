/** Measuring the machine's multiply-add peak, on one thread and on several at once. */
import { Contender } from "./contender.ts";
import { PEAK_FLOPS } from "./fovea/fma_peak.ts";
import { type MeasureOptions, ROUNDS } from "./measure.ts";
import { median } from "./statistics.ts";
import { FOVEA } from "./systems.ts";
import { LEAD_IN } from "./timing.ts";
import { PEAK_WORK, type PeakWork } from "./works.ts";

/** The peak of a machine with so many threads busy. */
export interface Peak {
  readonly threads: number;
  /** FLOP/s of all of them together. */
  readonly flopsPerSecond: number;
  readonly setting: string;
  readonly runtime: string;
  /** Milliseconds that each run of the kernel took, on whichever thread. */
  readonly times: readonly number[];
  /** Of the largest process. */
  readonly peakBytes: number;
}

/** A process a thread, each ready to run the kernel. They end with `await using`. */
export class PeakProcesses implements AsyncDisposable {
  readonly #contenders: readonly Contender[];
  readonly #stack: AsyncDisposableStack;

  private constructor(contenders: readonly Contender[], stack: AsyncDisposableStack) {
    this.#contenders = contenders;
    this.#stack = stack;
  }

  /** Starts as many processes, and lets the engine compile the kernel for good. */
  static async launch(threads: number, folder: string): Promise<PeakProcesses> {
    await using stack = new AsyncDisposableStack();
    const contenders: Contender[] = [];
    for (let index = 0; index < threads; index++) {
      const start = { work: PEAK_WORK, system: FOVEA.name, threads: 1, setting: "", folder };
      contenders.push(stack.use(await Contender.launch(start)));
    }
    await Promise.all(contenders.map((one) => one.ask({ kind: "warm", duration: WARM_UP })));
    return new PeakProcesses(contenders, stack.move());
  }

  /** Runs the kernel in so many processes at the same time, for so many milliseconds each. */
  async measure(threads: number, duration: number, leadIn: number): Promise<Peak> {
    const contenders = this.#contenders.slice(0, threads);
    const replies = await Promise.all(
      contenders.map((contender) => contender.ask({ kind: "round", duration, leadIn })),
    );
    const rates = replies.map(({ times }) => PEAK_FLOPS / (median(times) / 1000));
    return {
      threads,
      flopsPerSecond: rates.reduce((total, rate) => total + rate, 0),
      setting: contenders[0]?.ready.setting ?? "",
      runtime: contenders[0]?.ready.runtime ?? "",
      times: replies.flatMap(({ times }) => times),
      peakBytes: Math.max(...replies.map(({ peakBytes }) => peakBytes)),
    };
  }

  /** Their FLOP/s together just now. */
  async rate(threads: number): Promise<number> {
    return (await this.measure(threads, GLANCE, 0)).flopsPerSecond;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }
}

/** Milliseconds before the first measurement. */
const WARM_UP = 500;
/** Milliseconds of a look at what the machine does: some dozens of runs. */
const GLANCE = 30;

/** The peak for each number of threads: that of the best round, as nothing runs faster than it can. */
export async function measurePeaks(
  work: PeakWork,
  processes: PeakProcesses,
  { threads, milliseconds, progress }: MeasureOptions,
): Promise<Peak[]> {
  const peaks: Peak[] = [];
  for (const count of threads) {
    const rounds: Peak[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      progress(`${work.name}, threads ${count}: round ${round + 1} of ${ROUNDS}`);
      rounds.push(await processes.measure(count, milliseconds / ROUNDS, LEAD_IN));
    }
    const best = rounds.toSorted((a, b) => b.flopsPerSecond - a.flopsPerSecond)[0];
    if (best !== undefined) peaks.push(best);
  }
  return peaks;
}
