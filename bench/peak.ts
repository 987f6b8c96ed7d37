/** Measuring the machine's multiply-add peak, on one thread and on several at once. */
import { Contender } from "./contender.ts";
import { COPY_BYTES } from "./fovea/cache_copy.ts";
import { FED_FLOPS } from "./fovea/fed_fma.ts";
import { PEAK_FLOPS } from "./fovea/fma_peak.ts";
import { type MeasureOptions, ROUNDS } from "./measure.ts";
import { median } from "./statistics.ts";
import { FOVEA } from "./systems.ts";
import { LEAD_IN } from "./timing.ts";
import { COPY_WORK, FED_WORK, type MachineWork, PEAK_WORK } from "./works.ts";

/** Something that shows what the machine gives just now. */
export interface MachineKernel {
  readonly work: MachineWork;
  /** FLOPs or bytes of a run. */
  readonly amount: number;
}

export const MULTIPLY_ADDS: MachineKernel = { work: PEAK_WORK, amount: PEAK_FLOPS };
export const FED_MULTIPLY_ADDS: MachineKernel = { work: FED_WORK, amount: FED_FLOPS };
export const COPIES: MachineKernel = { work: COPY_WORK, amount: COPY_BYTES };

/** What a machine does with so many threads busy. */
export interface MachineRate {
  readonly threads: number;
  /** FLOP/s, or bytes/s, of all of them together. */
  readonly perSecond: number;
  readonly setting: string;
  readonly runtime: string;
  /** Milliseconds that each run of the kernel took, on whichever thread. */
  readonly times: readonly number[];
  /** Of the largest process. */
  readonly peakBytes: number;
}

/** A process a thread, each ready to run the kernel. They end with `await using`. */
export class MachineProcesses implements AsyncDisposable {
  readonly #amount: number;
  readonly #contenders: readonly Contender[];
  readonly #stack: AsyncDisposableStack;

  private constructor(
    amount: number,
    contenders: readonly Contender[],
    stack: AsyncDisposableStack,
  ) {
    this.#amount = amount;
    this.#contenders = contenders;
    this.#stack = stack;
  }

  /** Starts as many processes, and lets the engine compile the kernel for good. */
  static async launch(
    { work, amount }: MachineKernel,
    threads: number,
    folder: string,
  ): Promise<MachineProcesses> {
    await using stack = new AsyncDisposableStack();
    const contenders: Contender[] = [];
    for (let index = 0; index < threads; index++) {
      const start = { work, system: FOVEA.name, threads: 1, setting: "", folder };
      contenders.push(stack.use(await Contender.launch(start)));
    }
    await Promise.all(contenders.map((one) => one.ask({ kind: "warm", duration: WARM_UP })));
    return new MachineProcesses(amount, contenders, stack.move());
  }

  /** Runs the kernel in so many processes at the same time, for so many milliseconds each. */
  async measure(threads: number, duration: number, leadIn: number): Promise<MachineRate> {
    const contenders = this.#contenders.slice(0, threads);
    const replies = await Promise.all(
      contenders.map((contender) => contender.ask({ kind: "round", duration, leadIn })),
    );
    const rates = replies.map(({ times }) => this.#amount / (median(times) / 1000));
    return {
      threads,
      perSecond: rates.reduce((total, rate) => total + rate, 0),
      setting: contenders[0]?.ready.setting ?? "",
      runtime: contenders[0]?.ready.runtime ?? "",
      times: replies.flatMap(({ times }) => times),
      peakBytes: Math.max(...replies.map(({ peakBytes }) => peakBytes)),
    };
  }

  /** Their FLOP/s or bytes/s together just now. */
  async rate(threads: number): Promise<number> {
    return (await this.measure(threads, GLANCE, 0)).perSecond;
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
  work: MachineWork,
  processes: MachineProcesses,
  { threads, milliseconds, progress }: MeasureOptions,
): Promise<MachineRate[]> {
  const peaks: MachineRate[] = [];
  for (const count of threads) {
    const rounds: MachineRate[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      progress(`${work.name}, threads ${count}: round ${round + 1} of ${ROUNDS}`);
      rounds.push(await processes.measure(count, milliseconds / ROUNDS, LEAD_IN));
    }
    const best = rounds.toSorted((a, b) => b.perSecond - a.perSecond)[0];
    if (best !== undefined) peaks.push(best);
  }
  return peaks;
}
