/** Which ranges of the arena a step binds. */
import type { KernelBuffer } from "../../compiler/loop_ir.ts";
import { roundDown, roundUp } from "../../compiler/multiples.ts";
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

/** What a kernel touches of a buffer, in bytes of the arena. */
export interface Span {
  /** Where its first element is, or would be where it is not touched. */
  readonly base: number;
  readonly start: number;
  readonly end: number;
}

/** Memory that a kernel sees as one. */
export interface Region {
  readonly start: number;
  readonly end: number;
  /** Positions among the member's buffers. */
  readonly members: readonly number[];
}

const WORD = 4;

/** The bindings of a kernel that runs by itself: one for each of its buffers. */
export function separateBindings({ buffers }: PlainKernel): BindingLayout {
  const bound = boundBuffers(buffers);
  return {
    regions: bound.map(({ elements, dtype }) => [wholeWords(elements * bytesPerElement(dtype))]),
    places: bound.map((_, region) => ({ region, offset: 0 })),
  };
}

/** The buffers that a kernel binds. */
export function boundBuffers<B extends Pick<KernelBuffer, "access">>(buffers: readonly B[]): B[] {
  return buffers.filter(({ access }) => access !== "scratch");
}

/** Bytes of the words that this many bytes take; at least one word. */
export function wholeWords(bytes: number): number {
  return Math.max(WORD, roundUp(bytes, WORD));
}

/**
 * The bindings of a step's member: one region of memory for each of its buffers, and one binding for each
 * region. What deviates from that is due to what devices allow, see {@linkcode bindSpans}.
 *
 * @throws {RangeError} When there are too many bindings even so.
 */
export function memberBindings(
  program: Program,
  kernel: PlainKernel,
  member: StepMember,
  limits: GpuLimits,
): MemberBindings {
  const bases = memberBases(program, kernel, member);
  const bindings = bindSpans(wholeSpans(kernel, bases), limits);
  if (bindings.ranges.length > limits.maxStorageBuffersPerShaderStage) {
    throw tooManyBindings(kernel, bindings, limits);
  }
  return bindings;
}

/** Says that a kernel cannot be bound. */
export function tooManyBindings(
  { name }: PlainKernel,
  { ranges }: MemberBindings,
  limits: GpuLimits,
): RangeError {
  return new RangeError(
    `Kernel ${name} takes ${ranges.length} bindings of at most ` +
      `${limits.maxStorageBufferBindingSize} bytes: the device has ` +
      `${limits.maxStorageBuffersPerShaderStage}`,
  );
}

/** Where the buffers that a member binds are in the arena. */
export function memberBases(
  program: Program,
  kernel: PlainKernel,
  member: StepMember,
): number[] {
  return boundBuffers(kernel.buffers).map(({ elements }, at) =>
    // Buffers without elements are never read; the arena has a word for them behind its end.
    elements === 0 ? emptyOffset(program) : program.buffers[member.buffers[at] ?? -1]?.offset ?? 0
  );
}

/** All of the buffers that a kernel binds. */
export function wholeSpans({ buffers }: PlainKernel, bases: readonly number[]): Span[] {
  return boundBuffers(buffers).map(({ elements, dtype }, at) => {
    const base = bases[at] ?? 0;
    return { base, start: base, end: base + wholeWords(elements * bytesPerElement(dtype)) };
  });
}

/**
 * As few bindings as can be, where one for each span would break the device's limits:
 *
 * - Memory is bound once to a dispatch that writes it, so buffers that share memory share a region.
 * - A region that is larger than a binding may be, or goes on in another buffer of the arena, takes
 *   several bindings in a row.
 * - Where that makes more bindings than there may be, neighbours in the arena share a region.
 *
 * There may be too many of them even so.
 *
 * @param spans One for each of the kernel's bound buffers; undefined where it does not touch it.
 */
export function bindSpans(
  spans: readonly (Span | undefined)[],
  limits: GpuLimits,
): MemberBindings {
  const regions = joinNeighbours(overlappingRegions(spans), limits);
  const places: (BufferPlace | undefined)[] = spans.map(() => undefined);
  regions.forEach(({ start, members }, region) => {
    for (const at of members) places[at] = { region, offset: (spans[at]?.base ?? 0) - start };
  });
  const cuts = regions.map((region) => cutRegion(region, limits));
  return {
    layout: { regions: cuts.map((cut) => cut.map(({ bytes }) => bytes)), places },
    ranges: cuts.flat(),
  };
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
export function cutRegion(
  { start, end }: Omit<Region, "members">,
  limits: GpuLimits,
): ArenaRange[] {
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

/** The memory that the spans cover; those that overlap share a region. In the arena's order. */
export function overlappingRegions(spans: readonly (Span | undefined)[]): Region[] {
  const touched = spans.flatMap((span, at): Region[] =>
    span === undefined ? [] : [{ start: span.start, end: span.end, members: [at] }]
  ).sort((one, other) => one.start - other.start);
  const regions: Region[] = [];
  for (const region of touched) {
    const last = regions.at(-1);
    if (last !== undefined && region.start < last.end) regions.splice(-1, 1, union(last, region));
    else regions.push(region);
  }
  return regions;
}

/** Joins regions until their bindings are few enough; where they never are, until they are fewest. */
export function joinNeighbours(regions: readonly Region[], limits: GpuLimits): Region[] {
  const joined = [...regions];
  const bindings = (region: Omit<Region, "members">) => cutRegion(region, limits).length;
  let count = joined.reduce((sum, region) => sum + bindings(region), 0);
  let fewest = { count, regions: [...joined] };
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
    if (count < fewest.count) fewest = { count, regions: [...joined] };
  }
  return fewest.regions.sort((a, b) => (a.members[0] ?? 0) - (b.members[0] ?? 0));
}

/** A region of both, its members in the order of the kernel's buffers: equal kernels have equal layouts. */
function union(one: Region, other: Region): Region {
  return {
    start: one.start,
    end: Math.max(one.end, other.end),
    members: [...one.members, ...other.members].sort((a, b) => a - b),
  };
}
