/** Warming up and timing, by elapsed time: the engine compiles hot code anew in the background. */
import { isStable, median } from "./statistics.ts";

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

/** The warm-up before rounds of `duration` milliseconds in all: longer where they are. */
export function warmUpFor(duration: number): WarmUp {
  return {
    least: Math.min(1000, duration / 3),
    most: 2 * duration,
    window: Math.min(500, duration / 6),
    tolerance: 0.05,
  };
}

/** A clock in milliseconds. */
export type Clock = () => number;

/** How a warm-up ended. */
export interface Warmth {
  /** Whether the rate became stable. */
  readonly stable: boolean;
  /** Median milliseconds of the last runs. */
  readonly milliseconds: number;
}

const LAST_RUNS = 5;

/** Runs until the rate is stable, yielding between runs so that finished code gets in. */
export async function warmUp(
  run: () => Promise<unknown>,
  { least, most, window, tolerance }: WarmUp,
  now: Clock = () => performance.now(),
): Promise<Warmth> {
  const start = now();
  const times: number[] = [];
  while (now() - start < most) {
    times.push(await timed(run, now));
    const stable = now() - start >= least && isStable(times, window, tolerance);
    if (stable) return { stable, milliseconds: median(times.slice(-LAST_RUNS)) };
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  return { stable: false, milliseconds: median(times.slice(-LAST_RUNS)) };
}

/**
 * Milliseconds that a system runs before a round of its is timed. Other systems ran meanwhile, maybe
 * on one thread: the core that was idle, a virtual machine's above all, needs up to half a second of
 * work until it is as fast as it was.
 */
export const LEAD_IN = 300;

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
