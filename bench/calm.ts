/**
 * Timing while the machine gives all that it has. Virtual machines share their cores and caches: at times
 * two threads get no more than one core between them, for milliseconds or minutes. Kernels that do one
 * thing alone, run before and after each round on as many threads as the system has, show it; which rounds
 * count does not depend on how the systems did in them.
 */

/** A kernel that shows what the machine gives. */
export interface Probe {
  /** How fast so many threads are together, over some milliseconds, in whatever unit. */
  readonly rate: (threads: number) => Promise<number>;
  /** The share of the most that was ever seen from which on the machine counts as calm. */
  readonly share: number;
}

/** Knows what the machine can do at best, and looks whether it does. */
export class Watch {
  readonly #probes: readonly (Probe & { readonly most: Map<number, number> })[];

  constructor(probes: readonly Probe[]) {
    this.#probes = probes.map((probe) => ({ ...probe, most: new Map() }));
  }

  /** Whether so many threads run as fast, just now, as the fastest that were ever seen, in every probe. */
  async isCalm(threads: number): Promise<boolean> {
    for (const { rate, share, most } of this.#probes) {
      const found = await rate(threads);
      const best = Math.max(most.get(threads) ?? 0, found);
      most.set(threads, best);
      if (found < share * best) return false;
    }
    return true;
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
