/** Measuring the machine's multiply-add peak, on one thread and on several at once. */
import { Contender } from "./contender.ts";
import { PEAK_FLOPS } from "./fovea/fma_peak.ts";
import { type MeasureOptions, ROUNDS } from "./measure.ts";
import type { StartMessage } from "./messages.ts";
import { median } from "./statistics.ts";
import { FOVEA } from "./systems.ts";
import type { PeakWork } from "./works.ts";

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

/** The peak for each number of threads: as many processes run the kernel at the same time. */
export async function measurePeaks(
  work: PeakWork,
  { threads, milliseconds, folder, progress }: MeasureOptions,
): Promise<Peak[]> {
  const peaks: Peak[] = [];
  for (const count of threads) {
    progress(`${work.name}, threads ${count}`);
    const start = { work, system: FOVEA.name, threads: 1, setting: "", folder };
    peaks.push(await measurePeak(start, count, milliseconds / ROUNDS));
  }
  return peaks;
}

async function measurePeak(
  start: StartMessage,
  threads: number,
  duration: number,
): Promise<Peak> {
  await using cleanup = new AsyncDisposableStack();
  const contenders: Contender[] = [];
  for (let index = 0; index < threads; index++) {
    contenders.push(cleanup.use(await Contender.launch(start)));
  }
  await Promise.all(contenders.map((contender) => contender.ask({ kind: "warm", duration })));
  const replies = await Promise.all(
    contenders.map((contender) => contender.ask({ kind: "round", duration })),
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
