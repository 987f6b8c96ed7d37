/**
 * A worker thread of the WASM backend. Control comes as messages through Comlink; runs come through
 * shared memory: between messages the worker is parked in {@linkcode WorkerApi.park}, which spins for
 * a moment and then sleeps on the pool's bell.
 */
import * as Comlink from "comlink";
import {
  abortProgram,
  BOARD,
  boardBytes,
  type ProgramEntry,
  type RunFunction,
  type ThreadFailure,
  type WorkerApi,
} from "./board.ts";
import { nodeEndpoint, nodeThreads } from "./host.ts";

/** Looks at the bell between two at the clock. */
const SPINS_BETWEEN_CLOCKS = 1000;

interface Registered {
  readonly run: RunFunction;
  readonly entry: ProgramEntry;
  failure: ThreadFailure | undefined;
}

/** The worker's side of {@linkcode WorkerApi}. */
class ParkedWorker implements WorkerApi {
  readonly #programs = new Map<number, Registered>();
  #thread = 0;
  #spinMilliseconds = 0;
  /** Whether the next wait begins with spinning. */
  #spins = true;
  #words = new Int32Array(new SharedArrayBuffer(boardBytes(1)));
  #runs = new BigInt64Array(this.#words.buffer);
  /** Control messages handled, and the last run taken up. */
  #handled = 0;
  #seen = 0n;

  init(thread: number, board: SharedArrayBuffer, spinMilliseconds: number): void {
    this.#thread = thread;
    this.#spinMilliseconds = spinMilliseconds;
    this.#words = new Int32Array(board);
    this.#runs = new BigInt64Array(board);
    this.#handled = 1;
  }

  register(entry: ProgramEntry): void {
    this.#control(() => {
      const { module, memory } = entry;
      const { exports } = new WebAssembly.Instance(module, { env: { memory, stalled: () => {} } });
      // The export of an assembled program: see assemble.ts.
      this.#programs.set(entry.id, { run: exports.run as RunFunction, entry, failure: undefined });
    });
  }

  unregister(id: number): void {
    this.#control(() => this.#programs.delete(id));
  }

  failureOf(id: number): ThreadFailure | undefined {
    return this.#control(() => this.#programs.get(id)?.failure);
  }

  park(): void {
    for (;;) {
      const bell = Atomics.load(this.#words, BOARD.bell);
      if (Atomics.load(this.#words, BOARD.messages) !== this.#handled) return;
      const run = Atomics.load(this.#runs, BOARD.run / 2);
      if (run !== this.#seen) {
        this.#seen = run;
        this.#take(run);
      } else {
        this.#waitFor(bell);
      }
    }
  }

  #control<T>(act: () => T): T {
    try {
      return act();
    } finally {
      this.#handled = (this.#handled + 1) | 0;
    }
  }

  #waitFor(bell: number): void {
    const start = performance.now();
    if (this.#spins) {
      const until = start + this.#spinMilliseconds;
      do {
        for (let spin = 0; spin < SPINS_BETWEEN_CLOCKS; spin++) {
          if (Atomics.load(this.#words, BOARD.bell) !== bell) return;
        }
      } while (performance.now() < until);
    }
    Atomics.wait(this.#words, BOARD.bell, bell);
    // A wait that spinning could not shorten says that the next one will be as long.
    this.#spins = performance.now() - start < this.#spinMilliseconds;
  }

  #take(run: bigint): void {
    const id = Number(BigInt.asUintN(32, run));
    const program = this.#programs.get(id);
    if (program === undefined) throw new Error(`Thread ${this.#thread} has no program ${id}`);
    Atomics.store(this.#words, BOARD.started + this.#thread, Number(BigInt.asIntN(32, run >> 32n)));
    const { run: walk, entry } = program;
    try {
      walk(entry.start, entry.end, this.#thread, 1);
    } catch (error) {
      if (abortProgram(entry.memory, this.#thread)) program.failure = failureFrom(error);
    }
  }
}

function failureFrom(error: unknown): ThreadFailure {
  if (!(error instanceof Error)) return { name: "Error", message: String(error), stack: undefined };
  return { name: error.name, message: error.message, stack: error.stack };
}

const parent = nodeThreads()?.parentPort;
Comlink.expose(new ParkedWorker(), parent ? nodeEndpoint(parent) : undefined);
