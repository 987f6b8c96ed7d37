/**
 * Learning-rate schedules. Each formula is written once, over an arithmetic: with numbers it gives the
 * rate on the host, with graph ops the rate inside the compiled training step.
 */
import * as z from "zod/mini";
import { ConfigError, parseConfig } from "./config.ts";
import { count, countOrNone, oneOf, positiveOrZero } from "./fields.ts";

const scheduleSchema = z.strictObject({
  /** What follows the warm-up: nothing, half a cosine, or a straight line. */
  kind: oneOf(["constant", "cosine", "linear"]),
  /** The rate at the end of the warm-up. */
  learningRate: positiveOrZero,
  /** Steps over which the rate climbs from zero in a straight line. */
  warmupSteps: z._default(countOrNone, 0),
  /** The step, counted from 0, from which on the rate stays at its end. Not for "constant". */
  totalSteps: z.optional(count),
  /** The rate that the decay ends at. Not for "constant". */
  endLearningRate: z._default(positiveOrZero, 0),
});

/** A schedule as the user writes it. */
export type ScheduleOptions = z.input<typeof scheduleSchema>;

/** A checked schedule. */
export type Schedule = z.output<typeof scheduleSchema>;

/**
 * Checks a schedule and fills in what was left out.
 *
 * @throws {ConfigError} Naming each field, its value, and what was wanted.
 */
export function schedule(options: ScheduleOptions): Schedule {
  const checked = parseConfig("learning-rate schedule", scheduleSchema, options);
  const { kind, totalSteps, warmupSteps, learningRate, endLearningRate } = checked;
  const problems: string[] = [];
  if (kind === "constant") {
    if (totalSteps !== undefined) problems.push(`totalSteps is ${totalSteps}, wanted none`);
    if (endLearningRate !== 0) problems.push(`endLearningRate is ${endLearningRate}, wanted none`);
  } else if (totalSteps === undefined || totalSteps <= warmupSteps) {
    problems.push(
      `totalSteps is ${
        totalSteps ?? "missing"
      }, wanted more than warmupSteps, which is ${warmupSteps}`,
    );
  }
  if (endLearningRate > learningRate) {
    problems.push(
      `endLearningRate is ${endLearningRate}, wanted at most learningRate, which is ${learningRate}`,
    );
  }
  if (problems.length > 0) throw new ConfigError(`${kind} learning-rate schedule`, problems);
  return checked;
}

/** The arithmetic that a schedule is written in. */
export interface ScheduleArithmetic<T> {
  /** A number as a `T`. */
  readonly number: (value: number) => T;
  readonly add: (a: T, b: T) => T;
  readonly multiply: (a: T, b: T) => T;
  readonly divide: (a: T, b: T) => T;
  readonly minimum: (a: T, b: T) => T;
  readonly maximum: (a: T, b: T) => T;
  readonly cos: (a: T) => T;
}

const numbers: ScheduleArithmetic<number> = {
  number: (value) => value,
  add: (a, b) => a + b,
  multiply: (a, b) => a * b,
  divide: (a, b) => a / b,
  minimum: Math.min,
  maximum: Math.max,
  cos: Math.cos,
};

/**
 * The learning rate at a step counted from 0:
 * `min(1, step / W) * (end + (base - end) * fall(p))`, `p = clip((step - W) / (T - W), 0, 1)`, where
 * `fall` is `1`, `(1 + cos(pi p)) / 2` or `1 - p`. With a warm-up, step 0 has rate zero.
 *
 * Source: `create_learning_rate_schedule` of the ViT papers' code.
 */
export function learningRateIn<T>(
  of: Schedule,
  step: T,
  arithmetic: ScheduleArithmetic<T>,
): T {
  const { number, multiply, divide, minimum } = arithmetic;
  const main = decayedRate(of, step, arithmetic);
  if (of.warmupSteps === 0) return main;
  return multiply(main, minimum(number(1), divide(step, number(of.warmupSteps))));
}

function decayedRate<T>(of: Schedule, step: T, arithmetic: ScheduleArithmetic<T>): T {
  const { number, add, multiply, divide, minimum, maximum, cos } = arithmetic;
  if (of.totalSteps === undefined) return number(of.learningRate);
  // A quotient, not a product with a rounded reciprocal: the last step's progress is 1 exactly.
  const passed = divide(add(step, number(-of.warmupSteps)), number(of.totalSteps - of.warmupSteps));
  const progress = minimum(number(1), maximum(number(0), passed));
  const fall = of.kind === "cosine"
    ? add(number(0.5), multiply(number(0.5), cos(multiply(number(Math.PI), progress))))
    : add(number(1), multiply(number(-1), progress));
  const range = of.learningRate - of.endLearningRate;
  return add(number(of.endLearningRate), multiply(number(range), fall));
}

/** The learning rate at a step counted from 0, as a number. */
export function learningRateAt(of: Schedule, step: number): number {
  return learningRateIn(of, step, numbers);
}
