/**
 * The table of commands that a program's `run` walks, and the layout of its memory: control words,
 * commands, each thread's scratch, shared scratch, arena.
 */
import type { Kernel, Size } from "../../compiler/loop_ir.ts";
import { roundUp } from "../../compiler/multiples.ts";
import type { Program, ProgramStep, StepMember } from "../../compiler/program.ts";
import { sizeIn } from "../../compiler/sizes.ts";
import type { AddressType } from "./address_instructions.ts";
import { controlBytes } from "./barrier.ts";
import type { EmittedKernel, KernelPhase } from "./templates/template.ts";

/** Byte addresses in a program's memory. */
export interface MemoryLayout {
  readonly commands: number;
  readonly privateScratch: number;
  /** From one thread's private scratch to the next. */
  readonly privateStride: number;
  readonly sharedScratch: number;
  readonly arena: number;
  /** Of all. */
  readonly bytes: number;
}

/** One call of a kernel's phase for one member of a step. */
export interface Command {
  /** The first and the next-after-last word of it, as addresses. */
  readonly start: number;
  readonly end: number;
  readonly step: number;
  /** Whether all threads meet before it. */
  readonly barrier: boolean;
}

/** The most that a memory with such addresses may have: engines allow 16 GiB with the wider ones. */
export const MAX_MEMORY_BYTES: Readonly<Record<AddressType, number>> = {
  i32: 2 ** 32,
  i64: 2 ** 34,
};

/** Byte offsets in a command, whose units are divided into shares: one a thread, and what is left. */
export const COMMAND = {
  words: 0,
  function: 4,
  step: 8,
  barrier: 12,
  /** How many shares there are. */
  shares: 16,
  /** Counts the threads' requests for another share. */
  requests: 20,
  /** How far from the command's beginning stand the units at which shares begin, and the last's end. */
  bounds: 24,
  /** The buffers' addresses (wide ones as multiples of {@linkcode ADDRESS_UNIT}), then the sizes. */
  arguments: 28,
} as const;
const ALIGNMENT = 64;

/** What the buffers' addresses are multiples of: in a word it counts what no 32 bits could. */
export const ADDRESS_UNIT: Readonly<Record<AddressType, number>> = { i32: 1, i64: ALIGNMENT };

/** A command before addresses are known. */
export interface DraftCommand {
  readonly tableIndex: number;
  readonly step: number;
  readonly member: StepMember;
  readonly barrier: boolean;
  /**
   * The units at which shares begin, and the one at which the last ends. The first shares are the
   * threads' own; the others go to whoever is done first.
   */
  readonly bounds: readonly number[];
}

/**
 * The program's phases in order, without those that have no work. Threads meet before a command only
 * if it touches what they have written, or writes what they have touched, since they last met.
 */
export function planCommands(
  program: Program,
  emitted: readonly EmittedKernel<Size>[],
  threads: number,
): DraftCommand[] {
  const firstPhase: number[] = [];
  let phases = 0;
  for (const kernel of emitted) {
    firstPhase.push(phases);
    phases += kernel.phases.length;
  }
  const commands: DraftCommand[] = [];
  const hazards = new Hazards();
  program.steps.forEach((step, stepIndex) => {
    const kernel = requireAt(emitted, step.kernel, "kernel");
    const accesses = accessesOf(program, step, kernel.sharedScratchBytes);
    const first = requireAt(firstPhase, step.kernel, "kernel");
    let started = false;
    kernel.phases.forEach((phase, phaseIndex) => {
      const shares = shareUnits(program, step, phase, threads);
      if (shares.length === 0) return;
      const barrier = started || hazards.conflict(accesses);
      if (barrier) hazards.clear();
      hazards.add(accesses);
      started = true;
      const tableIndex = first + phaseIndex;
      shares.forEach(({ member, bounds }, at) =>
        commands.push({
          tableIndex,
          step: stepIndex,
          member,
          barrier: barrier && at === 0,
          bounds,
        })
      );
    });
  });
  return commands;
}

interface Shares {
  readonly member: StepMember;
  readonly bounds: number[];
}

/**
 * Divides a phase's units, all members' in a row, among the threads: so that each gets its share of
 * the elements that the members' buffers have, whatever the members' sizes. Members without units are
 * left out.
 */
function shareUnits(
  program: Program,
  { kernel, members }: ProgramStep,
  phase: KernelPhase<Size>,
  threads: number,
): Shares[] {
  const [only, ...others] = members;
  const bounds = takenAsTheyCome(phase, threads);
  if (only !== undefined && others.length === 0 && bounds !== undefined) {
    return [{ member: only, bounds }];
  }
  const declared = requireAt(program.kernels, kernel, "kernel");
  const names = declared.kind === "loops" ? declared.sizes : undefined;
  const working = members.map((member) => {
    const work = member.buffers.reduce(
      (sum, buffer) => sum + requireAt(program.buffers, buffer, "buffer").elements,
      0,
    );
    return { member, units: sizeIn(phase.units, names, member.sizes), work: Math.max(work, 1) };
  }).filter((member) => member.units > 0);
  const total = working.reduce((sum, { work }) => sum + work, 0);
  let before = 0;
  return working.map(({ member, units, work }) => {
    const bounds = Array.from({ length: threads + 1 }, (_, thread) => {
      const unit = Math.floor(units * (total * thread / threads - before) / work);
      return Math.min(Math.max(unit, 0), units);
    });
    before += work;
    return { member, bounds };
  });
}

/** The part of the units that threads have to themselves. */
const OWN = 3 / 4;
/** Grains a thread below which nothing is left over to be taken. */
const MIN_GRAINS = 4;

/**
 * Cores are not equally fast: by their kind, by what others do on them, and from one moment to the next.
 * Each thread has a share of its own; the rest is for whoever is done, in ever smaller shares.
 */
function takenAsTheyCome(
  { units, grain }: KernelPhase<Size>,
  threads: number,
): number[] | undefined {
  if (threads === 1 || grain === undefined || typeof units !== "number") return undefined;
  const grains = Math.ceil(units / grain);
  if (grains < MIN_GRAINS * threads) return undefined;
  const own = Math.floor(OWN * grains / threads);
  const bounds = Array.from({ length: threads + 1 }, (_, thread) => own * thread);
  for (let at = own * threads; at < grains;) {
    at += Math.max(Math.floor((grains - at) / (2 * threads)), 1);
    bounds.push(at);
  }
  return bounds.map((at) => Math.min(at * grain, units));
}

interface MemoryAccess {
  readonly start: number;
  readonly end: number;
  readonly writes: boolean;
}

/** Ranges touched since the threads last met. */
class Hazards {
  #pending: MemoryAccess[] = [];

  conflict(accesses: readonly MemoryAccess[]): boolean {
    return accesses.some((next) =>
      this.#pending.some((before) =>
        (next.writes || before.writes) && next.start < before.end && before.start < next.end
      )
    );
  }

  add(accesses: readonly MemoryAccess[]): void {
    this.#pending.push(...accesses);
  }

  clear(): void {
    this.#pending = [];
  }
}

/** The step's ranges of the arena. Shared scratch counts as a range before it. */
function accessesOf(program: Program, step: ProgramStep, sharedBytes: number): MemoryAccess[] {
  const bound = boundBuffers(requireAt(program.kernels, step.kernel, "kernel"));
  const accesses = step.members.flatMap(({ buffers }) =>
    bound.map(({ access }, index) => {
      const number = requireAt(buffers, index, "bound buffer");
      const { offset, bytes } = requireAt(program.buffers, number, "buffer");
      return { start: offset, end: offset + bytes, writes: access !== "read" };
    })
  );
  if (sharedBytes > 0) accesses.push({ start: -1, end: 0, writes: true });
  return accesses;
}

/** The buffers that the program binds: all but scratch. */
export function boundBuffers(kernel: Kernel | undefined): Kernel["buffers"] {
  return (kernel?.buffers ?? []).filter(({ access }) => access !== "scratch");
}

/** Where everything is in a program's memory, which may be more than addresses reach. */
export function layoutMemory(
  program: Program,
  emitted: readonly EmittedKernel<Size>[],
  commands: readonly DraftCommand[],
  threads: number,
): MemoryLayout {
  const commandsBytes = commands.reduce((total, command) => total + bytesOf(command), 0);
  const most = (bytes: (kernel: EmittedKernel<Size>) => number): number =>
    roundUp(Math.max(0, ...emitted.map(bytes)), ALIGNMENT);
  const privateStride = most((kernel) => kernel.privateScratchBytes);
  const commandsStart = controlBytes(threads);
  const privateScratch = roundUp(commandsStart + commandsBytes, ALIGNMENT);
  const sharedScratch = privateScratch + threads * privateStride;
  const arena = sharedScratch + most((kernel) => kernel.sharedScratchBytes);
  const bytes = arena + program.arenaBytes;
  return { commands: commandsStart, privateScratch, privateStride, sharedScratch, arena, bytes };
}

function bytesOf({ bounds, member }: DraftCommand): number {
  return boundsOffset(member) + 4 * bounds.length;
}

function boundsOffset({ buffers, sizes }: StepMember): number {
  return COMMAND.arguments + 4 * (buffers.length + sizes.length);
}

export function encodeCommands(
  program: Program,
  draft: readonly DraftCommand[],
  layout: MemoryLayout,
  addressType: AddressType,
) {
  const unit = ADDRESS_UNIT[addressType];
  const words: number[] = [];
  const commands = draft.map((command): Command => {
    const { tableIndex, step, member, barrier, bounds } = command;
    const start = layout.commands + 4 * words.length;
    const addresses = member.buffers.map((index) => {
      const { offset } = requireAt(program.buffers, index, "buffer");
      if (offset % unit === 0) return (layout.arena + offset) / unit;
      throw new RangeError(`Buffer ${index} is at ${offset}: wanted a multiple of ${unit}`);
    });
    const size = bytesOf(command);
    words.push(size, tableIndex, step, barrier ? 1 : 0);
    words.push(bounds.length - 1, 0, boundsOffset(member));
    words.push(...addresses, ...member.sizes, ...bounds);
    return { start, end: start + size, step, barrier };
  });
  // Addresses beyond 2 GiB wrap to negative words, which WebAssembly reads as unsigned.
  return { words: Int32Array.from(words), commands };
}

/** The item at this index, which the program says exists. */
function requireAt<T>(items: readonly T[], index: number, what: string): T {
  const item = items[index];
  if (item !== undefined) return item;
  throw new RangeError(`The program has no ${what} ${index}: wanted 0 to ${items.length - 1}`);
}
