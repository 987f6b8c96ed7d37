/** Finds what to recompute so that a program fits in the memory that it may take. */
import type { LoweredKernel } from "../lower/kernel_builder.ts";
import type { OwnedOutputs } from "../outputs.ts";
import type { Program } from "../program.ts";
import { type Ladder, planLadder, type Rung } from "./planner.ts";
import { rebuildWith } from "./rebuild.ts";
import { Timeline } from "./timeline.ts";

/** A program, and the kernels that it was assembled from. */
export interface Scheduled {
  readonly program: Program;
  readonly kernels: readonly LoweredKernel[];
}

/** How often the search goes by the estimates before it halves what is left. */
const GUESSES = 4;
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
  const tried = new Map<Rung, Program>();
  const attempt = (rung: Rung): Program => {
    const known = tried.get(rung) ?? schedule(rebuildWith(rung.plan, timeline, graph)).program;
    tried.set(rung, known);
    return known;
  };
  const arenaOf = (rung: Rung): number => attempt(rung).arenaBytes;
  const first = firstThatFits(ladder, limit, program.arenaBytes, arenaOf);
  if (first !== undefined) return attempt(first);
  for (const rung of ladder.rungs.slice(-LAST_TRIED)) {
    if (arenaOf(rung) <= limit) return attempt(rung);
  }
  const smallest = Math.min(
    program.arenaBytes,
    ...[...tried.values()].map(({ arenaBytes }) => arenaBytes),
  );
  throw new RangeError(
    `Cannot fit the program in ${limit} bytes, whatever is recomputed: the smallest memoryLimit ` +
      `that would work is ${smallest} (without recomputation it takes ${program.arenaBytes})`,
  );
}

/**
 * A plan that fits where the one before does not, if the last plans fit. An arena takes about as many
 * bytes more than its estimate as the one that was tried before, so that a few attempts will do.
 */
function firstThatFits(
  { rungs, peak }: Ladder,
  limit: number,
  arenaBytes: number,
  arenaOf: (rung: Rung) => number,
): Rung | undefined {
  let [low, high] = [-1, rungs.length];
  let beside = arenaBytes - peak;
  for (let guesses = 0; high - low > 1; guesses++) {
    const estimated = rungs.findIndex(({ peak }, at) => at > low && peak + beside <= limit);
    const likely = estimated < 0 ? high - 1 : Math.min(estimated, high - 1);
    const at = guesses < GUESSES ? likely : (low + high) >> 1;
    const rung = rungs[at];
    if (rung === undefined) throw new RangeError(`There is no plan ${at} of ${rungs.length}`);
    const taken = arenaOf(rung);
    if (taken <= limit) high = at;
    else low = at;
    beside = taken - rung.peak;
  }
  return rungs[high];
}
