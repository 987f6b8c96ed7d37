/**
 * Assertions with the names and argument order of `@std/assert`, over Node's own `assert`, so that moving
 * to the JSR package is a change of this one file's imports.
 */
import nodeAssert from "node:assert/strict";

/** Throws unless `condition` is truthy. */
export function assert(condition: unknown, message?: string): asserts condition {
  nodeAssert.ok(condition, message);
}

/** Deep, strict equality. */
export function assertEquals<T>(actual: T, expected: T, message?: string): void {
  nodeAssert.deepStrictEqual(actual, expected, message);
}

/** Throws when the two are deeply, strictly equal. */
export function assertNotEquals<T>(actual: T, expected: T, message?: string): void {
  nodeAssert.notDeepStrictEqual(actual, expected, message);
}

/** `|actual - expected| <= tolerance`; the default tolerance is 1e-7 of the expected magnitude. */
export function assertAlmostEquals(
  actual: number,
  expected: number,
  tolerance: number = Math.max(Math.abs(expected), 1) * 1e-7,
  message?: string,
): void {
  if (Object.is(actual, expected)) return;
  const difference = Math.abs(actual - expected);
  if (difference <= tolerance) return;
  throw new nodeAssert.AssertionError({
    message: message ??
      `Expected ${actual} to be within ${tolerance} of ${expected}, but they differ by ${difference}`,
    actual,
    expected,
  });
}

/** Asserts that `text` contains `part`. */
export function assertStringIncludes(text: string, part: string, message?: string): void {
  if (text.includes(part)) return;
  throw new nodeAssert.AssertionError({
    message: message ?? `Expected text to contain ${JSON.stringify(part)}, but it is:\n${text}`,
  });
}

/** Asserts that `text` matches `pattern`. */
export function assertMatch(text: string, pattern: RegExp, message?: string): void {
  nodeAssert.match(text, pattern, message);
}

// deno-lint-ignore no-explicit-any -- a constructor of any arguments, as in @std/assert
type ErrorClass<E extends Error> = new (...args: any[]) => E;

function checkError<E extends Error>(
  error: unknown,
  errorClass: ErrorClass<E> | undefined,
  messageIncludes: string | undefined,
): E {
  if (!(error instanceof (errorClass ?? Error))) {
    throw new nodeAssert.AssertionError({
      message: `Expected an error of class ${errorClass?.name ?? "Error"}, got ${String(error)}`,
      actual: error,
    });
  }
  if (messageIncludes !== undefined) assertStringIncludes(error.message, messageIncludes);
  return error as E;
}

/** Asserts that `run` throws, optionally with a class and a part of the message; returns the error. */
export function assertThrows<E extends Error = Error>(
  run: () => unknown,
  errorClass?: ErrorClass<E>,
  messageIncludes?: string,
): E {
  try {
    run();
  } catch (error) {
    return checkError(error, errorClass, messageIncludes);
  }
  throw new nodeAssert.AssertionError({ message: "Expected the function to throw" });
}

/** Asserts that the promise that `run` returns rejects; resolves to the error. */
export async function assertRejects<E extends Error = Error>(
  run: () => PromiseLike<unknown>,
  errorClass?: ErrorClass<E>,
  messageIncludes?: string,
): Promise<E> {
  try {
    await run();
  } catch (error) {
    return checkError(error, errorClass, messageIncludes);
  }
  throw new nodeAssert.AssertionError({ message: "Expected the promise to reject" });
}

/** Asserts that a value is neither null nor undefined. */
export function assertExists<T>(value: T, message?: string): asserts value is NonNullable<T> {
  nodeAssert.ok(value !== null && value !== undefined, message ?? `Expected a value, got ${value}`);
}
