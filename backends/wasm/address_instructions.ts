/** Arithmetic on byte addresses, which are 32 or 64 bits wide, as the module's memory has them. */
import type { NamespaceSet } from "./instruction_namespaces.ts";

/** The value type of byte addresses. */
export type AddressType = "i32" | "i64";

/** Instructions on addresses, each the i32 or the i64 one. */
export interface AddressInstructions {
  /** The type of an address. */
  readonly type: AddressType;
  /** Bytes that an address takes in memory: from one entry of a table of addresses to the next. */
  readonly bytes: number;
  /** Pushes a constant address. */
  const(value: number): void;
  /** Pops two addresses. */
  add(): void;
  /** Pops a signed i32, and pushes `factor` times it as an address. */
  times(factor: number): void;
  /** Pops a signed i32 and an address, and pushes the address plus `factor` times the number. */
  plus(factor?: number): void;
  /** Pops an address, and pushes the address that stands there. */
  load(offset?: number): void;
  /** Pops an address and another, and writes the second to the first. */
  store(offset?: number): void;
}

/** The instructions of a function with such addresses. */
export function addressInstructions(
  type: AddressType,
  i32: NamespaceSet["i32"],
  i64: NamespaceSet["i64"],
): AddressInstructions {
  const narrow = type === "i32";
  const push = (value: number) => narrow ? i32.const(value) : i64.const(BigInt(value));
  const space = narrow ? i32 : i64;
  const times = (factor: number) => {
    if (!narrow) i64.extend_i32_s();
    if (factor === 1) return;
    push(factor);
    space.mul();
  };
  return {
    type,
    bytes: narrow ? 4 : 8,
    const: push,
    add: space.add,
    times,
    plus: (factor = 1) => {
      times(factor);
      space.add();
    },
    load: (offset) => space.load(offset),
    store: (offset) => space.store(offset),
  };
}
