/**
 * Assembles a program into one WebAssembly module and the layout of its one memory. The module holds
 * every distinct kernel once and a small interpreter, `run`, that walks a table of commands in that
 * memory: so thousands of steps compile no slower than a few, and any part of them can be run.
 */
import type { Kernel, Size } from "../../compiler/loop_ir.ts";
import type { Program } from "../../compiler/program.ts";
import { LESS_MEMORY, OutOfMemoryError } from "../errors.ts";
import type { AddressType } from "./address_instructions.ts";
import { emitBarrier, type Spins, stepAddress } from "./barrier.ts";
import {
  ADDRESS_UNIT,
  boundBuffers,
  COMMAND,
  type Command,
  encodeCommands,
  layoutMemory,
  MAX_MEMORY_BYTES,
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
  readonly spins: Spins;
  readonly emit: EmitKernel;
  /** How wide addresses may be, in order: the first that reach everything are taken. Default: i32. */
  readonly addressTypes?: readonly AddressType[] | undefined;
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

const CALL_TYPE: FunctionType = { params: ["i32", "i32", "i32", "address"], results: [] };

/**
 * The program as a module that imports `env.memory` and `env.stalled` (called about once a second in
 * a long wait) and exports `run(start, end, thread, mayBlock)`, which every thread calls with the
 * same command addresses.
 *
 * @throws {OutOfMemoryError} When the memory would be larger than addresses may reach, or a tensor
 *   than kernels can count.
 */
export function assemble(program: Program, options: AssembleOptions): AssembledProgram {
  const { addressTypes = ["i32"] } = options;
  refuseManyElements(program);
  let bytes = program.arenaBytes;
  for (const addressType of addressTypes) {
    const most = MAX_MEMORY_BYTES[addressType];
    if (program.arenaBytes > most) continue;
    const assembled = assembleWith(addressType, program, options);
    bytes = assembled.layout.bytes;
    if (bytes <= most) return assembled;
  }
  const most = Math.max(...addressTypes.map((type) => MAX_MEMORY_BYTES[type]));
  const reach = addressTypes.includes("i64")
    ? "64-bit WebAssembly addresses reach"
    : "32-bit WebAssembly addresses reach, and 64-bit ones (memory64) are missing or switched off";
  const limit = `a program may take ${most} bytes (${most / 2 ** 20} MiB), which is what ${reach}`;
  throw new OutOfMemoryError(bytes, `${limit}: ${LESS_MEMORY}`);
}

/** Kernels count elements in signed 32 bits, and may look past the end by less than this margin. */
const MAX_ELEMENTS = 2 ** 31 - 2 ** 16;

function refuseManyElements({ buffers }: Program): void {
  for (const { name, elements, bytes } of buffers) {
    if (elements <= MAX_ELEMENTS) continue;
    const reason = `"${name}" has ${elements} elements, and one tensor may have ${MAX_ELEMENTS}`;
    throw new OutOfMemoryError(bytes, `${reason}: divide it into several, or ${LESS_MEMORY}`);
  }
}

function assembleWith(
  addressType: AddressType,
  program: Program,
  options: AssembleOptions,
): AssembledProgram {
  const module = new ModuleBuilder(addressType);
  const stalled = module.importFunction("env", "stalled", { params: [], results: [] });
  const emitted = program.kernels.map((kernel) => options.emit(module, kernel));
  const draft = planCommands(program, emitted, options.threads);
  const layout = layoutMemory(program, emitted, draft, options.threads);
  const table = emitted.flatMap((kernel, index) =>
    kernel.phases.map(({ functionIndex }) =>
      emitTrampoline(module, program.kernels[index], functionIndex, layout)
    )
  );
  module.table(table.length === 0 ? [stalled] : table);
  emitRun(module, layout, options, stalled);
  const pages = Math.ceil(layout.bytes / PAGE_BYTES);
  module.importMemory("env", "memory", { pages, shared: options.shared });
  const { words, commands } = encodeCommands(program, draft, layout, addressType);
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
): number {
  const f = module.function(`call ${kernel?.name}`, CALL_TYPE);
  const [lo, hi, command, privateScratch] = [f.param(0), f.param(1), f.param(2), f.param(3)];
  f.get(lo);
  f.get(hi);
  const buffers = boundBuffers(kernel).length;
  const sizes = kernel?.kind === "loops" ? kernel.sizes?.length ?? 0 : 0;
  for (let index = 0; index < buffers + sizes; index++) {
    loadWord(f, command, COMMAND.arguments + 4 * index);
    if (index < buffers) f.address.times(ADDRESS_UNIT[f.address.type]);
  }
  f.get(privateScratch);
  f.address.const(sharedScratch);
  f.call(functionIndex);
  return f.index;
}

/** Emits `run(start, end, thread, mayBlock)`. Each command says how its units are shared. */
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
        loadWord(f, command, COMMAND.barrier);
        f.if(meet);
      }
      noteStep(f, thread, command);
      f.get(thread);
      f.set(share);
      f.loop((again) => {
        runShare(f, layout, { command, share, thread });
        if (threads === 1) return;
        takeShare(f, { command, share, threads });
        f.brIf(again);
      });
      f.get(command);
      loadWord(f, command, COMMAND.words);
      f.i32.add();
      f.set(command);
      f.br(next);
    })
  );
  meet();
  module.export("run", f.index);
}

type LocalOf = ReturnType<FunctionBuilder["param"]>;

interface ShareLocals {
  readonly command: LocalOf;
  /** Which of the command's shares. */
  readonly share: LocalOf;
}

/** Calls the command's function with the units of a share, if it has any. */
function runShare(
  f: FunctionBuilder,
  layout: MemoryLayout,
  { command, share, thread }: ShareLocals & { readonly thread: LocalOf },
): void {
  const bounds = f.local("i32");
  const range = (): void => {
    loadWord(f, bounds, 0);
    loadWord(f, bounds, 4);
  };
  f.get(share);
  f.i32.const(4);
  f.i32.mul();
  loadWord(f, command, COMMAND.bounds);
  f.i32.add();
  f.get(command);
  f.i32.add();
  f.set(bounds);
  range();
  f.i32.lt_u();
  f.if(() => {
    range();
    f.get(command);
    f.get(thread);
    f.address.times(layout.privateStride);
    f.address.const(layout.privateScratch);
    f.address.add();
    loadWord(f, command, COMMAND.function);
    f.callIndirect(CALL_TYPE);
  });
}

/**
 * Sets `share` to one that no thread has, and pushes whether there was one. Every thread asks until there
 * is none; the last of them to be told so leaves the count at 0 for the next run.
 */
function takeShare(
  f: FunctionBuilder,
  { command, share, threads }: ShareLocals & { readonly threads: number },
): void {
  const getShares = () => loadWord(f, command, COMMAND.shares);
  const onRequests = (value: number, act: "rmw_add" | "store"): void => {
    f.get(command);
    f.address.times(1);
    f.i32.const(value);
    f.atomic[act](COMMAND.requests);
  };
  getShares();
  f.tee(share);
  f.i32.const(threads);
  f.i32.gt_u();
  f.if(() => {
    onRequests(1, "rmw_add");
    f.i32.const(threads);
    f.i32.add();
    f.tee(share);
    getShares();
    f.i32.sub();
    f.i32.const(threads - 1);
    f.i32.eq();
    f.if(() => onRequests(0, "store"));
  });
  f.get(share);
  getShares();
  f.i32.lt_u();
}

/** Stores the command's step in the thread's control word, so that a trap can be told where from. */
function noteStep(f: FunctionBuilder, thread: LocalOf, command: LocalOf): void {
  f.get(thread);
  f.address.times(stepAddress(1) - stepAddress(0));
  loadWord(f, command, COMMAND.step);
  f.i32.store(stepAddress(0));
}

/** Pushes a word of the command at an address that is an i32, as all of commands are. */
function loadWord(f: FunctionBuilder, command: LocalOf, offset: number): void {
  f.get(command);
  f.address.times(1);
  f.i32.load(offset);
}
