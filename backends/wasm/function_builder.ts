/** A WebAssembly function body under construction. */
import { type AddressInstructions, addressInstructions } from "./address_instructions.ts";
import { ByteBuffer } from "./byte_buffer.ts";
import type { ModuleBuilder } from "./encoder.ts";
import {
  type NamespaceSet,
  type NumericNamespaces,
  numericNamespaces,
} from "./instruction_namespaces.ts";
import { PREFIX, VALUE_TYPES, type ValueType } from "./opcodes.ts";

/** A value type, or that of the module's addresses. */
export type DeclaredType = ValueType | "address";

/** Parameters and results of a function. */
export interface FunctionType {
  readonly params: readonly DeclaredType[];
  readonly results: readonly ValueType[];
}

/** A parameter or a local variable. */
export interface Local {
  readonly index: number;
  readonly type: ValueType;
}

/** A block or loop that a branch may name while it is open. */
export interface Label {
  /** How many blocks were open around it. */
  readonly depth: number;
}

const EMPTY_BLOCK = 0x40;

/**
 * Instructions in the order they are called, under the specification's names: `f.f32x4.add()`,
 * `f.i32.lt_u()`, `f.v128.load(16)`. Memory instructions take a constant byte offset, and optionally
 * an alignment hint in bytes.
 */
export class FunctionBuilder implements NumericNamespaces {
  /** Index by which `call` and `export` name the function. */
  readonly index: number;
  readonly name: string;
  readonly type: FunctionType;
  readonly i32: NamespaceSet["i32"];
  readonly i64: NamespaceSet["i64"];
  readonly f32: NamespaceSet["f32"];
  readonly f64: NamespaceSet["f64"];
  readonly v128: NamespaceSet["v128"];
  readonly i8x16: NamespaceSet["i8x16"];
  readonly i16x8: NamespaceSet["i16x8"];
  readonly i32x4: NamespaceSet["i32x4"];
  readonly i64x2: NamespaceSet["i64x2"];
  readonly f32x4: NamespaceSet["f32x4"];
  readonly f64x2: NamespaceSet["f64x2"];
  readonly atomic: NamespaceSet["atomic"];
  readonly address: AddressInstructions;
  readonly #module: ModuleBuilder;
  readonly #code = new ByteBuffer();
  readonly #prologue = new ByteBuffer();
  readonly #locals: Local[] = [];
  readonly #params: readonly Local[];
  #depth = 0;

  constructor(module: ModuleBuilder, name: string, type: FunctionType, index: number) {
    this.#module = module;
    this.name = name;
    this.type = type;
    this.index = index;
    this.#params = type.params.map((param, position) => ({
      index: position,
      type: module.valueType(param),
    }));
    const spaces = numericNamespaces(this.#code, module.addressType);
    this.i32 = spaces.i32;
    this.i64 = spaces.i64;
    this.f32 = spaces.f32;
    this.f64 = spaces.f64;
    this.v128 = spaces.v128;
    this.i8x16 = spaces.i8x16;
    this.i16x8 = spaces.i16x8;
    this.i32x4 = spaces.i32x4;
    this.i64x2 = spaces.i64x2;
    this.f32x4 = spaces.f32x4;
    this.f64x2 = spaces.f64x2;
    this.atomic = spaces.atomic;
    this.address = addressInstructions(module.addressType, spaces.i32, spaces.i64);
  }

  /** Bytes of code so far: what an unrolling decision may look at. */
  get codeSize(): number {
    return this.#code.length;
  }

  /** The parameter at this position. */
  param(position: number): Local {
    const param = this.#params[position];
    if (param === undefined) {
      throw new RangeError(
        `Function ${this.name} has ${this.#params.length} parameters; asked for number ${position}`,
      );
    }
    return param;
  }

  /** A new local variable, zero at the start of the function. */
  local(declared: DeclaredType): Local {
    const type = this.#module.valueType(declared);
    const local = { index: this.#params.length + this.#locals.length, type };
    this.#locals.push(local);
    return local;
  }

  /** Pushes a variable. */
  get(local: Local): void {
    this.#code.byte(0x20);
    this.#code.u32(local.index);
  }

  /** Pops into a variable. */
  set(local: Local): void {
    this.#code.byte(0x21);
    this.#code.u32(local.index);
  }

  /** Copies the top of the stack into a variable. */
  tee(local: Local): void {
    this.#code.byte(0x22);
    this.#code.u32(local.index);
  }

  /** Pops a value and forgets it. */
  drop(): void {
    this.#code.byte(0x1a);
  }

  /** Pops a condition (i32) and two values; pushes the first if the condition is not zero. */
  select(type: ValueType): void {
    if (type === "v128") {
      this.#code.bytes([0x1c, 1, VALUE_TYPES.v128]);
    } else {
      this.#code.byte(0x1b);
    }
  }

  /** Traps. */
  unreachable(): void {
    this.#code.byte(0x00);
  }

  /** Returns from the function. */
  return(): void {
    this.#code.byte(0x0f);
  }

  /** Calls a function by its index. */
  call(index: number): void {
    this.#code.byte(0x10);
    this.#code.u32(index);
  }

  /** Calls the function of the module's table at the popped index. */
  callIndirect(type: FunctionType): void {
    this.#code.byte(0x11);
    this.#code.u32(this.#module.typeIndex(type));
    this.#code.u32(0);
  }

  /** A block; a branch to its label leaves it. */
  block(body: (label: Label) => void, result?: ValueType): void {
    this.#open(0x02, result);
    this.#inside(body);
    this.#code.byte(0x0b);
  }

  /** A loop; a branch to its label starts the next round. */
  loop(body: (label: Label) => void, result?: ValueType): void {
    this.#open(0x03, result);
    this.#inside(body);
    this.#code.byte(0x0b);
  }

  /** Pops a condition (i32) and runs one of the two bodies. */
  if(then: () => void, otherwise?: () => void, result?: ValueType): void {
    this.#open(0x04, result);
    this.#inside(then);
    if (otherwise !== undefined) {
      this.#code.byte(0x05);
      this.#inside(otherwise);
    }
    this.#code.byte(0x0b);
  }

  /** Branches to an open block or loop. */
  br(label: Label): void {
    this.#code.byte(0x0c);
    this.#code.u32(this.#relative(label));
  }

  /** Pops a condition (i32) and branches if it is not zero. */
  brIf(label: Label): void {
    this.#code.byte(0x0d);
    this.#code.u32(this.#relative(label));
  }

  /** Pops an index and branches to the label there, or to `otherwise` beyond the last. */
  brTable(labels: readonly Label[], otherwise: Label): void {
    this.#code.byte(0x0e);
    this.#code.u32(labels.length);
    for (const label of labels) this.#code.u32(this.#relative(label));
    this.#code.u32(this.#relative(otherwise));
  }

  /** `memory.fill`: pops address, byte value and count. */
  memoryFill(): void {
    this.#code.bytes([PREFIX.misc, 11, 0]);
  }

  /** `memory.copy`: pops destination, source and count. */
  memoryCopy(): void {
    this.#code.bytes([PREFIX.misc, 10, 0, 0]);
  }

  /** `memory.init` of a passive data segment: pops destination, source offset and count. */
  memoryInit(segment: number): void {
    this.#code.bytes([PREFIX.misc, 8]);
    this.#code.u32(segment);
    this.#code.byte(0);
  }

  /**
   * Puts what `body` emits at the start of the function, after earlier prologues: how constants found
   * in a loop are computed once. It may not branch outwards, and must leave the stack as it was.
   */
  prologue(body: () => void): void {
    const start = this.#code.length;
    body();
    this.#prologue.bytes(this.#code.cut(start));
  }

  /** The encoded body: locals, code, end. */
  body(): Uint8Array {
    const out = new ByteBuffer();
    const groups: { type: ValueType; count: number }[] = [];
    for (const { type } of this.#locals) {
      const last = groups.at(-1);
      if (last?.type === type) last.count++;
      else groups.push({ type, count: 1 });
    }
    out.u32(groups.length);
    for (const { type, count } of groups) {
      out.u32(count);
      out.byte(VALUE_TYPES[type]);
    }
    out.bytes(this.#prologue.view());
    out.bytes(this.#code.view());
    out.byte(0x0b);
    return out.view();
  }

  #open(opcode: number, result: ValueType | undefined): void {
    this.#code.byte(opcode);
    this.#code.byte(result === undefined ? EMPTY_BLOCK : VALUE_TYPES[result]);
  }

  #inside(body: (label: Label) => void): void {
    const label = { depth: this.#depth };
    this.#depth++;
    body(label);
    this.#depth--;
  }

  #relative(label: Label): number {
    const distance = this.#depth - 1 - label.depth;
    if (distance < 0) {
      throw new RangeError(`Function ${this.name} branches to a block that is closed`);
    }
    return distance;
  }
}
