/** The way back through norms of rows of queries and keys. */
import type { FunctionBuilder, Local, ModuleBuilder } from "../encoder.ts";
import { addresses } from "./control_flow.ts";
import { type NormForm, NormRowCode, SOURCE_PARAMETERS } from "./norm_row_code.ts";
import type { RowNormCode, SourceRows } from "./row_norm.ts";

/** Addresses of sums, each as long as a row: what flows back to the norm's vectors. */
export interface VectorSums {
  readonly scale: Local | undefined;
  readonly bias: Local | undefined;
}

/**
 * Emits the way back through a norm: replaces the cotangents of normalised rows, which lie
 * `sumRowBytes` apart from `cotangents` on, by those of the rows, and adds to the sums for the norm's
 * vectors.
 */
export function goBackThroughNorm(
  f: FunctionBuilder,
  norm: RowNormCode,
  rows: SourceRows,
  cotangents: Local,
  sumRowBytes: number,
  sums: VectorSums,
): void {
  const { scale, row } = norm.parts;
  const form = {
    ...norm.form(rows),
    sumsScale: sums.scale !== undefined,
    sumsBias: sums.bias !== undefined,
  };
  norm.getSource(f, rows);
  f.get(cotangents);
  f.i32.const(sumRowBytes);
  for (const local of [scale, row, sums.scale ?? row, sums.bias ?? row]) f.get(local);
  f.call(emitNormRowsGrad(norm.module, form));
}

interface NormGradForm extends NormForm {
  readonly sumsScale: boolean;
  readonly sumsBias: boolean;
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
