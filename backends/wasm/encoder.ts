/**
 * A WebAssembly binary encoder: modules of typed functions over one imported memory.
 *
 * ```ts
 * const module = new ModuleBuilder();
 * module.importMemory("env", "memory", { pages: 1, shared: false });
 * const f = module.function("double", { params: ["i32"], results: ["i32"] });
 * f.get(f.param(0));
 * f.i32.const(2);
 * f.i32.mul();
 * module.export("double", f.index);
 * const bytes = module.build();
 * ```
 */
import type { AddressType } from "./address_instructions.ts";
import { ByteBuffer } from "./byte_buffer.ts";
import { type DeclaredType, FunctionBuilder, type FunctionType } from "./function_builder.ts";
import { VALUE_TYPES, type ValueType } from "./opcodes.ts";

export {
  type DeclaredType,
  FunctionBuilder,
  type FunctionType,
  type Label,
  type Local,
} from "./function_builder.ts";
export type { ValueType } from "./opcodes.ts";

/** An imported memory of fixed size. */
export interface MemoryType {
  /** Initial and maximum size in pages of 64 KiB. */
  readonly pages: number;
  /** Whether threads share it. */
  readonly shared: boolean;
}

interface PlainFunctionType extends FunctionType {
  readonly params: readonly ValueType[];
}

interface ImportedFunction {
  readonly module: string;
  readonly name: string;
  readonly type: number;
}

interface DataSegment {
  /** Address of an active segment; undefined for a passive one. */
  readonly address: number | undefined;
  readonly bytes: Uint8Array;
}

const FUNCTION_TYPE = 0x60;
const FUNCREF = 0x70;
const SECTION = {
  custom: 0,
  type: 1,
  import: 2,
  function: 3,
  table: 4,
  export: 7,
  element: 9,
  code: 10,
  data: 11,
  dataCount: 12,
} as const;

/** A module under construction. Imports come first, since they shift the functions' indices. */
export class ModuleBuilder {
  /** How wide the memory's addresses are: i64 takes an engine with memory64. */
  readonly addressType: AddressType;
  readonly #types: PlainFunctionType[] = [];
  readonly #typeIndex = new Map<string, number>();
  readonly #imports: ImportedFunction[] = [];
  readonly #functions: FunctionBuilder[] = [];
  readonly #exports: { readonly name: string; readonly index: number }[] = [];
  readonly #data: DataSegment[] = [];
  readonly #shared = new Map<string, unknown>();
  #memory:
    | { readonly module: string; readonly name: string; readonly type: MemoryType }
    | undefined;
  #table: readonly number[] = [];

  constructor(addressType: AddressType = "i32") {
    this.addressType = addressType;
  }

  /** Bytes that an address takes in memory. */
  get addressBytes(): number {
    return this.addressType === "i32" ? 4 : 8;
  }

  /** The value type that is meant. */
  valueType(type: DeclaredType): ValueType {
    return type === "address" ? this.addressType : type;
  }

  /** Imports the module's one memory; its initial and maximum sizes are equal. */
  importMemory(module: string, name: string, type: MemoryType): void {
    if (this.#memory !== undefined) {
      throw new TypeError(`The module already imports the memory ${this.#memory.name}`);
    }
    this.#memory = { module, name, type };
  }

  /** Imports a function and gives its index. All imports must precede the first function. */
  importFunction(module: string, name: string, type: FunctionType): number {
    if (this.#functions.length > 0) {
      throw new TypeError(
        `Import of ${module}.${name} follows a function; imports must come first`,
      );
    }
    this.#imports.push({ module, name, type: this.typeIndex(type) });
    return this.#imports.length - 1;
  }

  /** Starts a function. Its name is what stack traces show. */
  function(name: string, type: FunctionType): FunctionBuilder {
    this.typeIndex(type);
    const index = this.#imports.length + this.#functions.length;
    const builder = new FunctionBuilder(this, name, type, index);
    this.#functions.push(builder);
    return builder;
  }

  /** Exports the function with this index. */
  export(name: string, index: number): void {
    this.#exports.push({ name, index });
  }

  /** Index of a function type; equal types share one. */
  typeIndex(type: FunctionType): number {
    const params = type.params.map((param) => this.valueType(param));
    const key = `${params.join()}>${type.results.join()}`;
    const known = this.#typeIndex.get(key);
    if (known !== undefined) return known;
    this.#types.push({ params, results: type.results });
    this.#typeIndex.set(key, this.#types.length - 1);
    return this.#types.length - 1;
  }

  /** Sets the function table that `callIndirect` indexes. */
  table(functions: readonly number[]): void {
    this.#table = functions;
  }

  /** Adds a data segment, copied to `address` at instantiation or, without one, by `memory.init`. */
  data(bytes: Uint8Array, address?: number): number {
    this.#data.push({ address, bytes });
    return this.#data.length - 1;
  }

  /**
   * What `make` gave the first time it was asked for under `key` in this module: how helper
   * functions are emitted once.
   */
  once<T>(key: string, make: () => T): T {
    if (!this.#shared.has(key)) this.#shared.set(key, make());
    // Each key is used with one type, by the code that owns the key.
    return this.#shared.get(key) as T;
  }

  /** The module's bytes. */
  build(): Uint8Array<ArrayBuffer> {
    const out = new ByteBuffer();
    out.bytes([0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00]);
    section(out, SECTION.type, this.#types, writeFunctionType);
    this.#importSection(out);
    section(out, SECTION.function, this.#functions, (to, f) => to.u32(this.typeIndex(f.type)));
    this.#tableSection(out);
    section(out, SECTION.export, this.#exports, (to, { name, index }) => {
      to.name(name);
      to.byte(0);
      to.u32(index);
    });
    this.#elementSection(out);
    if (this.#data.length > 0) sectionOf(out, SECTION.dataCount, (to) => to.u32(this.#data.length));
    section(out, SECTION.code, this.#functions, (to, f) => to.sized(f.body()));
    section(out, SECTION.data, this.#data, (to, segment) => this.#writeData(to, segment));
    this.#nameSection(out);
    return new Uint8Array(out.view());
  }

  #importSection(out: ByteBuffer): void {
    const memory = this.#memory;
    const count = this.#imports.length + (memory === undefined ? 0 : 1);
    if (count === 0) return;
    sectionOf(out, SECTION.import, (to) => {
      to.u32(count);
      for (const { module, name, type } of this.#imports) {
        to.name(module);
        to.name(name);
        to.byte(0);
        to.u32(type);
      }
      if (memory === undefined) return;
      to.name(memory.module);
      to.name(memory.name);
      to.byte(2);
      to.byte(1 + (memory.type.shared ? 2 : 0) + (this.addressType === "i64" ? 4 : 0));
      to.u32(memory.type.pages);
      to.u32(memory.type.pages);
    });
  }

  #tableSection(out: ByteBuffer): void {
    const size = this.#table.length;
    if (size === 0) return;
    section(out, SECTION.table, [size], (to) => {
      to.byte(FUNCREF);
      to.byte(1);
      to.u32(size);
      to.u32(size);
    });
  }

  #elementSection(out: ByteBuffer): void {
    if (this.#table.length === 0) return;
    section(out, SECTION.element, [this.#table], (to, functions) => {
      to.u32(0);
      writeOffset(to, "i32", 0);
      to.u32(functions.length);
      for (const index of functions) to.u32(index);
    });
  }

  #writeData(to: ByteBuffer, { address, bytes }: DataSegment): void {
    if (address === undefined) {
      to.u32(1);
    } else {
      to.u32(0);
      writeOffset(to, this.addressType, address);
    }
    to.sized(bytes);
  }

  #nameSection(out: ByteBuffer): void {
    if (this.#functions.length === 0) return;
    const names = new ByteBuffer();
    names.u32(this.#functions.length);
    for (const { index, name } of this.#functions) {
      names.u32(index);
      names.name(name);
    }
    sectionOf(out, SECTION.custom, (to) => {
      to.name("name");
      to.byte(1);
      to.sized(names.view());
    });
  }
}

function sectionOf(out: ByteBuffer, id: number, write: (to: ByteBuffer) => void): void {
  const content = new ByteBuffer();
  write(content);
  out.byte(id);
  out.sized(content.view());
}

function section<T>(
  out: ByteBuffer,
  id: number,
  items: readonly T[],
  write: (to: ByteBuffer, item: T) => void,
): void {
  if (items.length === 0) return;
  sectionOf(out, id, (to) => {
    to.u32(items.length);
    for (const item of items) write(to, item);
  });
}

function writeTypes(to: ByteBuffer, types: readonly ValueType[]): void {
  to.u32(types.length);
  for (const type of types) to.byte(VALUE_TYPES[type]);
}

function writeFunctionType(to: ByteBuffer, type: PlainFunctionType): void {
  to.byte(FUNCTION_TYPE);
  writeTypes(to, type.params);
  writeTypes(to, type.results);
}

/** A constant expression: where in a table or a memory something goes. */
function writeOffset(to: ByteBuffer, type: AddressType, offset: number): void {
  to.byte(type === "i32" ? 0x41 : 0x42);
  if (type === "i32") to.s32(offset);
  else to.s64(BigInt(offset));
  to.byte(0x0b);
}
