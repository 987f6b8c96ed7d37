/**
 * Norms of rows in attention's kernels. The first dispatches of such a kernel leave each row's mean and
 * one over its deviation in the kernel's workspace, the others normalise rows as they load them; the
 * gradient's leave there what flows back to norms' vectors from each of their tiles of rows, for the
 * last ones to add up. Both are plain loops.
 */
import { flatten, Index } from "../../../compiler/index_expr.ts";
import type {
  AttentionGradKernel,
  ColumnOperand,
  Expr,
  Kernel,
  LoopRange,
  MatrixOperand,
  RowNorm,
  Statement,
} from "../../../compiler/loop_ir.ts";
import { wholeRange } from "../../../compiler/lower/ranges.ts";
import type { PlainLoopKernel } from "../../../compiler/sizes.ts";
import { binary, constant, load, rowPlace, unary, variable } from "../f32_expressions.ts";
import { emitLoopKernel } from "../wgsl/loop_kernel.ts";
import type { Dispatch, EmitOptions } from "../wgsl/module.ts";
import { sizeOf } from "../wgsl/strides.ts";
import { type AnyAttention, NORMED_TILE } from "./attention_division.ts";

/** Name of the buffer that is a kernel's workspace; no buffer of a lowered kernel has spaces in its name. */
export const WORKSPACE = "kernel workspace";

/** Numbers for each row in the workspace: its mean, and one over its deviation. */
export const STATISTICS = 2;

/** What flows back to one of a norm's vectors, a row of sums for each tile of rows. */
export interface VectorSums {
  readonly vector: "scale" | "bias";
  /** In the workspace. */
  readonly offset: number;
  /** Where their total goes. */
  readonly result: ColumnOperand;
}

/** A norm of a kernel, with its places in the workspace. */
export interface PlacedNorm {
  readonly norm: RowNorm;
  readonly operand: MatrixOperand;
  readonly rows: number;
  /** Where the statistics of the first row are, those of all batch entries one after the other. */
  readonly statistics: number;
  readonly sums: readonly VectorSums[];
  /** Tiles of rows, of all batch entries. */
  readonly tiles: number;
}

/** A kernel's norms. */
export interface PlacedNorms {
  readonly query: PlacedNorm | undefined;
  readonly key: PlacedNorm | undefined;
  /** Elements of the workspace: none without norms. */
  readonly elements: number;
}

/** The kernel's norms, and where in the workspace they have what. */
export function placedNorms(kernel: AnyAttention): PlacedNorms {
  const { queries, keys, depth } = kernel;
  const entries = sizeOf(kernel.batch);
  let elements = 0;
  const reserve = (count: number) => (elements += count) - count;
  const place = (side: "query" | "key"): PlacedNorm | undefined => {
    const norm = kernel[`${side}Norm`];
    if (norm === undefined) return undefined;
    const [operand, rows] = side === "query" ? [kernel.q, queries] : [kernel.k, keys];
    const grad = kernel.kind === "attentionGrad" ? kernel[`${side}NormGrad`] : undefined;
    const tiles = entries * Math.ceil(rows / NORMED_TILE.size);
    const statistics = reserve(STATISTICS * entries * rows);
    const sums = (["scale", "bias"] as const).flatMap((vector) => {
      const result = grad?.[vector];
      return result === undefined ? [] : [{ vector, offset: reserve(tiles * depth), result }];
    });
    return { norm, operand, rows, statistics, sums, tiles };
  };
  const [query, key] = [place("query"), place("key")];
  // Without rows there are still sums, which are zero.
  return { query, key, elements: query || key ? Math.max(elements, 1) : 0 };
}

/** Elements of the workspace that a kernel's dispatches share. */
export function workspaceElements(kernel: Kernel): number {
  if (kernel.kind !== "attention" && kernel.kind !== "attentionGrad") return 0;
  return placedNorms(kernel).elements;
}

/**
 * Which of the kernel's buffers is its workspace.
 *
 * @throws {TypeError} When it has none.
 */
export function workspaceOf({ name, buffers }: AnyAttention): number {
  const found = buffers.findIndex((buffer) => buffer.name === WORKSPACE);
  if (found < 0) throw new TypeError(`Kernel ${name} normalises rows, but has no workspace`);
  return found;
}

/** The dispatches that find the statistics of all rows that are normalised. */
export function emitRowStatistics(kernel: AnyAttention, options: EmitOptions): Dispatch[] {
  const { query, key } = placedNorms(kernel);
  const norms = [query, key].filter((norm) => norm !== undefined);
  return groupsOf(norms, ({ rows }) => rows).flatMap(([rows, group]) => {
    const extent = sizeOf(kernel.batch) * rows;
    const body = group.flatMap((placed, at) => rowStatistics(kernel, placed, at));
    const loops = { parallel: { variable: "row", extent }, body };
    return emitLoops(kernel, loops, "the statistics of rows", options);
  });
}

/** The dispatches that add up what flows back to norms' vectors. */
export function emitVectorSums(kernel: AttentionGradKernel, options: EmitOptions): Dispatch[] {
  const { query, key } = placedNorms(kernel);
  const norms = [query, key].filter((norm) => norm !== undefined);
  const wanted = norms.filter(({ sums }) => sums.length > 0);
  return groupsOf(wanted, ({ tiles }) => tiles).flatMap(([tiles, group]) => {
    const loops = totals(kernel, group.flatMap(({ sums }) => sums), tiles);
    return emitLoops(kernel, loops, "the sums for norms' vectors, over all tiles of rows", options);
  });
}

/** Norms by a count: those of which there is equally much to compute share a dispatch. */
function groupsOf(
  norms: readonly PlacedNorm[],
  count: (norm: PlacedNorm) => number,
): (readonly [count: number, norms: readonly PlacedNorm[]])[] {
  return [...new Set(norms.map(count))].map((each) =>
    [each, norms.filter((norm) => count(norm) === each)] as const
  );
}

type Loops = Pick<PlainLoopKernel, "parallel" | "body">;

function emitLoops(
  { name, buffers }: AnyAttention,
  loops: Loops,
  part: string,
  options: EmitOptions,
): Dispatch[] {
  const comment = [...options.comment, "", `Here: ${part}`];
  return emitLoopKernel({ kind: "loops", name, buffers, ...loops }, { ...options, comment });
}

/** Of the variable's row: its mean, where that is taken off, and one over its deviation. */
function rowStatistics(kernel: AnyAttention, placed: PlacedNorm, at: number): Statement[] {
  const { norm: { center, epsilon }, operand, rows, statistics } = placed;
  const { batch, depth } = kernel;
  const shape = [...batch, rows];
  const row = Index.variable("row", sizeOf(shape));
  const start = rowPlace(row, shape, operand);
  const column = Index.variable("column", depth).scale(operand.columnStride);
  const x = load(operand.buffer, start.add(column));
  const [total, mean, squares] = ["total", "mean", "squares"].map((word) => `${word}${at}`) as [
    string,
    string,
    string,
  ];
  const off = center ? binary("sub", x, variable(mean)) : x;
  const variance = binary("div", variable(squares), constant(depth));
  const inverse = unary("rsqrt", binary("add", variance, constant(epsilon)));
  const store = (at: number, value: Expr): Statement => ({
    kind: "store",
    buffer: workspaceOf(kernel),
    index: row.scale(STATISTICS).offset(statistics + at).toExpr(),
    value,
  });
  const columns = wholeRange("column", depth);
  const middle: readonly Statement[] = [
    sumOver(columns, [[total, x]]),
    { kind: "let", name: mean, value: binary("div", variable(total), constant(depth)) },
    store(0, variable(mean)),
  ];
  return [
    ...(center ? middle : []),
    sumOver(columns, [[squares, binary("mul", off, off)]]),
    store(1, inverse),
  ];
}

/** For each column: the sums over all tiles. */
function totals(kernel: AttentionGradKernel, sums: readonly VectorSums[], tiles: number): Loops {
  const { depth } = kernel;
  const column = Index.variable("column", depth);
  const place = flatten([Index.variable("tile", tiles), column], [tiles, depth]);
  const added = sums.map(({ offset }, at) =>
    [`total${at}`, load(workspaceOf(kernel), place.offset(offset))] as const
  );
  const stores = sums.map(({ result: { buffer, offset, columnStride } }, at): Statement => ({
    kind: "store",
    buffer,
    index: column.scale(columnStride).offset(offset).toExpr(),
    value: variable(`total${at}`),
  }));
  const body = [sumOver(wholeRange("tile", tiles), added), ...stores];
  const range = wholeRange("column", depth);
  return {
    parallel: { variable: "all", extent: 1 },
    body: [{ kind: "loop", range, vectorize: true, body }],
  };
}

function sumOver(
  range: LoopRange,
  sums: readonly (readonly [name: string, value: Expr])[],
): Statement {
  return {
    kind: "reduce",
    ranges: [range],
    body: [],
    accumulators: sums.map(([name, value]) => ({ name, type: "f32", op: "sum", value })),
  };
}
