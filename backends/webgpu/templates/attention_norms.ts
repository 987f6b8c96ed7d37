/**
 * Norms of rows in attention's kernels. The first dispatches of such a kernel leave each row's mean and
 * one over its deviation in the kernel's workspace, the others normalise rows as they load them; the
 * gradient's leave there what flows back to norms' vectors from each of their tiles of rows, for the
 * last ones to add up. Both are plain loops.
 */
import { flatten, Index, unflatten } from "../../../compiler/index_expr.ts";
import type {
  AttentionGradKernel,
  AttentionKernel,
  BinaryOp,
  ColumnOperand,
  Expr,
  Kernel,
  MatrixOperand,
  RowNorm,
  Statement,
} from "../../../compiler/loop_ir.ts";
import { wholeRange } from "../../../compiler/lower/ranges.ts";
import type { PlainLoopKernel } from "../../../compiler/sizes.ts";
import { emitLoopKernel } from "../wgsl/loop_kernel.ts";
import type { Dispatch, EmitOptions } from "../wgsl/module.ts";
import { sizeOf } from "../wgsl/strides.ts";
import { TILE } from "./attention_division.ts";

type NormedKernel = AttentionKernel | AttentionGradKernel;

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
export function placedNorms(kernel: NormedKernel): PlacedNorms {
  const { queries, keys, depth } = kernel;
  const entries = sizeOf(kernel.batch);
  let elements = 0;
  const reserve = (count: number) => (elements += count) - count;
  const place = (side: "query" | "key"): PlacedNorm | undefined => {
    const norm = kernel[`${side}Norm`];
    if (norm === undefined) return undefined;
    const [operand, rows] = side === "query" ? [kernel.q, queries] : [kernel.k, keys];
    const grad = kernel.kind === "attentionGrad" ? kernel[`${side}NormGrad`] : undefined;
    const tiles = entries * Math.ceil(rows / TILE);
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
export function workspaceOf({ name, buffers }: NormedKernel): number {
  const found = buffers.findIndex((buffer) => buffer.name === WORKSPACE);
  if (found < 0) throw new TypeError(`Kernel ${name} normalises rows, but has no workspace`);
  return found;
}

/** The dispatches that find the statistics of all rows that are normalised. */
export function emitRowStatistics(kernel: NormedKernel, options: EmitOptions): Dispatch[] {
  const { query, key } = placedNorms(kernel);
  return [["queries", query] as const, ["keys", key] as const].flatMap(([what, placed]) =>
    placed === undefined
      ? []
      : emitLoops(kernel, statisticsLoops(kernel, placed), `the statistics of its ${what}`, options)
  );
}

/** The dispatches that add up what flows back to norms' vectors. */
export function emitVectorSums(kernel: AttentionGradKernel, options: EmitOptions): Dispatch[] {
  const { query, key } = placedNorms(kernel);
  return [["query", query] as const, ["key", key] as const].flatMap(([what, placed]) =>
    (placed?.sums ?? []).flatMap((sums) => {
      const loops = sumLoops(kernel, sums, placed?.tiles ?? 0);
      return emitLoops(kernel, loops, `what flows back to the ${what} ${sums.vector}`, options);
    })
  );
}

type Loops = Pick<PlainLoopKernel, "parallel" | "body">;

function emitLoops(
  { name, buffers }: NormedKernel,
  loops: Loops,
  part: string,
  options: EmitOptions,
): Dispatch[] {
  const comment = [...options.comment, "", `Here: ${part}`];
  return emitLoopKernel({ kind: "loops", name, buffers, ...loops }, { ...options, comment });
}

/** For each row: its mean, where that is taken off, and one over its deviation. */
function statisticsLoops(kernel: NormedKernel, placed: PlacedNorm): Loops {
  const { norm: { center, epsilon }, operand, rows, statistics } = placed;
  const { batch, depth } = kernel;
  const shape = [...batch, rows];
  const extent = sizeOf(shape);
  const row = Index.variable("row", extent);
  const strides = [...operand.batchStrides, operand.rowStride];
  const start = unflatten(row, shape)
    .reduce((sum, index, axis) => sum.add(index.scale(strides[axis] ?? 0)), Index.constant(0));
  const index = start.add(Index.variable("column", depth).scale(operand.columnStride))
    .offset(operand.offset).toExpr();
  const x: Expr = { kind: "load", type: "f32", buffer: operand.buffer, index };
  const ofColumns = (name: string, value: Expr): Statement => ({
    kind: "reduce",
    ranges: [wholeRange("column", depth)],
    body: [],
    accumulators: [{ name, type: "f32", op: "sum", value }],
  });
  const mean = binary("div", variable("total"), constant(depth));
  const off = center ? binary("sub", x, variable("mean")) : x;
  const variance = binary("div", variable("squares"), constant(depth));
  const inverse: Expr = {
    kind: "unary",
    op: "rsqrt",
    type: "f32",
    a: binary("add", variance, constant(epsilon)),
  };
  const store = (at: number, value: Expr): Statement => ({
    kind: "store",
    buffer: workspaceOf(kernel),
    index: row.scale(STATISTICS).offset(statistics + at).toExpr(),
    value,
  });
  const middle: readonly Statement[] = center
    ? [
      ofColumns("total", x),
      { kind: "let", name: "mean", value: mean },
      store(0, variable("mean")),
    ]
    : [];
  return {
    parallel: { variable: "row", extent },
    body: [...middle, ofColumns("squares", binary("mul", off, off)), store(1, inverse)],
  };
}

/** For each column: the sum over all tiles. */
function sumLoops(
  kernel: AttentionGradKernel,
  { offset, result }: VectorSums,
  tiles: number,
): Loops {
  const { depth } = kernel;
  const column = Index.variable("column", depth);
  const index = flatten([Index.variable("tile", tiles), column], [tiles, depth]).offset(offset);
  const value: Expr = {
    kind: "load",
    type: "f32",
    buffer: workspaceOf(kernel),
    index: index.toExpr(),
  };
  return {
    parallel: { variable: "all", extent: 1 },
    body: [{
      kind: "loop",
      range: wholeRange("column", depth),
      vectorize: true,
      body: [
        {
          kind: "reduce",
          ranges: [wholeRange("tile", tiles)],
          body: [],
          accumulators: [{ name: "total", type: "f32", op: "sum", value }],
        },
        {
          kind: "store",
          buffer: result.buffer,
          index: column.scale(result.columnStride).offset(result.offset).toExpr(),
          value: variable("total"),
        },
      ],
    }],
  };
}

function variable(name: string): Expr {
  return { kind: "var", type: "f32", name };
}

function constant(value: number): Expr {
  return { kind: "const", type: "f32", value };
}

function binary(op: BinaryOp, a: Expr, b: Expr): Expr {
  return { kind: "binary", op, type: "f32", a, b };
}
