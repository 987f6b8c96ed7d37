/** Which ranges of the arena a step binds. */
import type { Program, StepMember } from "../../compiler/program.ts";
import { bytesPerElement } from "../../graph/dtype.ts";
import type { GpuLimits } from "./capabilities.ts";
import type { PlainKernel } from "./emit_kernel.ts";
import type { BindingLayout, BufferPlace } from "./wgsl/buffers.ts";

/** A range of the arena, in bytes. */
export interface ArenaRange {
  readonly offset: number;
  readonly bytes: number;
}

/** A member's bindings: how its kernel sees them, and where they are. */
export interface MemberBindings {
  readonly layout: BindingLayout;
  readonly ranges: readonly ArenaRange[];
}

/** Memory that a kernel sees as one. */
interface Region {
  readonly start: number;
  readonly end: number;
  /** Positions among the member's buffers. */
  readonly members: readonly number[];
}

const WORD = 4;

/** The bindings of a kernel that runs by itself: one for each of its buffers. */
export function separateBindings({ buffers }: PlainKernel): BindingLayout {
  const bound = buffers.filter(({ access }) => access !== "scratch");
  return {
    regions: bound.map(({ elements, dtype }) => [wholeWords(elements * bytesPerElement(dtype))]),
    places: bound.map((_, region) => ({ region, offset: 0 })),
  };
}

function wholeWords(bytes: number): number {
  return Math.max(WORD, Math.ceil(bytes / WORD) * WORD);
}

/**
 * The bindings of a step's member: one region of memory for each of its buffers, and one binding for each
 * region. What deviates from that is due to what devices allow:
 *
 * - Memory is bound once to a dispatch that writes it, so buffers that share memory share a region.
 * - A region that is larger than a binding may be, or goes on in another buffer of the arena, takes
 *   several bindings in a row.
 * - Where that makes more bindings than there may be, neighbours in the arena share a region.
 *
 * @throws {RangeError} When there are too many bindings even so.
 */
export function memberBindings(
  program: Program,
  kernel: PlainKernel,
  member: StepMember,
  limits: GpuLimits,
): MemberBindings {
  const bound = kernel.buffers.filter(({ access }) => access !== "scratch");
  const starts = bound.map(({ elements }, at) =>
    // Buffers without elements are never read; the arena has a word for them behind its end.
    elements === 0 ? emptyOffset(program) : program.buffers[member.buffers[at] ?? -1]?.offset ?? 0
  );
  const ends = bound.map(({ elements, dtype }, at) => {
    return (starts[at] ?? 0) + wholeWords(elements * bytesPerElement(dtype));
  });
  const regions = joinNeighbours(joinOverlapping(starts, ends), limits);
  const places: BufferPlace[] = [];
  regions.forEach(({ start, members }, region) => {
    for (const at of members) places[at] = { region, offset: (starts[at] ?? 0) - start };
  });
  const cuts = regions.map((region) => cutRegion(region, limits));
  const ranges = cuts.flat();
  const { maxStorageBuffersPerShaderStage: most, maxStorageBufferBindingSize } = limits;
  if (ranges.length > most) {
    throw new RangeError(
      `Kernel ${kernel.name} takes ${ranges.length} bindings of at most ` +
        `${maxStorageBufferBindingSize} bytes: the device has ${most}`,
    );
  }
  return { layout: { regions: cuts.map((cut) => cut.map(({ bytes }) => bytes)), places }, ranges };
}

/** Bytes of each of the buffers that the arena is a row of; the last one may have fewer. */
export function segmentBytes(
  { maxBufferSize, minStorageBufferOffsetAlignment }: GpuLimits,
): number {
  return roundDown(maxBufferSize, minStorageBufferOffsetAlignment);
}

/** Where buffers without elements are bound. */
export function emptyOffset({ arenaBytes }: Program): number {
  return arenaBytes;
}

/** The bindings of a region, one after the other. */
function cutRegion({ start, end }: Omit<Region, "members">, limits: GpuLimits): ArenaRange[] {
  const segment = segmentBytes(limits);
  const most = roundDown(
    limits.maxStorageBufferBindingSize,
    limits.minStorageBufferOffsetAlignment,
  );
  const ranges: ArenaRange[] = [];
  for (let at = start; at < end;) {
    const next = Math.min(at + most, roundDown(at, segment) + segment, end);
    ranges.push({ offset: at, bytes: next - at });
    at = next;
  }
  return ranges;
}

function joinOverlapping(starts: readonly number[], ends: readonly number[]): Region[] {
  const order = starts.map((_, at) => at).sort((a, b) => (starts[a] ?? 0) - (starts[b] ?? 0));
  const regions: Region[] = [];
  for (const at of order) {
    const region = { start: starts[at] ?? 0, end: ends[at] ?? 0, members: [at] };
    const last = regions.at(-1);
    if (last !== undefined && region.start < last.end) regions.splice(-1, 1, union(last, region));
    else regions.push(region);
  }
  return regions;
}

/** Joins regions until their bindings are few enough, if that helps. */
function joinNeighbours(regions: readonly Region[], limits: GpuLimits): Region[] {
  const joined = [...regions];
  const bindings = (region: Omit<Region, "members">) => cutRegion(region, limits).length;
  let count = joined.reduce((sum, region) => sum + bindings(region), 0);
  while (count > limits.maxStorageBuffersPerShaderStage && joined.length > 1) {
    let best = { at: 0, saved: -Infinity, span: Infinity };
    for (let at = 0; at + 1 < joined.length; at++) {
      const [one, other] = joined.slice(at, at + 2);
      if (one === undefined || other === undefined) break;
      const both = { start: one.start, end: other.end };
      const saved = bindings(one) + bindings(other) - bindings(both);
      const span = both.end - both.start;
      if (saved > best.saved || (saved === best.saved && span < best.span)) {
        best = { at, saved, span };
      }
    }
    const [one, other] = joined.slice(best.at, best.at + 2);
    if (one === undefined || other === undefined) break;
    joined.splice(best.at, 2, union(one, other));
    count -= best.saved;
  }
  return joined.sort((a, b) => (a.members[0] ?? 0) - (b.members[0] ?? 0));
}

/** A region of both, its members in the order of the kernel's buffers: equal kernels have equal layouts. */
function union(one: Region, other: Region): Region {
  return {
    start: one.start,
    end: Math.max(one.end, other.end),
    members: [...one.members, ...other.members].sort((a, b) => a - b),
  };
}

function roundDown(value: number, multiple: number): number {
  return Math.floor(value / multiple) * multiple;
}
