/**
 * Worker threads, shared by all programs that want the same number of them. Workers sleep between
 * runs; when the last program is disposed they linger for a moment, for the next, and then end.
 */
import * as Comlink from "comlink";
import { WorkerError } from "../errors.ts";
import {
  BOARD,
  boardBytes,
  type ProgramEntry,
  type ThreadFailure,
  type WorkerApi,
} from "./board.ts";
import { processors, unreferenceTimer } from "./host.ts";
import { startWorkerThread, type WorkerThread, workerUrl } from "./worker_thread.ts";

/**
 * How long an idle worker spins before it sleeps, unless its last wait was longer anyway. A training
 * loop's next run comes within that: a sleeping worker may be woken on the core of the thread that
 * wakes it, and stay there.
 */
const IDLE_SPIN_MILLISECONDS = 10;
const LINGER_MILLISECONDS = 1000;
const START_LIMIT_MILLISECONDS = 10_000;

/** What tests change. */
export interface PoolOptions {
  /** The worker's module. */
  readonly url?: URL;
  /** Milliseconds after which a worker that has not taken up a run is taken to be dead. */
  readonly startLimit?: number;
}

interface PooledWorker {
  readonly thread: WorkerThread;
  readonly api: Comlink.Remote<WorkerApi>;
}

const pools = new Map<number, Promise<WorkerPool>>();

/** Workers for programs of `threads` threads, the calling thread being one of them. */
export class WorkerPool {
  readonly threads: number;
  /** Why it can no longer be used, if so. */
  failure: WorkerError | undefined;
  readonly #workers: PooledWorker[] = [];
  readonly #board: SharedArrayBuffer;
  readonly #words: Int32Array;
  readonly #runs: BigInt64Array;
  readonly #startLimit: number;
  /** Rejected with `failure`. */
  readonly #failed: Promise<never>;
  #rejectFailed: (failure: WorkerError) => void = () => {};
  /** Its entry in `pools`, if it is there. */
  #shared: Promise<WorkerPool> | undefined;
  #users = 0;
  /** Control calls whose answer is awaited: while there are some, workers keep the process alive. */
  #calls = 0;
  #run = 0;
  #runStarted = 0;
  #linger: ReturnType<typeof setTimeout> | undefined;

  /** Use {@linkcode WorkerPool.acquire}. */
  private constructor(threads: number, startLimit: number) {
    this.threads = threads;
    this.#startLimit = startLimit;
    this.#board = new SharedArrayBuffer(boardBytes(threads));
    this.#words = new Int32Array(this.#board);
    this.#runs = new BigInt64Array(this.#board);
    // `Promise.withResolvers` is missing in Node.js before 22.
    this.#failed = new Promise((_, reject) => this.#rejectFailed = reject);
    // Whoever awaits a worker's answer sees the failure; if nobody does, it waits in `failure`.
    this.#failed.catch(() => {});
  }

  /**
   * The pool of this many threads, started if there is none. Each call needs a `release`.
   *
   * @throws {WorkerError} When a worker does not start.
   */
  static async acquire(threads: number): Promise<WorkerPool> {
    const pool = await (pools.get(threads) ?? WorkerPool.#add(threads));
    pool.#users++;
    clearTimeout(pool.#linger);
    return pool;
  }

  static #add(threads: number): Promise<WorkerPool> {
    const starting = WorkerPool.start(threads);
    pools.set(threads, starting);
    starting.then((pool) => pool.#shared = starting, () => pools.delete(threads));
    return starting;
  }

  /**
   * A pool of its own, outside the shared ones; `release` ends it.
   *
   * @throws {WorkerError} When a worker does not start.
   */
  static async start(threads: number, options: PoolOptions = {}): Promise<WorkerPool> {
    const { url = workerUrl(), startLimit = START_LIMIT_MILLISECONDS } = options;
    const pool = new WorkerPool(threads, startLimit);
    try {
      for (let thread = 1; thread < threads; thread++) pool.#startWorker(thread, url);
      const spin = mayMeetSpinning(threads) ? IDLE_SPIN_MILLISECONDS : 0;
      await pool.#ask(({ api }, index) => api.init(index + 1, pool.#board, spin));
    } catch (error) {
      pool.#end();
      throw pool.failure ?? error;
    }
    return pool;
  }

  /** Gives back what `acquire` gave. */
  release(): void {
    if (--this.#users > 0) return;
    if (this.failure !== undefined) return this.#end();
    this.#linger = setTimeout(() => this.#end(), LINGER_MILLISECONDS);
    unreferenceTimer(this.#linger);
  }

  /** Makes a program known to every worker. */
  async register(entry: ProgramEntry): Promise<void> {
    await this.#ask(({ api }) => api.register(entry));
  }

  /** Makes the workers drop a program. Does not wait for them. */
  unregister(id: number): void {
    if (this.failure !== undefined) return;
    // A worker that cannot answer has failed, which `failure` then says.
    this.#ask(({ api }) => api.unregister(id)).catch((error) => this.#fail(String(error)));
  }

  /** What the workers failed with in a program, once they have all stopped running it. */
  async failuresOf(id: number): Promise<readonly (ThreadFailure | undefined)[]> {
    return await this.#ask(({ api }) => api.failureOf(id));
  }

  /** Wakes the workers to run a program. The caller runs its own share, as thread 0. */
  start(id: number): void {
    this.#run = (this.#run + 1) | 0;
    this.#runStarted = performance.now();
    Atomics.store(this.#runs, BOARD.run / 2, (BigInt(this.#run) << 32n) | BigInt(id));
    this.#ring();
  }

  /**
   * Called by a thread that has waited long.
   *
   * @throws {WorkerError} When a worker has not even taken up the run.
   */
  checkStarted(): void {
    if (performance.now() - this.#runStarted < this.#startLimit) return;
    for (let thread = 1; thread < this.threads; thread++) {
      if (Atomics.load(this.#words, BOARD.started + thread) === this.#run) continue;
      throw this.#fail(
        `worker ${thread} did not take up a run within ${this.#startLimit / 1000} s`,
      );
    }
  }

  #startWorker(thread: number, url: URL): void {
    const fail = (reason: unknown) => this.#fail(`worker ${thread}: ${reason}`);
    try {
      const worker = startWorkerThread(url, fail);
      this.#workers.push({ thread: worker, api: Comlink.wrap<WorkerApi>(worker.endpoint) });
    } catch (error) {
      throw fail(error instanceof Error ? error.message : error);
    }
  }

  /** Asks every worker, which then parks again. */
  async #ask<T>(
    question: (worker: PooledWorker, index: number) => Promise<T>,
  ): Promise<readonly T[]> {
    if (this.failure !== undefined) throw this.failure;
    Atomics.add(this.#words, BOARD.messages, 1);
    this.#ring();
    this.#keepAlive(1);
    try {
      const answers = this.#workers.map((worker, index) => {
        const answer = question(worker, index);
        worker.api.park().catch((error) => this.#fail(`worker ${index + 1}: ${error.message}`));
        return answer;
      });
      return await Promise.race([Promise.all(answers), this.#failed]);
    } finally {
      this.#keepAlive(-1);
    }
  }

  #ring(): void {
    Atomics.add(this.#words, BOARD.bell, 1);
    Atomics.notify(this.#words, BOARD.bell);
  }

  #keepAlive(change: number): void {
    const before = this.#calls > 0;
    this.#calls += change;
    const now = this.#calls > 0;
    if (before !== now) { for (const { thread } of this.#workers) thread.keepAlive(now); }
  }

  #fail(reason: string): WorkerError {
    if (this.failure === undefined) {
      this.failure = new WorkerError(`A pool of ${this.threads} threads failed: ${reason}`);
      this.#rejectFailed(this.failure);
      this.#forget();
    }
    return this.failure;
  }

  #forget(): void {
    if (this.#shared !== undefined && pools.get(this.threads) === this.#shared) {
      pools.delete(this.threads);
    }
  }

  #end(): void {
    this.#forget();
    for (const { thread } of this.#workers) thread.terminate();
  }
}

/** Whether each thread can have a core: then spinning for one another does not take it from them. */
export function mayMeetSpinning(threads: number): boolean {
  return threads <= processors();
}
