/** The table of ops, forward and gradient, on a backend against the f64 reference. */
import type { Backend } from "../../backends/backend.ts";
import {
  type ConformanceCase,
  conformanceCases,
  errorAgainst,
  secondOrderCases,
} from "./conformance.ts";
import { runOn } from "./run_graph.ts";

/** Every case of the table, each a step of the test. */
export async function checkEveryOp(test: Deno.TestContext, backend: Backend): Promise<void> {
  await check(test, backend, conformanceCases());
}

/**
 * Gradients of gradients, each a step of the test.
 *
 * @param names Of the cases; all when left out.
 */
export async function checkSecondOrder(
  test: Deno.TestContext,
  backend: Backend,
  names = /./,
): Promise<void> {
  await check(test, backend, secondOrderCases().filter(({ name }) => names.test(name)));
}

async function check(
  test: Deno.TestContext,
  backend: Backend,
  cases: readonly ConformanceCase[],
): Promise<void> {
  for (const one of cases) {
    await test.step(one.name, async () => {
      const found = await runOn(backend, one);
      for (const [path, wanted] of one.expected) {
        const error = errorAgainst(found.get(path) ?? [], wanted.data);
        if (error <= one.tolerance) continue;
        throw new Error(`Output "${path}" is off by ${error}, allowed is ${one.tolerance}`);
      }
    });
  }
}
