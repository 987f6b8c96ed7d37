/** What the main thread and its workers share: words in memory, and the messages for control. */
import { CONTROL, stepAddress } from "./barrier.ts";

/** Word indices in the pool's shared memory. */
export const BOARD = {
  /** Counts every event; parked workers sleep on it. */
  bell: 0,
  /** Control messages that have been sent to each worker. */
  messages: 1,
  /** Two words: the program in the low one, the run's number in the high one, read at once. */
  run: 2,
  /** One word a worker, by thread: the last run it took up. */
  started: 4,
} as const;

/** Bytes of a board for this many threads. */
export function boardBytes(threads: number): number {
  return 4 * (BOARD.started + threads + (threads % 2));
}

/** What `run` of an assembled program is. */
export type RunFunction = (start: number, end: number, thread: number, mayBlock: number) => void;

/** Commands to run, written by the main thread before it rings. */
export interface ProgramEntry {
  readonly id: number;
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  /** Addresses of the first command and after the last. */
  readonly start: number;
  readonly end: number;
}

/** Why a thread stopped. */
export interface ThreadFailure {
  readonly name: string;
  readonly message: string;
  readonly stack: string | undefined;
}

/** What the main thread may ask of a worker. */
export interface WorkerApi {
  /** Comes first: which thread this is, the pool's board, and how long to spin before sleeping. */
  init(thread: number, board: SharedArrayBuffer, spinMilliseconds: number): void;
  /** Instantiates a program. */
  register(entry: ProgramEntry): void;
  /** Forgets a program. */
  unregister(id: number): void;
  /** What this thread failed with in the program, if it was the first to fail. */
  failureOf(id: number): ThreadFailure | undefined;
  /** Runs programs until there are messages to read. */
  park(): void;
}

/**
 * Marks a program as failed, so that no thread waits for this one. Gives whether this thread is the
 * first to fail; the others only trap because of it.
 */
export function abortProgram(memory: WebAssembly.Memory, thread: number): boolean {
  const words = new Int32Array(memory.buffer, 0, CONTROL.steps / 4);
  const first = Atomics.compareExchange(words, CONTROL.aborted / 4, 0, thread + 1) === 0;
  Atomics.add(words, CONTROL.generation / 4, 1);
  Atomics.notify(words, CONTROL.generation / 4);
  return first;
}

/** The step in which a thread is or was last. */
export function stepOf(memory: WebAssembly.Memory, thread: number): number {
  return new Int32Array(memory.buffer, stepAddress(thread), 1)[0] ?? 0;
}
