/**
 * Kernels that wait to run together: a kernel may run later than it was to, beside others of its form,
 * until one that touches what it does has to run, or until waiting would take too much memory.
 */
import { ALWAYS, type Slot, slotBytes } from "../memory_slots.ts";
import { roundUp } from "../multiples.ts";

/** A kernel as far as waiting is concerned. */
export interface WaitingKernel {
  /** Homes of all that it reads and writes. */
  readonly touches: ReadonlySet<Slot>;
  readonly writes: ReadonlySet<Slot>;
  /** Homes of what must have been written before, beside what it touches. */
  readonly awaits: ReadonlySet<Slot>;
  /** Kernels of one form may run together; undefined for one that runs alone and when it is to. */
  readonly form: string | undefined;
}

/** Why kernels of one form did not wait any longer for others. */
export type WaitEnd =
  /** The kernel of this number needs what they write, or writes over what they need. */
  | { readonly kind: "needed"; readonly by: number }
  /** More memory would have been alive. */
  | { readonly kind: "memory" }
  /** There were no more kernels. */
  | { readonly kind: "end" };

/** Kernels that run together, by number. */
export interface Batch {
  readonly kernels: readonly number[];
  /** Why it does not hold more; of kernels that run alone, nothing. */
  readonly end: WaitEnd | undefined;
}

/** Bytes that may be alive at once, given how many are when each kernel runs alone. */
export type MemoryBudget = (peak: number) => number;

/** Kernels of one form that wait. */
interface Group {
  readonly form: string;
  readonly kernels: number[];
  readonly touches: Set<Slot>;
  readonly writes: Set<Slot>;
  /** Groups that must run before. */
  readonly after: Set<Group>;
}

/**
 * Batches of the kernels, which come in an order that is right.
 *
 * @param alignment Bytes that a home's size is rounded up to.
 * @param budget How much memory may be alive while kernels wait.
 */
export function batchKernels(
  kernels: readonly WaitingKernel[],
  alignment: number,
  budget: MemoryBudget,
): Batch[] {
  const alone = new Waiting(kernels, alignment, Infinity);
  kernels.forEach((_, at) => alone.run([at], undefined));
  const waiting = new Waiting(kernels, alignment, budget(alone.peak));
  kernels.forEach((_, at) => waiting.next(at));
  return waiting.finish();
}

class Waiting {
  readonly #kernels: readonly WaitingKernel[];
  readonly #alignment: number;
  readonly #budget: number;
  /** Kernels that have not run yet and touch a home. */
  readonly #left = new Map<Slot, number>();
  readonly #alive = new Set<Slot>();
  readonly #batches: Batch[] = [];
  /** In the order in which they began. */
  readonly #groups = new Set<Group>();
  #live = 0;
  /** The most bytes that were alive at once. */
  peak = 0;

  constructor(kernels: readonly WaitingKernel[], alignment: number, budget: number) {
    this.#kernels = kernels;
    this.#alignment = alignment;
    this.#budget = budget;
    for (const { touches } of kernels) {
      for (const home of touches) {
        const left = this.#left.get(home);
        this.#left.set(home, (left ?? 0) + 1);
        if (left === undefined && home.first < 0) this.#enter(home);
      }
    }
  }

  /** Runs the kernels together. */
  run(kernels: readonly number[], end: WaitEnd | undefined): void {
    for (const at of kernels) {
      for (const home of this.#kernel(at).touches) if (!this.#alive.has(home)) this.#enter(home);
    }
    this.peak = Math.max(this.peak, this.#live);
    for (const at of kernels) {
      for (const home of this.#kernel(at).touches) {
        const left = (this.#left.get(home) ?? 0) - 1;
        this.#left.set(home, left);
        if (left > 0 || home.last === ALWAYS) continue;
        this.#alive.delete(home);
        this.#live -= this.#bytes(home);
      }
    }
    this.#batches.push({ kernels, end });
  }

  /** The next kernel runs, or waits. */
  next(at: number): void {
    const { form } = this.#kernel(at);
    const before = this.#conflicts(at);
    if (form === undefined) {
      for (const group of before) this.#flush(group, { kind: "needed", by: at });
      this.#makeRoom([at]);
      return this.run([at], undefined);
    }
    let group = [...this.#groups].find((other) => other.form === form);
    if (group !== undefined && [...before].some((other) => this.#reaches(other, group))) {
      this.#flush(group, { kind: "needed", by: at });
    }
    if (group !== undefined && this.#groups.has(group)) {
      if (this.#live + this.#newBytes([...group.kernels, at]) > this.#budget) {
        this.#flush(group, { kind: "memory" });
      }
    }
    if (group === undefined || !this.#groups.has(group)) {
      group = { form, kernels: [], touches: new Set(), writes: new Set(), after: new Set() };
      this.#groups.add(group);
    }
    this.#join(group, at, before);
  }

  /** Runs what still waits; gives all batches in order. */
  finish(): Batch[] {
    for (const group of this.#groups) this.#flush(group, { kind: "end" });
    return this.#batches;
  }

  #kernel(at: number): WaitingKernel {
    const kernel = this.#kernels[at];
    if (kernel === undefined) throw new RangeError(`There is no kernel ${at}`);
    return kernel;
  }

  #bytes(home: Slot): number {
    return roundUp(slotBytes(home), this.#alignment);
  }

  #enter(home: Slot): void {
    this.#alive.add(home);
    this.#live += this.#bytes(home);
  }

  #join(group: Group, at: number, before: ReadonlySet<Group>): void {
    const { touches, writes } = this.#kernel(at);
    group.kernels.push(at);
    for (const home of touches) group.touches.add(home);
    for (const home of writes) group.writes.add(home);
    for (const other of before) {
      if (this.#groups.has(other)) group.after.add(other);
    }
  }

  /** Waiting groups that have to run before the kernel. */
  #conflicts(at: number): Set<Group> {
    const { touches, writes, awaits } = this.#kernel(at);
    const found = new Set<Group>();
    for (const group of this.#groups) {
      const clash = meets(group.writes, touches) || meets(group.touches, writes) ||
        meets(group.writes, awaits);
      if (clash) found.add(group);
    }
    return found;
  }

  /** Whether `from` is `to`, or has to run after it. */
  #reaches(from: Group, to: Group | undefined): boolean {
    if (from === to) return true;
    return [...from.after].some((before) => this.#reaches(before, to));
  }

  /** Runs a group, after those that have to run before. */
  #flush(group: Group, end: WaitEnd): void {
    if (!this.#groups.delete(group)) return;
    for (const before of group.after) this.#flush(before, end);
    let batch: number[] = [];
    for (const at of group.kernels) {
      const isTooMuch = batch.length > 0 &&
        this.#live + this.#newBytes([...batch, at]) > this.#budget;
      if (isTooMuch) {
        this.run(batch, { kind: "memory" });
        batch = [];
      }
      batch.push(at);
    }
    this.run(batch, end);
    for (const other of this.#groups) other.after.delete(group);
  }

  /** Runs waiting groups, those first that free the most, until there is memory for the kernels. */
  #makeRoom(kernels: readonly number[]): void {
    while (this.#live + this.#newBytes(kernels) > this.#budget) {
      let best: Group | undefined;
      let most = 0;
      for (const group of this.#groups) {
        const freed = this.#freedBytes(group.kernels);
        if (freed > most) [best, most] = [group, freed];
      }
      if (best === undefined) return;
      this.#flush(best, { kind: "memory" });
    }
  }

  /** Bytes that are not alive now and would be while the kernels run. */
  #newBytes(kernels: readonly number[]): number {
    const homes = new Set<Slot>();
    let bytes = 0;
    for (const at of kernels) {
      for (const home of this.#kernel(at).touches) {
        if (this.#alive.has(home) || homes.has(home)) continue;
        homes.add(home);
        bytes += this.#bytes(home);
      }
    }
    return bytes;
  }

  /** Bytes by which less is alive once the kernels have run; negative where there is more. */
  #freedBytes(kernels: readonly number[]): number {
    const uses = new Map<Slot, number>();
    for (const at of kernels) {
      for (const home of this.#kernel(at).touches) uses.set(home, (uses.get(home) ?? 0) + 1);
    }
    let bytes = 0;
    for (const [home, count] of uses) {
      const isLast = count === this.#left.get(home) && home.last !== ALWAYS;
      if (isLast && this.#alive.has(home)) bytes += this.#bytes(home);
      if (!isLast && !this.#alive.has(home)) bytes -= this.#bytes(home);
    }
    return bytes;
  }
}

function meets(a: ReadonlySet<Slot>, b: ReadonlySet<Slot>): boolean {
  const [few, many] = a.size < b.size ? [a, b] : [b, a];
  for (const home of few) if (many.has(home)) return true;
  return false;
}
