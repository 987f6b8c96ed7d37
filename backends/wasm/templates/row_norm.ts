/**
 * Norms of rows of queries and keys, on blocks in scratch. Rows are normalised as they are loaded, in
 * the backward pass once more: the normalised ones are never stored for others.
 */
import type { ColumnOperand, RowNorm } from "../../../compiler/loop_ir.ts";
import type { FunctionBuilder, Local, ModuleBuilder } from "../encoder.ts";
import { addresses, constant, increment, localPlus } from "./control_flow.ts";
import { type NormForm, normRowBytes, NormRowCode, SOURCE_PARAMETERS } from "./norm_row_code.ts";
import { emitLoadColumn } from "./score_grad.ts";
import type { KernelFunction, ScratchLayout } from "./template.ts";

/** Rows in memory. */
export interface SourceRows {
  /** Address of the first row. */
  readonly address: Local;
  /** Elements between rows, and between neighbours in one. */
  readonly rowStride: number;
  readonly columnStride: number;
  readonly count: Local;
}

/** One norm of a kernel: its vectors in scratch, and calls of the functions that do the work. */
export class RowNormCode {
  readonly module: ModuleBuilder;
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
    this.module = module;
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
    const { scale, bias } = this.parts;
    this.getSource(f, rows);
    for (const local of [target, scale, bias]) f.get(local);
    f.call(emitNormRows(this.module, this.form(rows)));
  }

  /** Pushes the first arguments of the functions that read such rows: {@linkcode SOURCE_PARAMETERS}. */
  getSource(f: FunctionBuilder, { address, rowStride, columnStride, count }: SourceRows): void {
    f.get(address);
    f.address.const(4 * rowStride);
    f.address.const(4 * columnStride);
    f.get(count);
    f.f32.const(this.#norm.epsilon);
  }

  /** What the code for such rows depends on. */
  form(rows: SourceRows): NormForm {
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

  /** Its scratch. */
  get parts(): NormScratch {
    if (this.#scratch === undefined) throw new TypeError("The norm has not begun");
    return this.#scratch;
  }
}

/** Where a norm has its vectors. */
export interface NormScratch {
  readonly scale: Local;
  readonly bias: Local;
  /** A row under way. */
  readonly row: Local;
}

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
