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

interface Group {
  start: number;
  end: number;
  /** Positions among the member's buffers. */
  readonly members: number[];
}

const WORD = 4;

/**
 * One binding for each buffer of a step's member, whose ranges do not meet: WebGPU forbids to bind memory
 * twice to a dispatch that writes it, so buffers that share memory share a binding. Where there are
 * more buffers than a device binds, neighbours in the arena share one.
 *
 * @throws {RangeError} When a binding would be larger than the device's limit.
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
    const bytes = Math.max(WORD, Math.ceil(elements * bytesPerElement(dtype) / WORD) * WORD);
    return (starts[at] ?? 0) + bytes;
  });
  const groups = joinNeighbours(
    joinOverlapping(starts, ends),
    limits.maxStorageBuffersPerShaderStage,
  );
  const places: BufferPlace[] = [];
  groups.forEach(({ start, end, members }, binding) => {
    const bytes = end - start;
    if (bytes > limits.maxStorageBufferBindingSize) {
      throw new RangeError(
        `Kernel ${kernel.name} binds ${bytes} bytes as one: the device's limit is ` +
          `${limits.maxStorageBufferBindingSize}`,
      );
    }
    for (const at of members) places[at] = { binding, offset: (starts[at] ?? 0) - start };
  });
  const ranges = groups.map(({ start, end }) => ({ offset: start, bytes: end - start }));
  return { layout: { bindings: ranges.map(({ bytes }) => bytes), places }, ranges };
}

/** Bytes of each of the buffers that the arena is a row of; the last one may have fewer. */
export function segmentBytes(
  { maxBufferSize, minStorageBufferOffsetAlignment }: GpuLimits,
): number {
  return Math.floor(maxBufferSize / minStorageBufferOffsetAlignment) *
    minStorageBufferOffsetAlignment;
}

/** Where buffers without elements are bound. */
export function emptyOffset({ arenaBytes }: Program): number {
  return arenaBytes;
}

function joinOverlapping(starts: readonly number[], ends: readonly number[]): Group[] {
  const order = starts.map((_, at) => at).sort((a, b) => (starts[a] ?? 0) - (starts[b] ?? 0));
  const groups: Group[] = [];
  for (const at of order) {
    const [start, end] = [starts[at] ?? 0, ends[at] ?? 0];
    const last = groups.at(-1);
    if (last !== undefined && start < last.end) {
      last.end = Math.max(last.end, end);
      last.members.push(at);
    } else {
      groups.push({ start, end, members: [at] });
    }
  }
  // In the order of the kernel's buffers, so that equal kernels have equal layouts.
  for (const group of groups) group.members.sort((a, b) => a - b);
  return groups;
}

function joinNeighbours(groups: readonly Group[], most: number): Group[] {
  const joined = [...groups];
  while (joined.length > most) {
    let best = 0;
    let least = Infinity;
    for (let at = 0; at + 1 < joined.length; at++) {
      const span = (joined[at + 1]?.end ?? 0) - (joined[at]?.start ?? 0);
      if (span < least) [best, least] = [at, span];
    }
    const [first, second] = joined.slice(best, best + 2);
    if (first === undefined || second === undefined) break;
    const members = [...first.members, ...second.members].sort((a, b) => a - b);
    joined.splice(best, 2, { start: first.start, end: second.end, members });
  }
  return joined.sort((a, b) => (a.members[0] ?? 0) - (b.members[0] ?? 0));
}
