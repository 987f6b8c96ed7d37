/** What a system under measurement does, as its process sees it. */

/** Work that is done over and over, in the same way in every system. */
export interface MeasuredRun {
  /** How the system was set up, in a few words. */
  readonly setting: string;
  /**
   * Does the work once, to the end. Gives a number that is the same in every system: for a training
   * step the loss before its update.
   */
  step(): Promise<number>;
}
