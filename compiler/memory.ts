/**
 * The static memory plan: every buffer gets its place in one arena before the program runs. Buffers
 * whose lifetimes do not meet share memory; a kernel that reads a dying buffer element by element
 * writes its result in place; a donated input is updated where it stands.
 */
import { roundUp } from "./multiples.ts";

/** A buffer to be placed. Steps are numbered from 0; both ends are inclusive. */
export interface BufferLifetime {
  readonly bytes: number;
  readonly firstStep: number;
  readonly lastStep: number;
}

/** Where everything is. */
export interface ArenaPlan {
  /** Bytes from the arena's start, for each buffer. */
  readonly offsets: readonly number[];
  readonly arenaBytes: number;
  /** The largest sum of live bytes at any step. */
  readonly lowerBoundBytes: number;
  /** The first step at which so much is alive; -1 is before the first. */
  readonly peakStep: number;
}

/**
 * Places buffers greedily, largest first, each in the lowest gap among those it lives with. Sizes
 * are rounded up to the alignment, so that every offset is aligned.
 */
export function planArena(buffers: readonly BufferLifetime[], alignment: number): ArenaPlan {
  const sizes = buffers.map((buffer) => roundUp(buffer.bytes, alignment));
  const order = buffers.map((_, at) => at).sort((a, b) =>
    (sizes[b] ?? 0) - (sizes[a] ?? 0) || a - b
  );
  const offsets = new Array<number>(buffers.length).fill(0);
  /** By where they begin. */
  const placed: PlacedBuffer[] = [];
  let arenaBytes = 0;
  for (const at of order) {
    const buffer = buffers[at];
    const size = sizes[at] ?? 0;
    if (buffer === undefined || size === 0) continue;
    const { firstStep, lastStep } = buffer;
    let start = 0;
    for (const other of placed) {
      if (other.lastStep < firstStep || lastStep < other.firstStep) continue;
      if (start + size <= other.start) break;
      start = Math.max(start, other.end);
    }
    offsets[at] = start;
    const end = start + size;
    placed.splice(firstBehind(placed, start), 0, { firstStep, lastStep, start, end });
    arenaBytes = Math.max(arenaBytes, end);
  }
  const { bytes, step } = peakOf(buffers, sizes);
  return { offsets, arenaBytes, lowerBoundBytes: bytes, peakStep: step };
}

interface PlacedBuffer {
  readonly firstStep: number;
  readonly lastStep: number;
  readonly start: number;
  readonly end: number;
}

/** Index of the first buffer that begins behind this place. */
function firstBehind(placed: readonly PlacedBuffer[], start: number): number {
  let [low, high] = [0, placed.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((placed[middle]?.start ?? Infinity) <= start) low = middle + 1;
    else high = middle;
  }
  return low;
}

function peakOf(
  buffers: readonly BufferLifetime[],
  sizes: readonly number[],
): { bytes: number; step: number } {
  const changes = new Map<number, number>();
  buffers.forEach(({ firstStep, lastStep }, at) => {
    const size = sizes[at] ?? 0;
    changes.set(firstStep, (changes.get(firstStep) ?? 0) + size);
    changes.set(lastStep + 1, (changes.get(lastStep + 1) ?? 0) - size);
  });
  let live = 0;
  let peak = { bytes: 0, step: -1 };
  for (const step of [...changes.keys()].sort((a, b) => a - b)) {
    live += changes.get(step) ?? 0;
    if (live > peak.bytes) peak = { bytes: live, step };
  }
  return peak;
}
