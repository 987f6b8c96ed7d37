/** Whether all systems compute the same thing: their losses, step by step. */
import { relativeDifference } from "./statistics.ts";

/** Two systems do not compute the same thing, so that their times say nothing. */
export class LossMismatchError extends Error {
  override readonly name = "LossMismatchError";
}

/** How far losses may differ, relatively: rounding grows from step to step. */
export const LOSS_TOLERANCE = 1e-4;

/** Compares losses, step by step, with those of whoever came first. */
export class LossCheck {
  #first: { readonly who: string; readonly losses: readonly number[] } | undefined;
  #largest = 0;

  /** The largest relative difference so far. */
  get largest(): number {
    return this.#largest;
  }

  /** @throws {LossMismatchError} When a loss is more than {@linkcode LOSS_TOLERANCE} off. */
  add(who: string, losses: readonly number[]): void {
    this.#first ??= { who, losses };
    for (const [index, loss] of losses.entries()) {
      const expected = this.#first.losses[index] ?? NaN;
      const difference = relativeDifference(loss, expected);
      if (!(difference <= LOSS_TOLERANCE)) {
        throw new LossMismatchError(
          `The loss of step ${index + 1} is ${loss} with ${who}, but ${expected} with ` +
            `${this.#first.who}: wanted a relative difference of at most ${LOSS_TOLERANCE}`,
        );
      }
      this.#largest = Math.max(this.#largest, difference);
    }
  }
}
