/** Which values to recompute, in the order in which that pays best. */
import type { Node } from "../../graph/node.ts";
import { Region } from "./region.ts";
import type { Gap, Timeline } from "./timeline.ts";

/** What is recomputed: regions, each with values that are not kept. */
export type RematPlan = readonly Region[];

/** Values smaller than this share of the peak are not worth a look. */
const SMALLEST_SHARE = 1 / 4096;
/** How many scopes deep regions are looked for: `encoder/3` is two. */
const DEEPEST = 4;

/** A plan, and an estimate of the bytes that are then alive at the peak beside inputs and constants. */
export interface Rung {
  readonly plan: RematPlan;
  readonly peak: number;
}

/** Plans from the cheapest to the one that brings the estimated peak down the most. */
export interface Ladder {
  /** Each recomputes one value more than the one before. */
  readonly rungs: readonly Rung[];
  /** The estimated peak when nothing is recomputed. */
  readonly peak: number;
}

/**
 * The plans that there are. The regions are the scopes of that depth, or the single values, with
 * which the last plan gets furthest.
 */
export function planLadder(timeline: Timeline): Ladder {
  const ladders: Ladder[] = [];
  for (let depth = DEEPEST; depth >= 0; depth--) ladders.push(new Planner(timeline, depth).run());
  return ladders.reduce((best, next) => lowest(next) < lowest(best) ? next : best);
}

function lowest({ rungs, peak }: Ladder): number {
  return rungs.at(-1)?.peak ?? peak;
}

class Planner {
  readonly #timeline: Timeline;
  readonly #regions: Region[];
  /** Each region's grown forms, until it grows. */
  readonly #grown = new Map<Gap, Region>();
  readonly #scores = new Map<Gap, number>();

  constructor(timeline: Timeline, depth: number) {
    this.#timeline = timeline;
    const smallest = Math.max(...this.#profile([])) * SMALLEST_SHARE;
    const gaps = [...timeline.values].map((node) => timeline.gap(node))
      .filter((gap) => gap !== undefined && gap.bytes >= smallest);
    this.#regions = regionsAmong(gaps.filter((gap) => gap !== undefined), timeline, depth);
  }

  /** Takes the value that saves the most bytes at the peak for its cost, again and again. */
  run(): Ladder {
    const rungs: Rung[] = [];
    let profile = this.#profile(this.#regions);
    const first = Math.max(...profile);
    for (let peak = first;;) {
      const pick = this.#pick(profile.indexOf(peak));
      if (pick === undefined) return { rungs, peak: first };
      this.#regions[pick.at] = pick.region;
      for (const gap of pick.region.gaps) this.#grown.delete(gap);
      profile = this.#profile(this.#regions);
      peak = Math.max(...profile);
      rungs.push({ plan: this.#regions.filter(({ dropped }) => dropped.size > 0), peak });
    }
  }

  /**
   * The value with the best score at the step. Scores from before are taken for good until they are
   * the best of all: growing one region changes few of them, and mostly for the worse.
   */
  #pick(step: number): { at: number; region: Region } | undefined {
    const candidates = this.#regions.flatMap(({ gaps, dropped }, at) =>
      gaps.filter(({ node, start, end }) => !dropped.has(node) && start < step && step < end)
        .map((gap) => ({ at, gap }))
    );
    const scoreOf = (gap: Gap): number => this.#scores.get(gap) ?? Infinity;
    candidates.sort((a, b) => scoreOf(b.gap) - scoreOf(a.gap));
    const pinned = this.#pinned();
    let best: { at: number; region: Region; score: number } | undefined;
    for (const { at, gap } of candidates) {
      if (best !== undefined && best.score >= scoreOf(gap)) break;
      const region = this.#grownBy(gap, at);
      const score = this.#clashes(gap, at, region, pinned) ? 0 : this.#score(gap, at, region, step);
      this.#scores.set(gap, score);
      if (score > (best?.score ?? 0)) best = { at, region, score };
    }
    return best;
  }

  #grownBy(gap: Gap, at: number): Region {
    const known = this.#grown.get(gap) ?? this.#regionAt(at).without(gap);
    this.#grown.set(gap, known);
    return known;
  }

  /** Bytes saved at the step for each FLOP or element that it takes; 0 if none are. */
  #score(gap: Gap, at: number, grown: Region, step: number): number {
    if (grown.start <= step) return 0;
    const before = this.#regionAt(at);
    const saved = gap.bytes - this.#keptLonger(grown, before, step);
    return Math.max(saved, 0) / Math.max(grown.chain.cost - before.chain.cost, 1);
  }

  #regionAt(at: number): Region {
    const region = this.#regions[at];
    if (region === undefined) throw new RangeError(`There is no region ${at}`);
    return region;
  }

  /** For each value that a region reads from memory, the regions that do. */
  #pinned(): Map<Node, Set<number>> {
    const pinned = new Map<Node, Set<number>>();
    for (const [at, { chain, dropped }] of this.#regions.entries()) {
      if (dropped.size === 0) continue;
      for (const node of chain.borders) {
        pinned.set(node, (pinned.get(node) ?? new Set()).add(at));
      }
    }
    return pinned;
  }

  /** Whether another region reads what is dropped, or has dropped what is read. */
  #clashes(
    gap: Gap,
    at: number,
    grown: Region,
    pinned: ReadonlyMap<Node, ReadonlySet<number>>,
  ): boolean {
    for (const reader of pinned.get(gap.node) ?? []) if (reader !== at) return true;
    return this.#regions.some((other, index) =>
      index !== at && [...grown.chain.borders].some((node) => other.dropped.has(node))
    );
  }

  /** Bytes at the step of values that would have been free, were they not read by the recomputation. */
  #keptLonger(grown: Region, before: Region, step: number): number {
    let bytes = 0;
    for (const node of grown.chain.borders) {
      const isNew = !before.chain.borders.has(node) || before.dropped.size === 0;
      if (isNew && this.#timeline.last(node) < step) {
        bytes += this.#timeline.bytes(node);
      }
    }
    return bytes;
  }

  /** An estimate of the bytes alive at each step, beside inputs and constants. */
  #profile(regions: RematPlan): number[] {
    const timeline = this.#timeline;
    const dropped = new Map<Node, { gap: Gap; start: number }>();
    const extended = new Map<Node, number>();
    for (const region of regions) {
      for (const [node, gap] of region.dropped) dropped.set(node, { gap, start: region.start });
      if (region.dropped.size === 0) continue;
      for (const node of region.chain.borders) {
        extended.set(node, Math.max(extended.get(node) ?? 0, region.start));
      }
    }
    const changes = new Array<number>(timeline.kernels.length + 2).fill(0);
    const live = (from: number, to: number, bytes: number): void => {
      changes[from] = (changes[from] ?? 0) + bytes;
      changes[to + 1] = (changes[to + 1] ?? 0) - bytes;
    };
    for (const node of timeline.values) {
      const [bytes, from] = [timeline.bytes(node), timeline.written(node)];
      const last = Math.max(timeline.last(node), extended.get(node) ?? 0);
      const drop = dropped.get(node);
      if (drop === undefined) live(from, last, bytes);
      else {
        live(from, drop.gap.start, bytes);
        live(drop.start, last, bytes);
      }
    }
    let sum = 0;
    return changes.map((change) => sum += change);
  }
}

/** The regions of a depth of scopes, and one for each value that is not read back in its own scope. */
function regionsAmong(gaps: readonly Gap[], timeline: Timeline, depth: number): Region[] {
  const scoped = new Map<string, Gap[]>();
  const regions: Region[] = [];
  for (const gap of gaps) {
    const key = scopeKey(gap.node, depth);
    const readers = timeline.kernels[gap.end]?.writes ?? [];
    const returns = depth > 0 && key !== "" &&
      readers.some((reader) => scopeKey(reader, depth) === key);
    if (returns) {
      scoped.set(key, [...scoped.get(key) ?? [], gap]);
    } else {
      const name = gap.node.scope || gap.node.op.name;
      regions.push(new Region(name, [gap], timeline, (node) => node === gap.node));
    }
  }
  for (const [key, inside] of scoped) {
    regions.push(new Region(key, inside, timeline, (node) => scopeKey(node, depth) === key));
  }
  return regions;
}

function scopeKey(node: Node, depth: number): string {
  return node.scope.split("/").slice(0, depth).join("/");
}
