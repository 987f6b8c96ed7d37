/** Fields of configurations. Each is described by what is wanted in it, which messages say. */
import * as z from "zod/mini";

/** A whole number from 1. */
export const count = z.int().check(z.minimum(1), z.describe("a whole number >= 1"));

/** A whole number from 0. */
export const countOrNone = z.int().check(z.minimum(0), z.describe("a whole number >= 0"));

/** Any finite number. */
export const number = z.number().check(z.describe("a number"));

/** A number above 0. */
export const positive = z.number().check(z.gt(0), z.describe("a number > 0"));

/** A number from 0. */
export const positiveOrZero = z.number().check(z.minimum(0), z.describe("a number >= 0"));

/** A share that is not the whole. */
export const fraction = z.number().check(
  z.minimum(0),
  z.lt(1),
  z.describe("a number from 0 up to, not including, 1"),
);

/** Yes or no. */
export const flag = z.boolean().check(z.describe("true or false"));

/** One of these words. */
export function oneOf<const Words extends readonly string[]>(words: Words) {
  const [last, ...others] = words.map((word) => JSON.stringify(word)).reverse();
  return z.enum(words).check(z.describe(`${others.reverse().join(", ")} or ${last}`));
}
