/**
 * Attention cut in two: by batch entries, by rows of results, or, where one entry's keys and values are
 * too much, by keys. Then each half gives the results of softmax over its own keys, and the two are
 * weighed by their sums of exponentials (Dao et al. 2022, FlashAttention, section 3.1).
 */
import type { Index } from "../../../compiler/index_expr.ts";
import type {
  AttentionKernel,
  Expr,
  MatrixOperand,
  Statement,
  VectorOperand,
} from "../../../compiler/loop_ir.ts";
import type { PlainLoopKernel } from "../../../compiler/sizes.ts";
import { binary, load, rowPlace, unary, variable } from "../f32_expressions.ts";
import { eachColumn, Handed, moved, overRows, updating, withExtent } from "./attention_slices.ts";
import { type Halves, halvesAlong, middleOf, withHanded } from "./halves.ts";

/** All ways to cut the kernel. */
export function halvesOfAttention(kernel: AttentionKernel): Halves[] {
  const { batch, queries } = kernel;
  const operands = ["q", "k", "v", "out", "logSumExp"] as const;
  const byQueries = halvesAlong("queries", queries, (start, length): AttentionKernel => {
    return { ...kernel, queries: length, ...moved(kernel, ["q", "out", "logSumExp"], start) };
  });
  return [
    ...batch.flatMap((extent, at) =>
      halvesAlong(`batch axis ${at}`, extent, (start, length): AttentionKernel => ({
        ...kernel,
        batch: withExtent(batch, at, length),
        ...moved(kernel, operands, start, at),
      }))
    ),
    ...byQueries,
    ...halvesByKeys(kernel),
  ];
}

/** What a half of the keys gives. */
interface Results {
  readonly out: MatrixOperand | undefined;
  readonly logSumExp: VectorOperand;
}

function halvesByKeys(kernel: AttentionKernel): Halves[] {
  const { batch, queries, keys, valueDepth, out } = kernel;
  if (keys < 2) return [];
  const handed = new Handed(kernel.buffers);
  const first: Results = {
    out,
    logSumExp: kernel.logSumExp ?? handed.vector("log_sum_exp", batch, queries),
  };
  const second: Results = {
    out: out && handed.matrix("partial_out", batch, queries, valueDepth),
    logSumExp: handed.vector("partial_log_sum_exp", batch, queries),
  };
  const middle = middleOf(keys);
  const buffers = withHanded(kernel.buffers, handed.buffers, "write");
  const others = { keys: keys - middle, ...moved(kernel, ["k", "v"], middle) };
  return [{
    name: `keys to ${middle}`,
    kernels: [
      { ...kernel, buffers, keys: middle, ...first },
      { ...kernel, buffers, ...others, ...second },
      weighed({ ...kernel, buffers }, first, second),
    ],
    handed: handed.buffers,
    isAddedUp: true,
  }];
}

/** Both halves' results together, in the place of the first's. */
function weighed(kernel: AttentionKernel, first: Results, second: Results): PlainLoopKernel {
  const { batch, queries, valueDepth } = kernel;
  const rows = [...batch, queries];
  const updated = [first.logSumExp, first.out].flatMap((result) => result?.buffer ?? []);
  const buffers = updating(kernel.buffers, updated);
  return overRows({ ...kernel, buffers }, rows, (row) => {
    const sumPlace = ({ logSumExp }: Results) => rowPlace(row, rows, logSumExp);
    const sumOf = (half: Results) => load(half.logSumExp.buffer, sumPlace(half));
    const weightOf = (half: Results) => unary("exp", binary("sub", sumOf(half), variable("most")));
    const columns = first.out === undefined || second.out === undefined
      ? []
      : [weighedColumns(row, rows, valueDepth, [first.out, second.out])];
    return [
      named("most", binary("max", sumOf(first), sumOf(second))),
      ...WEIGHTS.map((weight, at) => named(weight, weightOf(at === 0 ? first : second))),
      named("total", WEIGHTS.map(variable).reduce((a, b) => binary("add", a, b))),
      ...columns,
      {
        kind: "store",
        buffer: first.logSumExp.buffer,
        index: sumPlace(first).toExpr(),
        value: binary("add", variable("most"), unary("log", variable("total"))),
      },
    ];
  });
}

const WEIGHTS = ["first_weight", "second_weight"] as const;

function weighedColumns(
  row: Index,
  rows: readonly number[],
  columns: number,
  [first, second]: readonly [MatrixOperand, MatrixOperand],
): Statement {
  return eachColumn(columns, (column) => {
    const place = (out: MatrixOperand) =>
      rowPlace(row, rows, out).add(column.scale(out.columnStride));
    const weighed = (out: MatrixOperand, weight: string) =>
      binary("mul", load(out.buffer, place(out)), variable(weight));
    const sum = binary("add", weighed(first, WEIGHTS[0]), weighed(second, WEIGHTS[1]));
    const value = binary("div", sum, variable("total"));
    return { kind: "store", buffer: first.buffer, index: place(first).toExpr(), value };
  });
}

function named(name: string, value: Expr): Statement {
  return { kind: "let", name, value };
}
