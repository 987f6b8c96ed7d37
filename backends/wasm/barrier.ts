/**
 * The control words at the start of a program's memory, and the barrier in WebAssembly over them.
 * All words stand on cache lines of their own.
 */
import type { ModuleBuilder } from "./encoder.ts";

const LINE = 64;

/** Byte addresses of the control words. */
export const CONTROL = {
  /** Threads that have arrived at the current barrier. */
  arrived: 0,
  /** Counts the barriers passed; threads sleep on it. */
  generation: LINE,
  /** Threads that may be asleep. */
  sleepers: 2 * LINE,
  /** 0, or 1 + the number of the thread that failed first. */
  aborted: 3 * LINE,
  /** How many looks fewer than the most a thread takes before it sleeps. */
  haste: 4 * LINE,
  /** One line a thread: the step that it works on. */
  steps: 5 * LINE,
} as const;

/** Address of the word in which a thread notes its step. */
export function stepAddress(thread: number): number {
  return CONTROL.steps + thread * LINE;
}

/** Bytes that the control words of this many threads take. */
export function controlBytes(threads: number): number {
  return stepAddress(threads);
}

/** How often a thread looks at the generation before it goes to sleep. */
export interface Spins {
  readonly least: number;
  readonly most: number;
}

/** How long a thread waits. */
export interface BarrierOptions {
  readonly threads: number;
  readonly spins: Spins;
  /** Index of a function `() -> ()` called whenever a wait has taken about a second. */
  readonly stalled: number;
}

const SLEEP_NANOSECONDS = 1_000_000_000n;
const TIMED_OUT = 2;

/**
 * Emits `barrier(mayBlock: i32)`: returns when all threads have called it. It spins for a while and
 * then sleeps. It spins for less long, half as long at the least, whenever that was in vain, as it is
 * where the others wait for a core, and for longer again, by little, when it was not. A thread that may
 * not block (a browser's main thread) only spins. Traps when a thread
 * has failed: an aborting thread sets `aborted` and then counts the generation up, so that one that
 * read the generation before sees it change, and one that reads it later finds `aborted` set.
 *
 * A sleeper counts itself in `sleepers` before it compares the generation again, and the last to
 * arrive counts the generation up before it looks at `sleepers`: one of the two sees the other.
 */
export function emitBarrier(module: ModuleBuilder, options: BarrierOptions): number {
  const f = module.function("barrier", { params: ["i32"], results: [] });
  const mayBlock = f.param(0);
  const generation = f.local("i32");
  const spins = f.local("i32");
  const haste = f.local("i32");
  const patience = f.local("i32");
  const slept = f.local("i32");
  const { least, most } = options.spins;

  const load = (address: number): void => {
    f.address.const(0);
    f.atomic.load(address);
  };
  const add = (address: number, amount: number): void => {
    f.address.const(0);
    f.i32.const(amount);
    f.atomic.rmw_add(address);
  };
  const sleep = (): void => {
    f.i32.const(1);
    f.set(slept);
    add(CONTROL.sleepers, 1);
    f.drop();
    f.address.const(0);
    f.get(generation);
    f.i64.const(SLEEP_NANOSECONDS);
    f.atomic.wait32(CONTROL.generation);
    add(CONTROL.sleepers, -1);
    f.drop();
    f.i32.const(TIMED_OUT);
    f.i32.eq();
    f.if(() => f.call(options.stalled));
  };
  const release = (): void => {
    f.address.const(0);
    f.i32.const(0);
    f.atomic.store(CONTROL.arrived);
    add(CONTROL.generation, 1);
    f.drop();
    load(CONTROL.sleepers);
    f.if(() => {
      f.address.const(0);
      f.i32.const(options.threads);
      f.atomic.notify(CONTROL.generation);
      f.drop();
    });
  };
  const readPatience = (): void => {
    f.i32.const(most);
    load(CONTROL.haste);
    f.tee(haste);
    f.i32.sub();
    f.set(patience);
  };
  /** What other threads wrote meanwhile may be lost: each of them learns the same. */
  const learn = (): void => {
    const store = (change: () => void): void => {
      f.address.const(0);
      f.get(haste);
      change();
      f.atomic.store(CONTROL.haste);
    };
    f.get(slept);
    f.if(
      () =>
        store(() => {
          f.get(patience);
          f.i32.const(least);
          f.i32.sub();
          f.i32.const(1);
          f.i32.shr_u();
          f.i32.add();
        }),
      () => {
        f.get(haste);
        f.if(() =>
          store(() => {
            f.get(haste);
            f.i32.const(7);
            f.i32.add();
            f.i32.const(3);
            f.i32.shr_u();
            f.i32.sub();
          })
        );
      },
    );
  };
  const watch = (): void =>
    f.block((done) =>
      f.loop((again) => {
        load(CONTROL.generation);
        f.get(generation);
        f.i32.ne();
        f.brIf(done);
        f.get(spins);
        f.i32.const(1);
        f.i32.add();
        f.tee(spins);
        f.get(patience);
        f.i32.lt_u();
        f.brIf(again);
        f.get(mayBlock);
        f.if(sleep, () => {
          f.get(spins);
          f.i32.const(SPINS_BETWEEN_CHECKS);
          f.i32.gt_u();
          f.if(() => {
            f.i32.const(0);
            f.set(spins);
            f.call(options.stalled);
          });
        });
        f.br(again);
      })
    );

  const wait = (): void => {
    readPatience();
    watch();
    learn();
  };

  const trapIfAborted = (): void => {
    load(CONTROL.aborted);
    f.if(() => f.unreachable());
  };

  load(CONTROL.generation);
  f.set(generation);
  trapIfAborted();
  add(CONTROL.arrived, 1);
  f.i32.const(options.threads - 1);
  f.i32.eq();
  f.if(release, wait);
  trapIfAborted();
  return f.index;
}

/** About a second's worth where a thread may not sleep. */
const SPINS_BETWEEN_CHECKS = 200_000_000;
