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
  /** Bytes that the device takes to run it. */
  readonly bytes: number;
  readonly kernels: readonly LoweredKernel[];
}

/** How often the search goes by the estimates before it halves what is left. */
const GUESSES = 4;
/** How many of the plans that recompute the most are tried where the last does not fit. */
const LAST_TRIED = 4;

/**
 * The program with the least recomputation, of the plans there are, that takes at most `limit` bytes.
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
  const { program, bytes, kernels } = schedule(graph);
  if (bytes <= limit) return program;
  const timeline = new Timeline(kernels, graph);
  const ladder = planLadder(timeline);
  const tried = new Map<Rung, Scheduled>();
  const attempt = (rung: Rung): Scheduled => {
    const known = tried.get(rung) ?? schedule(rebuildWith(rung.plan, timeline, graph));
    tried.set(rung, known);
    return known;
  };
  const bytesOf = (rung: Rung): number => attempt(rung).bytes;
  const fitting = firstThatFits(ladder, limit, bytes, bytesOf) ??
    ladder.rungs.slice(-LAST_TRIED).find((rung) => bytesOf(rung) <= limit);
  if (fitting !== undefined) return attempt(fitting).program;
  const smallest = Math.min(bytes, ...[...tried.values()].map((one) => one.bytes));
  throw new RangeError(
    `Cannot fit the program in ${limit} bytes, whatever is recomputed: the smallest memoryLimit ` +
      `that would work is ${smallest} (without recomputation it takes ${bytes})`,
  );
}

/**
 * A plan that fits where the one before does not, if the last plans fit. A program takes about as many
 * bytes more than its estimate as the one that was tried before, so that a few attempts will do.
 */
function firstThatFits(
  { rungs, peak }: Ladder,
  limit: number,
  bytes: number,
  bytesOf: (rung: Rung) => number,
): Rung | undefined {
  let [low, high] = [-1, rungs.length];
  let beside = bytes - peak;
  for (let guesses = 0; high - low > 1; guesses++) {
    const likely = rungs.findIndex(({ peak }, at) =>
      at > low && (at === high - 1 || peak + beside <= limit)
    );
    const at = guesses < GUESSES ? likely : (low + high) >> 1;
    const rung = rungs[at];
    if (rung === undefined) break;
    const taken = bytesOf(rung);
    if (taken <= limit) high = at;
    else low = at;
    beside = taken - rung.peak;
  }
  return rungs[high];
}
