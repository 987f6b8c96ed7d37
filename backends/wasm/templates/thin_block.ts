/**
 * Products of a few rows with a matrix that is read where it lies, once: packing it would take longer
 * than multiplying. How fast they are is up to the memory, so whole rows or columns are read in order.
 */
import type { FunctionBuilder, Local, ModuleBuilder } from "../encoder.ts";
import { countedLoop, increment, localPlus, whileBelow } from "./control_flow.ts";
import type { AxisList } from "./offset_table.ts";
import { emitTranspose, newQuad } from "./transpose.ts";

/**
 * `rows`: the columns of b are neighbours, a whole number of vectors, and its rows evenly apart.
 * `columns`: the same with the two exchanged.
 */
export type ThinForm = "rows" | "columns";

/** The form that reads a right operand in place, if there is one. */
export function chooseThinForm(columns: AxisList, k: AxisList): ThinForm | undefined {
  if (columns.extent % LANES !== 0 || columns.extent === 0) return undefined;
  if (columns.isContiguous && k.axes.length <= 1) return "rows";
  if (k.isContiguous && k.extent % LANES === 0 && columns.axes.length <= 1) return "columns";
  return undefined;
}

/** Arguments of a thin product, as locals and constants of the calling function. */
export interface ThinBlockCall {
  /** Address of the rows' byte addresses, each with k contiguous. */
  readonly rowTable: Local;
  /** Bytes added to each row's address. */
  readonly aOffset: Local;
  readonly rows: Local;
  /** Address of the first element of b. */
  readonly b: Local;
  /** Bytes between the rows of b, or its columns, whichever are not contiguous. */
  readonly bStep: number;
  readonly k: Local;
  readonly columns: Local;
  readonly c: Local;
  /** Bytes between rows of the product. */
  readonly cRowBytes: number;
  /** Not zero: add to what the block holds. */
  readonly accumulate: Local;
}

/** Emits a call of the function that {@linkcode emitThinBlock} gave. */
export function callThinBlock(f: FunctionBuilder, block: number, call: ThinBlockCall): void {
  for (const local of [call.rowTable, call.aOffset, call.rows, call.b]) f.get(local);
  f.address.const(call.bStep);
  for (const local of [call.k, call.columns, call.c]) f.get(local);
  f.i32.const(call.cRowBytes);
  f.get(call.accumulate);
  f.call(block);
}

const LANES = 4;
const VECTOR_BYTES = 16;
/** Rows of b that are read side by side. */
const ROWS_AT_ONCE = 8;

/**
 * Emits, once a module, the function `(rowTable, aOffset, rows, b, bStep, k, columns, c, cRowBytes,
 * accumulate)`.
 */
export function emitThinBlock(module: ModuleBuilder, form: ThinForm, relaxedSimd: boolean): number {
  const name = `thin_block_${form}${relaxedSimd ? "_relaxed" : ""}`;
  return module.once(name, () => {
    const params = [
      "address",
      "address",
      "i32",
      "address",
      "address",
      "i32",
      "i32",
      "address",
      "i32",
      "i32",
    ] as const;
    const f = module.function(name, { params, results: [] });
    const emitter = new ThinBlock(f, relaxedSimd);
    if (form === "rows") emitter.emitRows();
    else emitter.emitColumns();
    return f.index;
  });
}

class ThinBlock {
  readonly #f: FunctionBuilder;
  readonly #relaxedSimd: boolean;

  constructor(f: FunctionBuilder, relaxedSimd: boolean) {
    this.#f = f;
    this.#relaxedSimd = relaxedSimd;
  }

  /** Adds a few rows of b, times their factors, to the sums, which stay in the first cache. */
  emitRows(): void {
    const f = this.#f;
    const k = f.param(5);
    this.#clearUnlessAccumulating();
    const done = f.local("i32");
    const whole = f.local("i32");
    f.get(k);
    f.i32.const(-ROWS_AT_ONCE);
    f.i32.and();
    f.set(whole);
    whileBelow(f, done, whole, () => this.#addRows(done, ROWS_AT_ONCE));
    whileBelow(f, done, k, () => this.#addRows(done, 1));
  }

  /** Four columns at a time: products along k, added up across the lanes at the end. */
  emitColumns(): void {
    const f = this.#f;
    const columns = f.param(6);
    const [sums, spare] = [newQuad(f), newQuad(f)];
    const done = f.local("i32");
    const c = localPlus(f, f.param(7), 0);
    this.#clearUnlessAccumulating();
    countedLoop(f, done, columns, LANES, () => {
      const sources = this.#nextSources(LANES);
      this.#eachRow(c, (a, target) => {
        for (const sum of sums) {
          f.f32x4.constSplat(0);
          f.set(sum);
        }
        this.#addProducts(a, sources, sums);
        emitTranspose(f, sums, spare);
        f.get(target);
        f.get(target);
        f.v128.load();
        for (const sum of sums) {
          f.get(sum);
          f.f32x4.add();
        }
        f.v128.store();
      });
      increment(f, c, VECTOR_BYTES);
    });
  }

  #clearUnlessAccumulating(): void {
    const f = this.#f;
    const columns = f.param(6);
    const accumulate = f.param(9);
    f.get(accumulate);
    f.i32.eqz();
    f.if(() =>
      this.#eachRow(f.param(7), (_a, target) => {
        f.get(target);
        f.i32.const(0);
        f.get(columns);
        f.address.times(4);
        f.memoryFill();
      })
    );
  }

  /** Runs `body` for each row with the row's address and its place in the product; both may be moved. */
  #eachRow(c: Local, body: (a: Local, target: Local) => void): void {
    const f = this.#f;
    const [rowTable, aOffset, rows, cRowBytes] = [f.param(0), f.param(1), f.param(2), f.param(8)];
    const row = f.local("i32");
    const [a, target, next] = [0, 1, 2].map(() => f.local("address")) as [Local, Local, Local];
    f.get(c);
    f.set(next);
    countedLoop(f, row, rows, 1, () => {
      f.get(rowTable);
      f.get(row);
      f.address.plus(f.address.bytes);
      f.address.load();
      f.get(aOffset);
      f.address.add();
      f.set(a);
      f.get(next);
      f.tee(target);
      f.get(cRowBytes);
      f.address.plus();
      f.set(next);
      body(a, target);
    });
  }

  /** New locals with the addresses of the next rows or columns of b, which is moved on. */
  #nextSources(count: number): Local[] {
    const f = this.#f;
    const [b, bStep] = [f.param(3), f.param(4)];
    return Array.from({ length: count }, () => {
      const source = localPlus(f, b, 0);
      f.get(b);
      f.get(bStep);
      f.address.add();
      f.set(b);
      return source;
    });
  }

  /** Adds `count` rows of b from row `done` on, which is moved on. */
  #addRows(done: Local, count: number): void {
    const f = this.#f;
    const columns = f.param(6);
    const rows = this.#nextSources(count);
    const sources = rows.map(() => f.local("address"));
    const factors = rows.map(() => f.local("v128"));
    const at = f.local("i32");
    this.#eachRow(f.param(7), (a, target) => {
      f.get(a);
      f.get(done);
      f.address.plus(4);
      f.set(a);
      factors.forEach((factor, index) => {
        f.get(a);
        f.v128.load32_splat(4 * index);
        f.set(factor);
        f.get(rows[index] ?? a);
        f.set(sources[index] ?? a);
      });
      countedLoop(f, at, columns, LANES, () => {
        const sum = f.local("v128");
        f.get(target);
        f.v128.load();
        f.set(sum);
        sources.forEach((source, index) => {
          this.#multiplyAdd(factors[index] ?? sum, () => this.#loadAndMove(source), sum);
        });
        f.get(target);
        f.get(sum);
        f.v128.store();
        increment(f, target, VECTOR_BYTES);
      });
    });
    increment(f, done, count);
  }

  /** Adds the products of a row, from `a`, with columns of b; `a` is moved. */
  #addProducts(a: Local, columns: readonly Local[], sums: readonly Local[]): void {
    const f = this.#f;
    const sources = columns.map((column) => localPlus(f, column, 0));
    const left = f.local("v128");
    const at = f.local("i32");
    countedLoop(f, at, f.param(5), LANES, () => {
      this.#loadAndMove(a);
      f.set(left);
      sources.forEach((source, index) => {
        this.#multiplyAdd(left, () => this.#loadAndMove(source), sums[index] ?? left);
      });
    });
  }

  #loadAndMove(address: Local): void {
    const f = this.#f;
    f.get(address);
    f.v128.load();
    increment(f, address, VECTOR_BYTES);
  }

  /** `sum += left * right` */
  #multiplyAdd(left: Local, pushRight: () => void, sum: Local): void {
    const f = this.#f;
    if (this.#relaxedSimd) {
      f.get(left);
      pushRight();
      f.get(sum);
      f.f32x4.relaxed_madd();
    } else {
      f.get(sum);
      f.get(left);
      pushRight();
      f.f32x4.mul();
      f.f32x4.add();
    }
    f.set(sum);
  }
}
