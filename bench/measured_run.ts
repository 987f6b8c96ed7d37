/** What a system under measurement does, as its process sees it. */

/** Work that is done over and over, in the same way in every system. */
export interface MeasuredRun {
  /** How the system was set up, in a few words. */
  readonly setting: string;
  /** How it got ready; where that is measured. */
  readonly startUp?: StartUp;
  /** Bytes below which no plan of its memory can go, where the system knows. */
  readonly lowerBoundBytes?: number;
  /**
   * Does the work once, to the end. Gives numbers that are the same in every system: a product, logits,
   * or for a training step the loss before its update.
   */
  step(): Promise<ArrayLike<number>>;
  /** Waits for what a step leaves running after its results are there; others are timed then. */
  settle?(): Promise<void>;
  /** Milliseconds that each class of kernels has taken so far, where steps are timed one by one. */
  classTimes?(): ClassTimes;
}

/** Milliseconds of a start. */
export interface StartUp {
  /** From the graph's description to a program that is ready to be given its parameters. */
  readonly compileMs: number;
  /** Giving it the parameters; 0 where they are part of what is compiled. */
  readonly parametersMs: number;
}

/** What a kernel mainly is: products, attention, reductions over rows, or anything else. */
export const KERNEL_CLASSES = ["matmul", "attention", "rows", "other"] as const;
export type KernelClass = typeof KERNEL_CLASSES[number];
export type ClassTimes = Readonly<Record<KernelClass, number>>;
