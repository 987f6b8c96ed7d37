/** A program's memory, and tensors in it. */
import { bytesPerElement, type DType } from "../../graph/dtype.ts";
import { staticSize } from "../../graph/shape.ts";
import type { Program, ProgramConstant, ProgramPort } from "../../compiler/program.ts";
import { LESS_MEMORY, OutOfMemoryError } from "../errors.ts";
import { type HostData, type HostTensor, viewHostData } from "../host_array.ts";
import type { AddressType } from "./address_instructions.ts";
import { type AssembledProgram, PAGE_BYTES } from "./assemble.ts";
import { movePanels } from "./panel_packing.ts";
import type { PanelLayout } from "./templates/panels.ts";

/** Makes a memory; the engine's own constructor except in tests. */
export type MemoryConstructor = new (
  descriptor: WebAssembly.MemoryDescriptor,
) => WebAssembly.Memory;

/** A memory that a module imports. */
export interface MemoryNeeds {
  readonly pages: number;
  readonly shared: boolean;
  readonly addressType: AddressType;
}

/**
 * Memory of exactly this many pages.
 *
 * @throws {OutOfMemoryError} When the engine refuses.
 */
export function allocate(
  { pages, shared, addressType }: MemoryNeeds,
  Memory: MemoryConstructor = WebAssembly.Memory,
): WebAssembly.Memory {
  const size = addressType === "i32" ? pages : BigInt(pages);
  const descriptor = { initial: size, maximum: size, shared };
  try {
    // TypeScript's library knows no memories with 64-bit addresses, whose sizes are BigInts.
    return new Memory(
      (addressType === "i32"
        ? descriptor
        : { ...descriptor, address: addressType }) as WebAssembly.MemoryDescriptor,
    );
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const reason = `the engine refused (${error.message}): ${LESS_MEMORY}`;
    throw new OutOfMemoryError(pages * PAGE_BYTES, reason, { cause: error });
  }
}

/** A program's memory, filled with its commands and constants. */
export class ProgramMemory {
  readonly memory: WebAssembly.Memory;
  readonly #program: Program;
  readonly #arena: number;
  readonly #layouts: ReadonlyMap<number, PanelLayout>;

  /** The inputs with `layouts`, by their buffers, lie in panels. */
  constructor(
    program: Program,
    assembled: AssembledProgram,
    memory: WebAssembly.Memory,
    layouts: ReadonlyMap<number, PanelLayout> = new Map(),
  ) {
    this.#layouts = layouts;
    this.memory = memory;
    this.#program = program;
    this.#arena = assembled.layout.arena;
    const { commandWords, layout } = assembled;
    new Int32Array(memory.buffer, layout.commands, commandWords.length).set(commandWords);
    for (const constant of program.constants) this.#writeConstant(constant);
  }

  /** Copies elements into a port's buffer, the first of them to the place `start`. */
  write(port: ProgramPort, data: HostData, start: number): void {
    const layout = this.#layouts.get(port.buffer);
    const words = this.#words(port);
    if (layout === undefined) words.set(data, start);
    else movePanels(layout, asWords(words), asWords(data), start, "pack");
  }

  /** Copies a port's tensor out; or, with `view`, gives it where it lies if it can be read there. */
  read(port: ProgramPort, view = false): HostTensor {
    const words = this.#words(port);
    const layout = this.#layouts.get(port.buffer);
    if (layout !== undefined) {
      const data = new Float32Array(words.length);
      movePanels(layout, asWords(words), asWords(data), 0, "unpack");
      return { dtype: port.dtype, shape: port.shape, data };
    }
    // A bool is a 32-bit 0 or 1 in the arena and a byte on the host.
    const data = port.dtype === "bool"
      ? Uint8Array.from(words)
      : view
      ? words
      : copyOf(port.dtype, words);
    return { dtype: port.dtype, shape: port.shape, data };
  }

  #writeConstant({ buffer, data }: ProgramConstant): void {
    const { offset, bytes } = this.#buffer(buffer);
    const { dtype, elements } = this.#buffer(buffer);
    if (data.length !== elements) {
      throw new RangeError(
        `Constant of buffer ${buffer} has ${data.length} elements, its buffer ${elements}`,
      );
    }
    if (data.BYTES_PER_ELEMENT === bytesPerElement(dtype)) {
      const raw = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      new Uint8Array(this.memory.buffer, this.#arena + offset, bytes).set(raw);
    } else {
      new Uint32Array(this.memory.buffer, this.#arena + offset, elements).set(data);
    }
  }

  #words({ buffer, dtype, shape }: ProgramPort) {
    const start = this.#arena + this.#buffer(buffer).offset;
    const bytes = staticSize(shape) * bytesPerElement(dtype);
    const raw = new Uint8Array(this.memory.buffer, start, bytes);
    return viewHostData(dtype === "bool" ? "u32" : dtype, raw);
  }

  #buffer(index: number) {
    const buffer = this.#program.buffers[index];
    if (buffer === undefined) throw new RangeError(`The program has no buffer ${index}`);
    return buffer;
  }
}

/** A constructor's copy, where `slice` would fill the new memory with zeros first. */
function copyOf(dtype: DType, { buffer, byteOffset, byteLength }: HostData): HostData {
  return viewHostData(dtype, new Uint8Array(new Uint8Array(buffer, byteOffset, byteLength)));
}

function asWords({ buffer, byteOffset, length }: HostData): Int32Array {
  return new Int32Array(buffer, byteOffset, length);
}
