/** Byte addresses of a kernel's loads and stores, as expressions that loops can hoist parts of. */
import type { Expr, LoopBuffer } from "../../../compiler/loop_ir.ts";
import { bytesPerElement } from "../../../graph/dtype.ts";
import type { AddressType } from "../address_instructions.ts";
import type { ExpressionTable, LinearForm } from "./expression_table.ts";
import type { Names } from "./resolve.ts";

/** Where an element is. */
export interface Access {
  /**
   * An i32 expression: the byte address but for `offset`; or, where addresses are wider, the elements
   * from the buffer's first one on, which may be more bytes than an i32 counts.
   */
  readonly address: Expr;
  /** Bytes to add to the address: an instruction's constant. */
  readonly offset: number;
  /** The element's index as multiples of variables. */
  readonly index: LinearForm;
}

/** Offsets above this stay in the address, so that an address never wraps. */
const LARGEST_OFFSET = 1 << 24;

/** The name of the variable that holds a buffer's address. */
export function addressName(buffer: number): string {
  return `@${buffer}`;
}

/** Makes addresses; equal ones are one object. */
export class Addresses {
  readonly #table: ExpressionTable;
  readonly #names: Names;
  readonly #buffers: readonly LoopBuffer[];
  /** Whether addresses are wider than expressions. */
  readonly #wide: boolean;
  readonly #known = new Map<Expr, Map<number, Access>>();
  readonly #levels = new Map<Expr, number>();

  constructor(
    table: ExpressionTable,
    names: Names,
    buffers: readonly LoopBuffer[],
    addressType: AddressType,
  ) {
    this.#wide = addressType === "i64";
    this.#table = table;
    this.#names = names;
    this.#buffers = buffers;
  }

  /** The declaration of a buffer. */
  buffer(index: number): LoopBuffer {
    const declared = this.#buffers[index];
    if (declared === undefined) {
      throw new RangeError(`The kernel has ${this.#buffers.length} buffers; it names ${index}`);
    }
    return declared;
  }

  /** How many loops are around the innermost definition that the expression needs. */
  level(expr: Expr): number {
    const known = this.#levels.get(expr);
    if (known !== undefined) return known;
    let level = 0;
    for (const name of this.#table.facts(expr).variables) {
      level = Math.max(level, this.#names.level(name));
    }
    this.#levels.set(expr, level);
    return level;
  }

  /** The address of an element. */
  access(buffer: number, index: Expr): Access {
    const known = this.#known.get(index)?.get(buffer);
    if (known !== undefined) return known;
    const access = this.#make(buffer, index);
    const ofIndex = this.#known.get(index) ?? new Map<number, Access>();
    this.#known.set(index, ofIndex.set(buffer, access));
    return access;
  }

  /**
   * Elements that the index moves by when the variable grows by one; undefined when it depends on
   * the variable, or on another of `varying`, in any other way.
   */
  stride(form: LinearForm, variable: string, varying: ReadonlySet<string>): number | undefined {
    let stride = 0;
    for (const [atom, factor] of form.terms) {
      if (atom.kind === "var" && atom.name === variable) {
        stride = factor;
        continue;
      }
      for (const name of this.#table.facts(atom).variables) {
        if (varying.has(name)) return undefined;
      }
    }
    return stride;
  }

  #make(buffer: number, index: Expr): Access {
    const table = this.#table;
    const bytes = bytesPerElement(this.buffer(buffer).dtype);
    const form = table.linear(index);
    const constant = bytes * form.constant;
    const canOffset = constant >= 0 && constant <= LARGEST_OFFSET && this.#isNeverNegative(form);
    const unit = this.#wide ? 1 : bytes;
    const parts = this.#wide ? [] : [table.variable(addressName(buffer))];
    if (!canOffset && constant !== 0) parts.push(table.constant(form.constant * unit));
    // Outer variables first: each loop then finds a sum that it can compute ahead.
    const terms = [...form.terms].sort(([a], [b]) => this.level(a) - this.level(b));
    for (const [atom, factor] of terms) parts.push(table.scale(atom, factor * unit));
    const [first = table.constant(0), ...others] = parts;
    const address = others.reduce((sum, part) => table.add(sum, part), first);
    return { address, offset: canOffset ? constant : 0, index: form };
  }

  #isNeverNegative(form: LinearForm): boolean {
    return [...form.terms].every(([atom, factor]) =>
      factor > 0 && atom.kind === "var" && this.#names.isCounter(atom.name)
    );
  }
}
