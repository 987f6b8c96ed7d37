/**
 * Assembles a program into one WebAssembly module and the layout of its one memory. The module holds
 * every distinct kernel once and a small interpreter, `run`, that walks a table of commands in that
 * memory: so thousands of steps compile no slower than a few, and any part of them can be run.
 */
import type { Kernel, Size } from "../../compiler/loop_ir.ts";
import type { Program } from "../../compiler/program.ts";
import type { AddressType } from "./address_instructions.ts";
import { emitBarrier, stepAddress } from "./barrier.ts";
import {
  argumentsOffset,
  boundBuffers,
  COMMAND,
  type Command,
  encodeCommands,
  layoutMemory,
  type MemoryLayout,
  planCommands,
} from "./commands.ts";
import { type FunctionBuilder, type FunctionType, ModuleBuilder } from "./encoder.ts";
import type { EmittedKernel } from "./templates/template.ts";

/** Writes a kernel's functions into the module. */
export type EmitKernel = (module: ModuleBuilder, kernel: Kernel) => EmittedKernel<Size>;

/** How a program is assembled. */
export interface AssembleOptions {
  readonly threads: number;
  /** Whether the memory is shared; more than one thread needs that. */
  readonly shared: boolean;
  /** Looks at a barrier before a thread goes to sleep. */
  readonly spins: number;
  readonly emit: EmitKernel;
}

/** A module and what its memory must hold before it runs. */
export interface AssembledProgram {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly pages: number;
  readonly addressType: AddressType;
  readonly layout: MemoryLayout;
  /** What to write at `layout.commands`. */
  readonly commandWords: Int32Array;
  readonly commands: readonly Command[];
}

/** Bytes in a page of WebAssembly memory. */
export const PAGE_BYTES = 65536;

const CALL_TYPE: FunctionType = { params: ["i32", "i32", "i32", "i32"], results: [] };

/**
 * The program as a module that imports `env.memory` and `env.stalled` (called about once a second in
 * a long wait) and exports `run(start, end, thread, mayBlock)`, which every thread calls with the
 * same command addresses.
 *
 * @throws {OutOfMemoryError} When the memory would be larger than 32-bit addresses reach.
 */
export function assemble(program: Program, options: AssembleOptions): AssembledProgram {
  const module = new ModuleBuilder();
  const stalled = module.importFunction("env", "stalled", { params: [], results: [] });
  const emitted = program.kernels.map((kernel) => options.emit(module, kernel));
  const draft = planCommands(program, emitted, options.threads);
  const layout = layoutMemory(program, emitted, draft, options.threads);
  const table = emitted.flatMap((kernel, index) =>
    kernel.phases.map(({ functionIndex }) =>
      emitTrampoline(module, program.kernels[index], functionIndex, layout, options.threads)
    )
  );
  module.table(table.length === 0 ? [stalled] : table);
  emitRun(module, layout, options, stalled);
  const pages = Math.ceil(layout.bytes / PAGE_BYTES);
  module.importMemory("env", "memory", { pages, shared: options.shared });
  const { words, commands } = encodeCommands(program, draft, layout);
  const { addressType } = module;
  return { bytes: module.build(), pages, addressType, layout, commandWords: words, commands };
}

/**
 * Emits `(lo, hi, command, privateScratch)`, which calls a kernel's function with the buffers'
 * addresses and the sizes from the command: one signature for kernels of any number of them.
 */
function emitTrampoline(
  module: ModuleBuilder,
  kernel: Kernel | undefined,
  functionIndex: number,
  { sharedScratch }: MemoryLayout,
  threads: number,
): number {
  const f = module.function(`call ${kernel?.name}`, CALL_TYPE);
  const [lo, hi, command, privateScratch] = [f.param(0), f.param(1), f.param(2), f.param(3)];
  f.get(lo);
  f.get(hi);
  const sizes = kernel?.kind === "loops" ? kernel.sizes ?? [] : [];
  [...boundBuffers(kernel), ...sizes].forEach((_, index) => {
    f.get(command);
    f.i32.load(argumentsOffset(threads) + 4 * index);
  });
  f.get(privateScratch);
  f.i32.const(sharedScratch);
  f.call(functionIndex);
  return f.index;
}

/** Emits `run(start, end, thread, mayBlock)`. Each command says which units a thread does. */
function emitRun(
  module: ModuleBuilder,
  layout: MemoryLayout,
  options: AssembleOptions,
  stalled: number,
): void {
  const { threads, spins } = options;
  const barrier = threads > 1 ? emitBarrier(module, { threads, spins, stalled }) : undefined;
  const f = module.function("run", { params: ["i32", "i32", "i32", "i32"], results: [] });
  const [command, end, thread, mayBlock] = [f.param(0), f.param(1), f.param(2), f.param(3)];
  const share = f.local("i32");
  const lo = f.local("i32");
  const hi = f.local("i32");
  const meet = (): void => {
    if (barrier === undefined) return;
    f.get(mayBlock);
    f.call(barrier);
  };
  f.block((done) =>
    f.loop((next) => {
      f.get(command);
      f.get(end);
      f.i32.ge_u();
      f.brIf(done);
      if (barrier !== undefined) {
        f.get(command);
        f.i32.load(COMMAND.barrier);
        f.if(meet);
      }
      noteStep(f, thread, command);
      f.get(thread);
      f.i32.const(4);
      f.i32.mul();
      f.get(command);
      f.i32.add();
      f.tee(share);
      f.i32.load(COMMAND.bounds);
      f.set(lo);
      f.get(share);
      f.i32.load(COMMAND.bounds + 4);
      f.set(hi);
      f.get(lo);
      f.get(hi);
      f.i32.lt_u();
      f.if(() => {
        f.get(lo);
        f.get(hi);
        f.get(command);
        f.get(thread);
        f.i32.const(layout.privateStride);
        f.i32.mul();
        f.i32.const(layout.privateScratch);
        f.i32.add();
        f.get(command);
        f.i32.load(COMMAND.function);
        f.callIndirect(CALL_TYPE);
      });
      f.get(command);
      f.get(command);
      f.i32.load(COMMAND.words);
      f.i32.add();
      f.set(command);
      f.br(next);
    })
  );
  meet();
  module.export("run", f.index);
}

type LocalOf = ReturnType<FunctionBuilder["param"]>;

/** Stores the command's step in the thread's control word, so that a trap can be told where from. */
function noteStep(f: FunctionBuilder, thread: LocalOf, command: LocalOf): void {
  f.get(thread);
  f.i32.const(stepAddress(1) - stepAddress(0));
  f.i32.mul();
  f.get(command);
  f.i32.load(COMMAND.step);
  f.i32.store(stepAddress(0));
}
