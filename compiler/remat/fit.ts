/** Finds what to recompute so that a program fits in the memory that it may take. */
import type { LoweredKernel } from "../lower/kernel_builder.ts";
import type { OwnedOutputs } from "../outputs.ts";
import type { Program } from "../program.ts";
import { planLadder, type RematPlan } from "./planner.ts";
import { rebuildWith } from "./rebuild.ts";
import { Timeline } from "./timeline.ts";

/** A program, and the kernels that it was assembled from. */
export interface Scheduled {
  readonly program: Program;
  readonly kernels: readonly LoweredKernel[];
}

/** How many of the plans that recompute the most are tried where the last does not fit. */
const LAST_TRIED = 4;

/**
 * The program with the least recomputation, of the plans there are, whose arena is at most `limit`
 * bytes.
 *
 * @param graph What was scheduled.
 * @param schedule Makes a graph a program.
 * @throws {RangeError} When no plan fits; it names the smallest limit that would work. Also when the
 *   limit is not a number of bytes above 0.
 */
export function fitInMemory(
  graph: OwnedOutputs,
  limit: number,
  schedule: (graph: OwnedOutputs) => Scheduled,
): Program {
  if (!(limit > 0)) throw new RangeError(`memoryLimit is ${limit}, wanted a number of bytes > 0`);
  const { program, kernels } = schedule(graph);
  if (program.arenaBytes <= limit) return program;
  const timeline = new Timeline(kernels, graph);
  const ladder = planLadder(timeline);
  const tried = new Map<RematPlan, Program>();
  const attempt = (plan: RematPlan): Program => {
    const known = tried.get(plan) ?? schedule(rebuildWith(plan, timeline, graph)).program;
    tried.set(plan, known);
    return known;
  };
  const fits = (plan: RematPlan): boolean => attempt(plan).arenaBytes <= limit;
  const last = ladder.at(-1);
  if (last !== undefined && fits(last)) return attempt(firstThatFits(ladder, fits) ?? last);
  for (const plan of ladder.slice(-LAST_TRIED)) if (fits(plan)) return attempt(plan);
  const smallest = Math.min(
    program.arenaBytes,
    ...[...tried.values()].map(({ arenaBytes }) => arenaBytes),
  );
  throw new RangeError(
    `Cannot fit the program in ${limit} bytes, whatever is recomputed: the smallest memoryLimit ` +
      `that would work is ${smallest} (without recomputation it takes ${program.arenaBytes})`,
  );
}

/** By bisection; the last plan must fit. */
function firstThatFits(
  ladder: readonly RematPlan[],
  fits: (plan: RematPlan) => boolean,
): RematPlan | undefined {
  let [low, high] = [0, ladder.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    const plan = ladder[middle];
    if (plan !== undefined && fits(plan)) high = middle;
    else low = middle + 1;
  }
  return ladder[low];
}
