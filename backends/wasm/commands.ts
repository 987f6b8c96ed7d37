/**
 * The table of commands that a program's `run` walks, and the layout of its memory: control words,
 * commands, each thread's scratch, shared scratch, arena.
 */
import type { Kernel } from "../../compiler/loop_ir.ts";
import type { Program, ProgramStep } from "../../compiler/program.ts";
import { OutOfMemoryError } from "../errors.ts";
import { controlBytes } from "./barrier.ts";
import type { EmittedKernel } from "./templates/template.ts";

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

/** One call of a kernel's phase. */
export interface Command {
  /** The first and the next-after-last word of it, as addresses. */
  readonly start: number;
  readonly end: number;
  readonly step: number;
  /** Whether all threads meet before it. */
  readonly barrier: boolean;
}

/** The most that 32-bit addresses reach. */
export const MAX_MEMORY_BYTES = 2 ** 32;

/** Word offsets in a command; the buffers' addresses follow. */
export const COMMAND = {
  words: 0,
  function: 4,
  units: 8,
  step: 12,
  barrier: 16,
  buffers: 20,
} as const;
const HEADER_WORDS = COMMAND.buffers / 4;
const ALIGNMENT = 64;

/** A command before addresses are known. */
export interface DraftCommand {
  readonly tableIndex: number;
  readonly units: number;
  readonly step: number;
  readonly barrier: boolean;
}

/**
 * The program's phases in order, without those that have no work. Threads meet before a command only
 * if it touches what they have written, or writes what they have touched, since they last met.
 */
export function planCommands(program: Program, emitted: readonly EmittedKernel[]): DraftCommand[] {
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
      if (phase.units === 0) return;
      const barrier = started || hazards.conflict(accesses);
      if (barrier) hazards.clear();
      hazards.add(accesses);
      started = true;
      commands.push({
        tableIndex: first + phaseIndex,
        units: phase.units,
        step: stepIndex,
        barrier,
      });
    });
  });
  return commands;
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
  const kernel = requireAt(program.kernels, step.kernel, "kernel");
  const accesses = boundBuffers(kernel).map(({ access }, index) => {
    const { offset, bytes } = programBuffer(program, step, index);
    return { start: offset, end: offset + bytes, writes: access !== "read" };
  });
  if (sharedBytes > 0) accesses.push({ start: -1, end: 0, writes: true });
  return accesses;
}

/** The buffers that the program binds: all but scratch. */
export function boundBuffers(kernel: Kernel | undefined): Kernel["buffers"] {
  return (kernel?.buffers ?? []).filter(({ access }) => access !== "scratch");
}

function programBuffer(program: Program, step: ProgramStep, index: number) {
  return requireAt(program.buffers, requireAt(step.buffers, index, "bound buffer"), "buffer");
}

export function layoutMemory(
  program: Program,
  emitted: readonly EmittedKernel[],
  commands: readonly DraftCommand[],
  threads: number,
): MemoryLayout {
  const words = commands.reduce((total, { step }) => total + commandWords(program, step), 0);
  const most = (bytes: (kernel: EmittedKernel) => number): number =>
    aligned(emitted.reduce((largest, kernel) => Math.max(largest, bytes(kernel)), 0));
  const privateStride = most((kernel) => kernel.privateScratchBytes);
  const commandsStart = controlBytes(threads);
  const privateScratch = aligned(commandsStart + 4 * words);
  const sharedScratch = privateScratch + threads * privateStride;
  const arena = sharedScratch + most((kernel) => kernel.sharedScratchBytes);
  const bytes = arena + program.arenaBytes;
  if (bytes > MAX_MEMORY_BYTES) {
    throw new OutOfMemoryError(
      bytes,
      `the program's memory is larger than the ${MAX_MEMORY_BYTES} bytes (4096 MiB) that 32-bit ` +
        "WebAssembly addresses reach: bind smaller sizes, such as the batch's",
    );
  }
  return { commands: commandsStart, privateScratch, privateStride, sharedScratch, arena, bytes };
}

function aligned(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}

function commandWords(program: Program, step: number): number {
  return HEADER_WORDS + requireAt(program.steps, step, "step").buffers.length;
}

export function encodeCommands(
  program: Program,
  draft: readonly DraftCommand[],
  layout: MemoryLayout,
) {
  const words: number[] = [];
  const commands = draft.map(({ tableIndex, units, step, barrier }): Command => {
    const start = layout.commands + 4 * words.length;
    const { buffers } = requireAt(program.steps, step, "step");
    const addresses = buffers.map((index) =>
      layout.arena + requireAt(program.buffers, index, "buffer").offset
    );
    const size = 4 * commandWords(program, step);
    words.push(size, tableIndex, units, step, barrier ? 1 : 0, ...addresses);
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
