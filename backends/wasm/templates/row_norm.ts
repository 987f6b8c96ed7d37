/**
 * Norms of rows of queries and keys, and their gradients, on blocks in scratch. Rows are normalised as
 * they are loaded, in the backward pass once more: the normalised ones are never stored for others.
 */
import type { ColumnOperand, RowNorm } from "../../../compiler/loop_ir.ts";
import type { FunctionBuilder, Local, ModuleBuilder } from "../encoder.ts";
import { type Push, VectorCode } from "../vector_code.ts";
import { acrossLanes } from "./across_lanes.ts";
import {
  addresses,
  constant,
  countedLoop,
  increment,
  localPlus,
  whileBelow,
} from "./control_flow.ts";
import { emitLoadColumn } from "./score_grad.ts";
import { type KernelFunction, roundUp, type ScratchLayout } from "./template.ts";

/** Vectors of a row at most that one stretch of code goes over without a loop. */
const UNROLLED = 8;

/** Rows in memory. */
export interface SourceRows {
  /** Address of the first row. */
  readonly address: Local;
  /** Elements between rows, and between neighbours in one. */
  readonly rowStride: number;
  readonly columnStride: number;
  readonly count: Local;
}

/** Addresses of sums, each as long as a row: what flows back to the norm's vectors. */
export interface VectorSums {
  readonly scale: Local | undefined;
  readonly bias: Local | undefined;
}

/** Bytes of a row in scratch: whole vectors. */
export function normRowBytes(columns: number): number {
  return 4 * roundUp(columns, 4);
}

/** One norm of a kernel: its vectors in scratch, and calls of the functions that do the work. */
export class RowNormCode {
  readonly #module: ModuleBuilder;
  readonly #norm: RowNorm;
  readonly #columns: number;
  readonly #relaxedSimd: boolean;
  readonly #offsets: { readonly [Part in keyof NormScratch]: number };
  #scratch: NormScratch | undefined;

  /** Reserves scratch for the vectors, padded with zeros, and for one row. */
  constructor(
    module: ModuleBuilder,
    norm: RowNorm,
    columns: number,
    relaxedSimd: boolean,
    layout: ScratchLayout,
  ) {
    this.#module = module;
    this.#norm = norm;
    this.#columns = columns;
    this.#relaxedSimd = relaxedSimd;
    const reserve = (wanted: boolean) => layout.reserve(wanted ? normRowBytes(columns) : 0);
    this.#offsets = {
      scale: reserve(norm.scale !== undefined),
      bias: reserve(norm.bias !== undefined),
      row: reserve(true),
    };
  }

  /** Emits what is done once, before any loop. */
  begin(fn: KernelFunction): void {
    const { f, privateScratch } = fn;
    const { scale, bias, row } = this.#offsets;
    this.#scratch = {
      scale: localPlus(f, privateScratch, scale),
      bias: localPlus(f, privateScratch, bias),
      row: localPlus(f, privateScratch, row),
    };
    this.#load(fn, this.#norm.scale, this.#scratch.scale);
    this.#load(fn, this.#norm.bias, this.#scratch.bias);
  }

  #load(fn: KernelFunction, vector: ColumnOperand | undefined, target: Local): void {
    if (vector === undefined) return;
    const { f } = fn;
    f.get(target);
    f.v128.const(new Uint8Array(16));
    f.v128.store(normRowBytes(this.#columns) - 16);
    const source = localPlus(f, fn.buffer(vector.buffer), 4 * vector.offset);
    const count = constant(f, this.#columns);
    emitLoadColumn(f, { target, source, count, stride: vector.columnStride });
  }

  /** Emits the normalising of rows into scratch, {@linkcode normRowBytes} apart. */
  normalize(f: FunctionBuilder, rows: SourceRows, target: Local): void {
    const { scale, bias } = this.#parts;
    this.#getSource(f, rows);
    for (const local of [target, scale, bias]) f.get(local);
    f.call(emitNormRows(this.#module, this.#form(rows)));
  }

  /**
   * Emits the way back: replaces the cotangents of normalised rows, which lie `sumRowBytes` apart from
   * `cotangents` on, by those of the rows, and adds to the sums for the norm's vectors.
   */
  goBack(
    f: FunctionBuilder,
    rows: SourceRows,
    cotangents: Local,
    sumRowBytes: number,
    sums: VectorSums,
  ): void {
    const { scale, row } = this.#parts;
    const form = {
      ...this.#form(rows),
      sumsScale: sums.scale !== undefined,
      sumsBias: sums.bias !== undefined,
    };
    this.#getSource(f, rows);
    f.get(cotangents);
    f.i32.const(sumRowBytes);
    for (const local of [scale, row, sums.scale ?? row, sums.bias ?? row]) f.get(local);
    f.call(emitNormRowsGrad(this.#module, form));
  }

  #getSource(f: FunctionBuilder, { address, rowStride, columnStride, count }: SourceRows): void {
    f.get(address);
    f.address.const(4 * rowStride);
    f.address.const(4 * columnStride);
    f.get(count);
    f.f32.const(this.#norm.epsilon);
  }

  #form(rows: SourceRows): NormForm {
    const { center, scale, bias } = this.#norm;
    return {
      columns: this.#columns,
      relaxedSimd: this.#relaxedSimd,
      inPlace: rows.columnStride === 1 && this.#columns % 4 === 0,
      center,
      hasScale: scale !== undefined,
      hasBias: bias !== undefined,
    };
  }

  get #parts(): NormScratch {
    if (this.#scratch === undefined) throw new TypeError("The norm has not begun");
    return this.#scratch;
  }
}

interface NormScratch {
  readonly scale: Local;
  readonly bias: Local;
  /** A row under way. */
  readonly row: Local;
}

/** What the code of a norm depends on. */
interface NormForm {
  readonly columns: number;
  readonly relaxedSimd: boolean;
  /** Rows are whole vectors of neighbours, which are read where they stand. */
  readonly inPlace: boolean;
  readonly center: boolean;
  readonly hasScale: boolean;
  readonly hasBias: boolean;
}

interface NormGradForm extends NormForm {
  readonly sumsScale: boolean;
  readonly sumsBias: boolean;
}

const SOURCE_PARAMETERS = ["address", "address", "address", "i32", "f32"] as const;

/**
 * Emits, once a module, the function `(source, rowBytes, columnBytes, rows, epsilon: f32, target, scale,
 * bias)`.
 */
function emitNormRows(module: ModuleBuilder, form: NormForm): number {
  return module.once(`norm_rows_${JSON.stringify(form)}`, () => {
    const f = module.function("norm_rows", {
      params: [...SOURCE_PARAMETERS, ...addresses(3)],
      results: [],
    });
    const code = new NormRowCode(f, form);
    const { vector } = code;
    const [target, scale, bias] = [f.param(5), f.param(6), f.param(7)];
    code.forEachRow(() => {
      const { row, mean, inverse } = code.statistics(target);
      code.eachVector([row, target, scale, bias], (at) => {
        const y = vector.mul(code.centered(at.load(0), mean), inverse);
        const scaled = form.hasScale ? vector.mul(y, at.load(2)) : y;
        at.store(1, form.hasBias ? vector.add(scaled, at.load(3)) : scaled);
      });
      increment(f, target, normRowBytes(form.columns));
    });
    return f.index;
  });
}

/**
 * Emits, once a module, the function `(source, rowBytes, columnBytes, rows, epsilon: f32, cotangents,
 * sumRowBytes, scale, scratchRow, scaleSums, biasSums)`.
 */
function emitNormRowsGrad(module: ModuleBuilder, form: NormGradForm): number {
  return module.once(`norm_rows_grad_${JSON.stringify(form)}`, () => {
    const f = module.function("norm_rows_grad", {
      params: [...SOURCE_PARAMETERS, "address", "i32", ...addresses(4)],
      results: [],
    });
    const code = new NormRowCode(f, form);
    const { vector } = code;
    const [cotangents, scale, scratch] = [f.param(5), f.param(7), f.param(8)];
    const [scaleSums, biasSums] = [f.param(9), f.param(10)];
    const [along, middle] = [code.sums(), code.sums()];
    code.forEachRow(() => {
      const { row, mean, inverse } = code.statistics(scratch);
      for (const total of [...along, ...middle]) code.clear(total);
      code.eachVector(
        [row, scratch, cotangents, scale, scaleSums, biasSums],
        (at) =>
          vector.scoped(() => {
            const normalized = vector.mul(code.centered(at.load(0), mean), inverse);
            const y = vector.keep(at.whole(normalized));
            at.store(1, y);
            const given = vector.keep(at.load(2));
            if (form.sumsScale) at.store(4, vector.multiplyAdd(given, y, at.load(4)));
            if (form.sumsBias) at.store(5, vector.add(at.load(5), given));
            const scaled = form.hasScale ? vector.mul(given, at.load(3)) : given;
            const h = vector.keep(at.whole(scaled));
            code.addTo(along, at, (sum) => vector.multiplyAdd(h, y, sum));
            if (form.center) code.addTo(middle, at, (sum) => vector.add(h, sum));
          }),
      );
      const meanAlong = code.mean(along);
      const meanOfAll = form.center ? code.mean(middle) : undefined;
      code.eachVector([scratch, cotangents, scale], (at) => {
        const h = form.hasScale ? vector.mul(at.load(1), at.load(2)) : at.load(1);
        const straight = vector.subtractProduct(code.centered(h, meanOfAll), at.load(0), meanAlong);
        at.store(1, vector.mul(straight, inverse));
      });
      f.get(cotangents);
      f.get(f.param(6));
      f.address.plus();
      f.set(cotangents);
    });
    return f.index;
  });
}

/** Sums under way at once: each waits for itself before it takes the next vector. */
const CHAINS = 4;

/** A vector's place in rows that are gone over together. */
interface VectorPlace {
  /** Its number in the stretch of code. */
  readonly number: number;
  /** The vector of the row in this position of the list. */
  load(row: number): Push;
  store(row: number, value: Push): void;
  /** The value, with zeros beyond the last column. */
  whole(value: Push): Push;
}

/** A row's mean (if it is taken off) and one over its deviation, in all lanes. */
interface RowStatistics {
  /** Where the row stands as neighbours. */
  readonly row: Local;
  readonly mean: Push | undefined;
  readonly inverse: Push;
}

/** Code that the two functions share; their first parameters are the same. */
class NormRowCode {
  readonly vector: VectorCode;
  readonly #f: FunctionBuilder;
  readonly #form: NormForm;

  constructor(f: FunctionBuilder, form: NormForm) {
    this.#f = f;
    this.#form = form;
    this.vector = new VectorCode(f, form.relaxedSimd);
  }

  /** Emits the loop over rows. */
  forEachRow(body: () => void): void {
    const f = this.#f;
    const done = f.local("i32");
    whileBelow(f, done, f.param(3), () => {
      body();
      f.get(f.param(0));
      f.get(f.param(1));
      f.address.add();
      f.set(f.param(0));
      increment(f, done, 1);
    });
  }

  /** Brings the row together, in `scratch` unless it is there already, and measures it. */
  statistics(scratch: Local): RowStatistics {
    const f = this.#f;
    const { center, inPlace } = this.#form;
    const row = inPlace ? f.param(0) : scratch;
    if (!inPlace) this.#gather(scratch);
    const sums = this.sums();
    const mean = center ? this.#rowMean(row, sums) : undefined;
    for (const sum of sums) this.clear(sum);
    this.eachVector([row], (at) =>
      this.vector.scoped(() => {
        const value = this.vector.keep(at.whole(this.centered(at.load(0), mean)));
        this.addTo(sums, at, (sum) => this.vector.multiplyAdd(value, value, sum));
      }));
    const variance = this.mean(sums);
    const epsilon: Push = () => {
      f.get(f.param(4));
      f.f32x4.splat();
    };
    const deviation = this.vector.apply(f.f32x4.sqrt, this.vector.add(variance, epsilon));
    const inverse = f.local("v128");
    this.assign(inverse, this.vector.div(this.vector.f32(1), deviation));
    return { row, mean, inverse: () => f.get(inverse) };
  }

  #rowMean(row: Local, sums: readonly Local[]): Push {
    for (const sum of sums) this.clear(sum);
    this.eachVector(
      [row],
      (at) => this.addTo(sums, at, (sum) => this.vector.add(sum, at.load(0))),
    );
    return this.mean(sums);
  }

  /** Locals that together hold one sum. */
  sums(): readonly Local[] {
    return Array.from({ length: CHAINS }, () => this.#f.local("v128"));
  }

  /** Replaces the one of the sums whose turn it is at this vector. */
  addTo(sums: readonly Local[], { number }: VectorPlace, added: (sum: Push) => Push): void {
    const sum = sums[number % CHAINS];
    if (sum === undefined) throw new RangeError(`There is no sum for vector ${number}`);
    this.assign(sum, added(() => this.#f.get(sum)));
  }

  /** Copies the row to neighbours, with zeros after its end. */
  #gather(target: Local): void {
    const f = this.#f;
    f.get(target);
    this.vector.f32(0)();
    f.v128.store(normRowBytes(this.#form.columns) - 16);
    const [from, to, counter] = [f.local("address"), f.local("address"), f.local("i32")];
    f.get(f.param(0));
    f.set(from);
    f.get(target);
    f.set(to);
    countedLoop(f, counter, constant(f, this.#form.columns), 1, () => {
      f.get(to);
      f.get(from);
      f.f32.load();
      f.f32.store();
      f.get(from);
      f.get(f.param(2));
      f.address.add();
      f.set(from);
      increment(f, to, 4);
    });
  }

  clear(local: Local): void {
    this.assign(local, this.vector.f32(0));
  }

  assign(local: Local, value: Push): void {
    value();
    this.#f.set(local);
  }

  /** The sums' total over all lanes, by the row's columns, in all lanes of a local of its own. */
  mean(sums: readonly Local[]): Push {
    const f = this.#f;
    const mean = f.local("v128");
    const total = sums.map((sum): Push => () => f.get(sum))
      .reduce((a, b) => this.vector.add(a, b));
    this.assign(mean, total);
    acrossLanes(f, mean, f.f32x4.add);
    this.assign(mean, this.vector.mul(() => f.get(mean), this.vector.f32(1 / this.#form.columns)));
    return () => f.get(mean);
  }

  centered(value: Push, mean: Push | undefined): Push {
    return mean === undefined ? value : this.vector.sub(value, mean);
  }

  /** Emits `body` for each vector of some rows, long rows in a loop of several. */
  eachVector(rows: readonly Local[], body: (at: VectorPlace) => void): void {
    const f = this.#f;
    const vectors = Math.ceil(this.#form.columns / 4);
    const stretches = vectors <= 2 * UNROLLED ? 0 : Math.floor((vectors - 1) / UNROLLED);
    let addresses = rows;
    if (stretches > 0) {
      addresses = rows.map((row) => localPlus(f, row, 0));
      const counter = f.local("i32");
      countedLoop(f, counter, constant(f, stretches), 1, () => {
        for (let at = 0; at < UNROLLED; at++) body(this.#place(addresses, at, false));
        for (const address of addresses) increment(f, address, 16 * UNROLLED);
      });
    }
    const rest = vectors - stretches * UNROLLED;
    for (let at = 0; at < rest; at++) body(this.#place(addresses, at, at === rest - 1));
  }

  #place(addresses: readonly Local[], vector: number, isLast: boolean): VectorPlace {
    const f = this.#f;
    const address = (row: number) => {
      const local = addresses[row];
      if (local === undefined) throw new RangeError(`There is no row ${row}`);
      f.get(local);
    };
    const rest = isLast ? this.#form.columns % 4 : 0;
    const lane = (at: number) => rest === 0 || at < rest ? -1 : 0;
    return {
      number: vector,
      load: (row) => () => {
        address(row);
        f.v128.load(16 * vector);
      },
      store: (row, value) => {
        address(row);
        value();
        f.v128.store(16 * vector);
      },
      whole: (value) =>
        rest === 0
          ? value
          : this.vector.and(value, this.vector.lanes([lane(0), lane(1), lane(2), lane(3)])),
    };
  }
}
