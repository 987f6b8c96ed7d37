/**
 * Register-tiled products: `c[rows, 4 * vectors] (+)= a[rows, k] b[k, 4 * vectors]`.
 *
 * Row `i` of `a` is read at an address of its own, taken from a table, with `k` contiguous; `b` is a
 * packed panel, `k` rows of `vectors` vectors. The addresses matter under V8 without trap handlers,
 * where every access compares `address < memory size - offset`: accesses at the same constant
 * offset share the subtraction, so rows with one pointer each cost less than one pointer with an
 * offset for each row, and a panel whose pointer moves with every step is read at few offsets.
 */
import type { DeclaredType, FunctionBuilder, Local, ModuleBuilder } from "../encoder.ts";
import { increment } from "./control_flow.ts";
import { touchLine } from "./touch_lines.ts";

/** A register tile: the part of a product whose sums are made at once. */
export interface Microkernel {
  readonly rows: number;
  /** Columns of a full panel of the packed right operand. */
  readonly columns: number;
}

/**
 * Register tiles by name, rows times columns. A tile of eight columns fits the sixteen 128-bit
 * registers of most processors. One of sixteen does not, but an engine that joins neighbouring 128-bit
 * operations (V8's revectorization) holds it in as many registers of 256 bits.
 */
export const MICROKERNELS = {
  "4x8": { rows: 4, columns: 8 },
  "5x8": { rows: 5, columns: 8 },
  "6x8": { rows: 6, columns: 8 },
  "4x16": { rows: 4, columns: 16 },
  "5x16": { rows: 5, columns: 16 },
  "6x16": { rows: 6, columns: 16 },
} as const satisfies Record<string, Microkernel>;

/** Name of a register tile. */
export type MicrokernelName = keyof typeof MICROKERNELS;

/**
 * Refuses a name that no register tile has.
 *
 * @throws {RangeError} Which lists those that there are.
 */
export function requireMicrokernel(name: string): asserts name is MicrokernelName {
  if (Object.hasOwn(MICROKERNELS, name)) return;
  throw new RangeError(
    `No microkernel ${name}; there are ${Object.keys(MICROKERNELS).join(", ")}`,
  );
}

/** Steps in a round of each loop; powers of two. */
const ROUNDS = [16, 4, 1];
/** In each round of so many steps a line is touched. */
const TOUCHING_ROUND = 16;
const LANES = 4;
const VECTOR_BYTES = 16;

/**
 * Emits, once a module, the function `(rowTable, aOffset, b, k, c, cRowBytes, accumulate, ahead,
 * touches)`. `rowTable` points at the rows' byte addresses, to each of which `aOffset` is added. With
 * `accumulate` not zero the products are added to what `c` holds. With `touches` not zero the `4 k`
 * bytes from `ahead` on are brought near, next to free: they come from afar while the tile computes.
 */
export function emitMicrokernel(
  module: ModuleBuilder,
  tile: Microkernel,
  relaxedSimd: boolean,
): number {
  const name = `microkernel_${tile.rows}x${tile.columns}${relaxedSimd ? "_relaxed" : ""}`;
  return module.once(name, () => {
    const params = [
      "address",
      "address",
      "address",
      "i32",
      "address",
      "i32",
      "i32",
      "address",
      "i32",
    ] as const;
    const f = module.function(name, { params, results: [] });
    new MicrokernelEmitter(f, tile, relaxedSimd).emit();
    return f.index;
  });
}

class MicrokernelEmitter {
  readonly #f: FunctionBuilder;
  readonly #vectors: number;
  readonly #relaxedSimd: boolean;
  readonly #rowAddresses: readonly Local[];
  readonly #accumulators: readonly (readonly Local[])[];
  readonly #right: readonly Local[];
  readonly #left: Local;

  constructor(f: FunctionBuilder, { rows, columns }: Microkernel, relaxedSimd: boolean) {
    const vectors = columns / LANES;
    this.#f = f;
    this.#vectors = vectors;
    this.#relaxedSimd = relaxedSimd;
    const locals = (count: number, type: DeclaredType) =>
      Array.from({ length: count }, () => f.local(type));
    this.#rowAddresses = locals(rows, "address");
    this.#accumulators = this.#rowAddresses.map(() => locals(vectors, "v128"));
    this.#right = locals(vectors, "v128");
    this.#left = f.local("v128");
  }

  emit(): void {
    const f = this.#f;
    this.#loadRowAddresses();
    f.get(f.param(6));
    f.if(() => this.#loadTile());
    let rest = -1;
    for (const steps of ROUNDS) {
      this.#rounds(steps, rest);
      rest = steps - 1;
    }
    this.#storeTile();
  }

  #loadRowAddresses(): void {
    const f = this.#f;
    this.#rowAddresses.forEach((address, row) => {
      f.get(f.param(0));
      f.address.load(f.address.bytes * row);
      f.get(f.param(1));
      f.address.add();
      f.set(address);
    });
  }

  /** Runs as many rounds of so many steps as there are in those of k that the mask leaves. */
  #rounds(steps: number, mask: number): void {
    const f = this.#f;
    const left = f.local("i32");
    f.get(f.param(3));
    f.i32.const(mask);
    f.i32.and();
    f.i32.const(Math.log2(steps));
    f.i32.shr_u();
    f.tee(left);
    f.if(() => {
      f.loop((again) => {
        if (steps === TOUCHING_ROUND) this.#touchIfWanted();
        this.#steps(steps);
        f.get(left);
        f.i32.const(1);
        f.i32.sub();
        f.tee(left);
        f.brIf(again);
      });
    });
  }

  #touchIfWanted(): void {
    const f = this.#f;
    f.get(f.param(8));
    f.if(() => touchLine(f, f.param(7)));
  }

  #steps(count: number): void {
    const f = this.#f;
    const b = f.param(2);
    for (let step = 0; step < count; step++) {
      this.#right.forEach((right, vector) => {
        f.get(b);
        f.v128.load(vector * VECTOR_BYTES);
        f.set(right);
      });
      increment(f, b, this.#vectors * VECTOR_BYTES);
      this.#rowAddresses.forEach((address, row) => {
        f.get(address);
        f.v128.load32_splat(4 * step);
        f.set(this.#left);
        for (let vector = 0; vector < this.#vectors; vector++) this.#multiplyAdd(row, vector);
      });
    }
    for (const address of this.#rowAddresses) increment(f, address, 4 * count);
  }

  #multiplyAdd(row: number, vector: number): void {
    const f = this.#f;
    const accumulator = this.#accumulators[row]?.[vector];
    const right = this.#right[vector];
    if (accumulator === undefined || right === undefined) throw new RangeError("No such tile part");
    if (this.#relaxedSimd) {
      f.get(this.#left);
      f.get(right);
      f.get(accumulator);
      f.f32x4.relaxed_madd();
    } else {
      f.get(accumulator);
      f.get(this.#left);
      f.get(right);
      f.f32x4.mul();
      f.f32x4.add();
    }
    f.set(accumulator);
  }

  #loadTile(): void {
    this.#forEachTileRow((address, accumulators) => {
      accumulators.forEach((accumulator, vector) => {
        this.#f.get(address);
        this.#f.v128.load(vector * VECTOR_BYTES);
        this.#f.set(accumulator);
      });
    });
  }

  #storeTile(): void {
    this.#forEachTileRow((address, accumulators) => {
      accumulators.forEach((accumulator, vector) => {
        this.#f.get(address);
        this.#f.get(accumulator);
        this.#f.v128.store(vector * VECTOR_BYTES);
      });
    });
  }

  #forEachTileRow(body: (address: Local, accumulators: readonly Local[]) => void): void {
    const f = this.#f;
    const address = f.local("address");
    this.#accumulators.forEach((accumulators, row) => {
      f.get(row === 0 ? f.param(4) : address);
      if (row > 0) {
        f.get(f.param(5));
        f.address.plus();
      }
      f.set(address);
      body(address, accumulators);
    });
  }
}
