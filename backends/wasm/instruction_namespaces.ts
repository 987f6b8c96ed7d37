/** The instruction methods of a function builder, made from the opcode tables. */
import type { AddressType } from "./address_instructions.ts";
import type { ByteBuffer } from "./byte_buffer.ts";
import {
  F32_LOADS,
  F32_OPS,
  F32X4_OPS,
  F64_LOADS,
  F64_OPS,
  F64X2_OPS,
  I16X8_OPS,
  I32_ATOMIC_OPS,
  I32_LOADS,
  I32_OPS,
  I32X4_OPS,
  I64_LOADS,
  I64_OPS,
  I64X2_OPS,
  I8X16_OPS,
  LANE_OPS,
  PREFIX,
  TRUNC_SAT_OPS,
  V128_LANE_LOADS,
  V128_LOADS,
  V128_OPS,
} from "./opcodes.ts";

type MemoryOp = readonly [opcode: number, naturalAlignment: number];

/** What {@linkcode numericNamespaces} gives. */
export type NamespaceSet = ReturnType<typeof numericNamespaces>;

/** A function builder has them all. */
export type NumericNamespaces = { readonly [K in keyof NamespaceSet]: NamespaceSet[K] };

/** `{ key: make(value) }` for each entry of a table. */
function mapTable<K extends string, V, Result>(
  table: { readonly [Key in K]: V },
  make: (value: V) => Result,
): { readonly [Key in K]: Result } {
  const entries = Object.entries<V>(table).map(([key, value]) => [key, make(value)] as const);
  // Object.fromEntries forgets which keys there are; they are the table's.
  return Object.fromEntries(entries) as { [Key in K]: Result };
}

function log2Alignment(align: number, natural: number): number {
  const log2 = Math.log2(align);
  if (!Number.isInteger(log2) || align > natural) {
    throw new RangeError(`Expected an alignment hint that divides ${natural}, got ${align}`);
  }
  return log2;
}

/** Methods that append instructions to `code`, by WebAssembly namespace. */
export function numericNamespaces(code: ByteBuffer, addressType: AddressType) {
  const scalar = <K extends string>(table: { readonly [Key in K]: number }) =>
    mapTable(table, (op) => () => code.byte(op));
  const simdOp = (op: number): void => {
    code.byte(PREFIX.simd);
    code.u32(op);
  };
  const simd = <K extends string>(table: { readonly [Key in K]: number }) =>
    mapTable(table, (op) => () => simdOp(op));
  const lanes = <K extends string>(table: { readonly [Key in K]: number }) =>
    mapTable(table, (op) => (lane: number) => {
      simdOp(op);
      code.byte(lane);
    });
  const operand = (offset: number, align: number, natural: number): void => {
    code.u32(log2Alignment(align, natural));
    if (addressType === "i32") code.u32(offset);
    else code.u53(offset);
  };
  const memory = <K extends string>(table: { readonly [Key in K]: MemoryOp }) =>
    mapTable(table, ([op, natural]) => (offset = 0, align = natural): void => {
      code.byte(op);
      operand(offset, align, natural);
    });
  const simdMemory = <K extends string>(table: { readonly [Key in K]: MemoryOp }) =>
    mapTable(table, ([op, natural]) => (offset = 0, align = natural): void => {
      simdOp(op);
      operand(offset, align, natural);
    });
  const laneMemory = <K extends string>(table: { readonly [Key in K]: MemoryOp }) =>
    mapTable(table, ([op, natural]) => (lane: number, offset = 0, align = natural): void => {
      simdOp(op);
      operand(offset, align, natural);
      code.byte(lane);
    });
  const atomicOp = (op: number, offset: number, size: number): void => {
    code.bytes([PREFIX.atomic, op]);
    operand(offset, size, size);
  };
  return {
    i32: {
      ...scalar(I32_OPS),
      ...memory(I32_LOADS),
      ...mapTable(TRUNC_SAT_OPS, (op) => () => code.bytes([PREFIX.misc, op])),
      const: (value: number) => {
        code.byte(0x41);
        code.s32(value);
      },
    },
    i64: {
      ...scalar(I64_OPS),
      ...memory(I64_LOADS),
      const: (value: bigint) => {
        code.byte(0x42);
        code.s64(value);
      },
    },
    f32: {
      ...scalar(F32_OPS),
      ...memory(F32_LOADS),
      const: (value: number) => {
        code.byte(0x43);
        code.f32(value);
      },
    },
    f64: {
      ...scalar(F64_OPS),
      ...memory(F64_LOADS),
      const: (value: number) => {
        code.byte(0x44);
        code.f64(value);
      },
    },
    v128: {
      ...simd(V128_OPS),
      ...simdMemory(V128_LOADS),
      ...laneMemory(V128_LANE_LOADS),
      /** A constant of sixteen bytes. */
      const: (bytes: Uint8Array | readonly number[]) => {
        simdOp(12);
        sixteen(bytes);
        code.bytes(bytes);
      },
    },
    i8x16: {
      ...simd(I8X16_OPS),
      ...lanes(LANE_OPS.i8x16),
      /** Picks sixteen bytes from two vectors: 0 to 15 are the first's, 16 to 31 the second's. */
      shuffle: (bytes: readonly number[]) => {
        simdOp(13);
        sixteen(bytes);
        code.bytes(bytes);
      },
    },
    i16x8: { ...simd(I16X8_OPS), ...lanes(LANE_OPS.i16x8) },
    i32x4: {
      ...simd(I32X4_OPS),
      ...lanes(LANE_OPS.i32x4),
      /** A constant with four equal lanes. */
      constSplat: (value: number) => {
        simdOp(12);
        code.bytes(new Uint8Array(new Int32Array(4).fill(value).buffer));
      },
      /** Picks four lanes from two vectors: 0 to 3 are the first's, 4 to 7 the second's. */
      shuffle: (picked: readonly [number, number, number, number]) => {
        simdOp(13);
        for (const lane of picked) {
          for (let byte = 0; byte < 4; byte++) code.byte(4 * lane + byte);
        }
      },
    },
    i64x2: { ...simd(I64X2_OPS), ...lanes(LANE_OPS.i64x2) },
    f32x4: {
      ...simd(F32X4_OPS),
      ...lanes(LANE_OPS.f32x4),
      /** A constant with four equal lanes. */
      constSplat: (value: number) => {
        simdOp(12);
        for (let lane = 0; lane < 4; lane++) code.f32(value);
      },
    },
    f64x2: { ...simd(F64X2_OPS), ...lanes(LANE_OPS.f64x2) },
    atomic: {
      ...mapTable(I32_ATOMIC_OPS, (op) => (offset = 0): void => atomicOp(op, offset, 4)),
      /** Pops address and count; pushes how many waiters woke. */
      notify: (offset = 0) => atomicOp(0, offset, 4),
      /** Pops address, expected i32 and timeout (i64 ns, -1: none); pushes 0, 1 (not equal), 2 (late). */
      wait32: (offset = 0) => atomicOp(1, offset, 4),
      fence: () => code.bytes([PREFIX.atomic, 3, 0]),
    },
  };
}

function sixteen(bytes: ArrayLike<number>): void {
  if (bytes.length !== 16) {
    throw new RangeError(`A v128 immediate has 16 bytes, got ${bytes.length}`);
  }
}
