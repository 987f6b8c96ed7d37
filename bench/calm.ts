/**
 * Timing while the machine gives all that it has. Virtual machines share their cores: at times two
 * threads get no more than one core between them, for milliseconds or minutes. A kernel that does
 * nothing but multiply and add, run before and after each round on as many threads as the system has,
 * shows it; which rounds count does not depend on how the systems did in them.
 */

/** FLOP/s of so many threads together that do nothing but multiply and add, over some milliseconds. */
export type PeakRate = (threads: number) => Promise<number>;

/** The share of the most that was ever seen from which on the machine counts as calm. */
const CALM = 0.95;

/** Knows what the machine can do at best, and looks whether it does. */
export class Watch {
  readonly #rate: PeakRate;
  readonly #most = new Map<number, number>();

  constructor(rate: PeakRate) {
    this.#rate = rate;
  }

  /** Whether so many threads run as fast, just now, as the fastest that were ever seen. */
  async isCalm(threads: number): Promise<boolean> {
    const rate = await this.#rate(threads);
    const most = Math.max(this.#most.get(threads) ?? 0, rate);
    this.#most.set(threads, most);
    return rate >= CALM * most;
  }
}

/** A round's result, and whether the machine was calm before and after it. */
export interface Round<T> {
  readonly result: T;
  readonly calm: boolean;
}

/** Times rounds while the machine is calm, as long as there is patience. */
export class CalmRounds {
  readonly #watch: Watch;
  readonly #now: () => number;
  #patience: number;

  /**
   * @param patience Milliseconds that may be spent, over all rounds, on waiting and on rounds that do
   *   not count.
   */
  constructor(watch: Watch, patience: number, now: () => number = () => performance.now()) {
    this.#watch = watch;
    this.#patience = patience;
    this.#now = now;
  }

  /** Runs the round once the machine is calm, and again where it has not stayed so. */
  async time<T>(threads: number, round: () => Promise<T>): Promise<Round<T>> {
    for (;;) {
      const before = await this.#becomesCalm(threads);
      const start = this.#now();
      const result = await round();
      if (before && await this.#watch.isCalm(threads)) return { result, calm: true };
      if (this.#patience <= 0) return { result, calm: false };
      this.#patience -= this.#now() - start;
    }
  }

  /** Waits until the machine is calm or patience is at its end. */
  async #becomesCalm(threads: number): Promise<boolean> {
    let start = this.#now();
    while (!await this.#watch.isCalm(threads)) {
      this.#patience -= this.#now() - start;
      if (this.#patience <= 0) return false;
      start = this.#now();
    }
    return true;
  }
}
