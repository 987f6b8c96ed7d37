/** Warming up and timing, by elapsed time: the engine compiles hot code anew in the background. */
import { isStable } from "./statistics.ts";

/** When a warm-up ends. Times are in milliseconds. */
export interface WarmUp {
  readonly least: number;
  /** It ends then, stable or not. */
  readonly most: number;
  /** Time over which the rate is taken; two windows are compared. */
  readonly window: number;
  /** How far the rates of two windows may be apart, relative to the slower. */
  readonly tolerance: number;
}

export const WARM_UP: WarmUp = { least: 1000, most: 10_000, window: 500, tolerance: 0.05 };

/** A clock in milliseconds. */
export type Clock = () => number;

/**
 * Runs until the rate is stable, yielding between runs so that finished code gets in.
 *
 * @returns Whether it became stable.
 */
export async function warmUp(
  run: () => Promise<unknown>,
  { least, most, window, tolerance }: WarmUp = WARM_UP,
  now: Clock = () => performance.now(),
): Promise<boolean> {
  const start = now();
  const times: number[] = [];
  while (now() - start < most) {
    times.push(await timed(run, now));
    if (now() - start >= least && isStable(times, window, tolerance)) return true;
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  return false;
}

/** Runs for so many milliseconds, once at least; gives the time of each run. */
export async function timedRound(
  run: () => Promise<unknown>,
  duration: number,
  now: Clock = () => performance.now(),
): Promise<number[]> {
  const start = now();
  const times: number[] = [];
  do {
    times.push(await timed(run, now));
  } while (now() - start < duration);
  return times;
}

async function timed(run: () => Promise<unknown>, now: Clock): Promise<number> {
  const start = now();
  await run();
  return now() - start;
}
