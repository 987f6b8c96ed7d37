/**
 * Loop IR: the program's kernels, as loops over flat buffers. A kernel holds any number of loops,
 * reductions and stores, so that a norm, a softmax or a loss is one kernel. Beside loops there are
 * three named templates (matmul, attention and its gradient), which a backend writes by hand.
 *
 * Every kernel's outermost loop is the parallel one. Its iterations are independent, and what one
 * computes does not depend on which thread runs it: so results do not depend on the thread count.
 *
 * All indices count elements, not bytes, and are never negative.
 */
import type { DType } from "../graph/dtype.ts";
import type { BinaryOp, UnaryOp } from "./scalar_ops.ts";

export type { BinaryOp, UnaryOp } from "./scalar_ops.ts";

/** Types that arithmetic is done in. Storage types are converted on load and on store. */
export type ScalarType = "f32" | "i32" | "u32" | "bool";

/** A pure scalar expression. Loads are from buffers that the kernel does not write elsewhere. */
export type Expr =
  | { readonly kind: "const"; readonly type: ScalarType; readonly value: number }
  | { readonly kind: "var"; readonly type: ScalarType; readonly name: string }
  | { readonly kind: "unary"; readonly op: UnaryOp; readonly type: ScalarType; readonly a: Expr }
  | {
    readonly kind: "binary";
    readonly op: BinaryOp;
    /** Type of the result; a comparison's is `bool`. The operands have one type, `a.type`. */
    readonly type: ScalarType;
    readonly a: Expr;
    readonly b: Expr;
  }
  | {
    /** Both branches may be evaluated. */
    readonly kind: "select";
    readonly type: ScalarType;
    readonly condition: Expr;
    readonly a: Expr;
    readonly b: Expr;
  }
  | {
    /** Only the branch that the condition picks may be evaluated: it may load out of bounds. */
    readonly kind: "guarded";
    readonly type: ScalarType;
    readonly condition: Expr;
    readonly a: Expr;
    readonly b: Expr;
  }
  /**
   * Conversion by value. f32 to whole numbers truncates and saturates, NaN gives 0; anything to
   * `bool` is "not zero".
   */
  | { readonly kind: "cast"; readonly type: ScalarType; readonly a: Expr }
  /** f32 rounded to the nearest (ties to even) value of a storage type, kept as f32. */
  | {
    readonly kind: "roundTo";
    readonly type: "f32";
    readonly storage: "f16" | "bf16";
    readonly a: Expr;
  }
  /** The same 32 bits as another type. */
  | { readonly kind: "bitcast"; readonly type: ScalarType; readonly a: Expr }
  /** An element of a buffer, converted from its storage type (f16 and bf16 load as f32). */
  | {
    readonly kind: "load";
    readonly type: ScalarType;
    readonly buffer: number;
    readonly index: Expr;
  }
  /** Threefry-2x32 with 20 rounds over (counter0, counter1) under (key0, key1); all u32. */
  | {
    readonly kind: "threefry";
    readonly type: "u32";
    /** Which word of the result: the first, the second, or the two xor-ed. */
    readonly word: "first" | "second" | "xor";
    readonly key0: Expr;
    readonly key1: Expr;
    readonly counter0: Expr;
    readonly counter1: Expr;
  };

/** How an accumulator folds values in. `argmax` keeps the flat index of the first largest. */
export type CombineOp = "sum" | "max" | "min" | "argmax";

/** One value folded over a reduction's loops; its name is a variable afterwards. */
export interface Accumulator {
  readonly name: string;
  /** Type of the result (i32 for argmax, whose values are f32). */
  readonly type: ScalarType;
  readonly op: CombineOp;
  readonly value: Expr;
}

/** A counted loop's header: `variable` runs from `start` (inclusive) to `end` (exclusive). */
export interface LoopRange {
  readonly variable: string;
  readonly start: Expr;
  readonly end: Expr;
}

/** A statement. */
export type Statement =
  | { readonly kind: "let"; readonly name: string; readonly value: Expr }
  | { readonly kind: "store"; readonly buffer: number; readonly index: Expr; readonly value: Expr }
  /** `buffer[index] += value`, in order. */
  | {
    readonly kind: "accumulate";
    readonly buffer: number;
    readonly index: Expr;
    readonly value: Expr;
  }
  | {
    readonly kind: "loop";
    readonly range: LoopRange;
    /** Iterations are independent, so that several may run at once. */
    readonly vectorize: boolean;
    readonly body: readonly Statement[];
  }
  /**
   * Nested loops (outermost first) that fold values. `body` holds `let`s, and stores to scratch
   * buffers, evaluated in each innermost iteration before the accumulators' values. The order of
   * summation within a reduction is the backend's, but always the same.
   */
  | {
    readonly kind: "reduce";
    readonly ranges: readonly LoopRange[];
    readonly body: readonly Statement[];
    readonly accumulators: readonly Accumulator[];
  };

/**
 * A count: a number, or the name of one of a kernel's sizes, which is another number for each member
 * of a step.
 */
export type Size = number | string;

/** A buffer as a kernel of loops sees it: see {@linkcode KernelBuffer}. */
export interface LoopBuffer extends Omit<KernelBuffer, "elements"> {
  /** Length in elements; scratch has a number. */
  readonly elements: Size;
}

/** A buffer as a kernel sees it. The same memory is never bound twice to one kernel when written. */
export interface KernelBuffer {
  readonly name: string;
  readonly dtype: DType;
  /** Length in elements. */
  readonly elements: number;
  /**
   * `scratch` is private to the thread and to one parallel iteration; it is not bound by the
   * program. `update` is read and written at the same index only.
   */
  readonly access: "read" | "write" | "update" | "scratch";
}

/**
 * Kernel made of loops.
 *
 * With `sizes` it is a family of kernels that differ in numbers alone: each member of a step that
 * runs it brings the sizes' values ({@linkcode StepMember} in program.ts), and in `body` they are i32
 * variables. {@linkcode withSizes} gives the plain kernel of one member.
 */
export interface LoopKernel {
  readonly kind: "loops";
  readonly name: string;
  readonly buffers: readonly LoopBuffer[];
  /** Names of the sizes; none when left out. */
  readonly sizes?: readonly string[];
  readonly parallel: { readonly variable: string; readonly extent: Size };
  readonly body: readonly Statement[];
}

/** One axis of a matmul's result. */
export interface MatmulAxis {
  /** Name of the variable that the epilogue sees. */
  readonly variable: string;
  readonly extent: number;
}

/** Where a matmul's or an attention's operand starts. */
export interface OperandBase {
  readonly buffer: number;
  /** Elements before the first. */
  readonly offset: number;
}

/**
 * One side of a product of matrices: a strided view of an f32 buffer. Strides count elements and may
 * be anything; where the operand has no such axis the stride is 0.
 */
export interface MatmulOperand extends OperandBase {
  /** One stride for each of the part's batch axes. */
  readonly batchStrides: readonly number[];
  /** One for each of the part's m axes on the left side of the product, n axes on the right. */
  readonly freeStrides: readonly number[];
  /** One for each of the term's k axes. */
  readonly kStrides: readonly number[];
}

/** One product of matrices. */
export interface MatmulTerm {
  /** `[batch..., m..., k...]` */
  readonly a: MatmulOperand;
  /** `[batch..., k..., n...]` */
  readonly b: MatmulOperand;
  /** Extents of the axes that are summed over, outermost first; one without elements gives zero. */
  readonly k: readonly number[];
}

/**
 * One result of a matmul kernel:
 * `acc[batch, m, n] = sum over terms of sum over k of a[batch, m, k] * b[batch, k, n]`, all f32, then
 * the epilogue. Axes are listed outermost first.
 *
 * The epilogue's statements (`let` and `store`) see the axes' variables (i32) and `acc` (f32), and
 * run once for every (batch, m, n). Its stores are at affine indices.
 */
export interface MatmulPart {
  readonly batch: readonly MatmulAxis[];
  readonly m: readonly MatmulAxis[];
  readonly n: readonly MatmulAxis[];
  /** At least one. */
  readonly terms: readonly MatmulTerm[];
  readonly epilogue: readonly Statement[];
}

/**
 * Products of matrices. Its parts run side by side, in no order: no element that one of them stores is
 * read or stored by another. So the contractions that one value feeds (queries, keys, values) are
 * parts of one kernel, and contractions that are added up (what flows back into that value) are terms
 * of one part.
 */
export interface MatmulKernel {
  readonly kind: "matmul";
  readonly name: string;
  readonly buffers: readonly KernelBuffer[];
  /** At least one. */
  readonly parts: readonly MatmulPart[];
}

/** A strided [batch..., rows, columns] view of a buffer. */
export interface MatrixOperand extends OperandBase {
  /** Elements between neighbours along each batch axis. */
  readonly batchStrides: readonly number[];
  readonly rowStride: number;
  readonly columnStride: number;
}

/** A strided [batch..., rows] view of a buffer. */
export interface VectorOperand extends OperandBase {
  readonly batchStrides: readonly number[];
  readonly rowStride: number;
}

/** A strided [columns] view of a buffer. */
export interface ColumnOperand extends OperandBase {
  readonly columnStride: number;
}

/**
 * A norm of every row `x` of an operand, over its columns, all f32:
 * `(x - mean(x)) / sqrt(variance(x) + epsilon) * scale + bias`, where the variance is the mean of
 * `(x - mean(x))^2`. Without `center`, 0 stands for the mean in both places.
 */
export interface RowNorm {
  /** Whether the mean is taken off: a layer norm, else a root-mean-square norm. */
  readonly center: boolean;
  /** Not negative. */
  readonly epsilon: number;
  /** Factors of the columns, the same for all rows of all batch entries; 1 where absent. */
  readonly scale: ColumnOperand | undefined;
  /** Added to the columns, the same for all rows of all batch entries; 0 where absent. */
  readonly bias: ColumnOperand | undefined;
}

/** Results for a norm's vectors, summed over all rows of all batch entries. Either may be absent. */
export interface RowNormGrad {
  /** `sum over rows of dy * y`, with `y` the row normalised but not scaled, `dy` its cotangent. */
  readonly scale: ColumnOperand | undefined;
  /** `sum over rows of dy`. */
  readonly bias: ColumnOperand | undefined;
}

/** What attention and its gradient share. */
export interface AttentionShape {
  /** Extents of the batch axes (batch, heads, ...). */
  readonly batch: readonly number[];
  readonly queries: number;
  readonly keys: number;
  /** Columns of q and k. */
  readonly depth: number;
  /** Columns of v and of the output. */
  readonly valueDepth: number;
  /** Factor on q k^T. */
  readonly scale: number;
  /** The norm that q's rows go through as they are loaded; `q` stands for the normalised rows. */
  readonly queryNorm: RowNorm | undefined;
  /** The same for k's rows. */
  readonly keyNorm: RowNorm | undefined;
}

/**
 * `out = softmax(scale * q k^T) v`, and `logSumExp[row] = log sum exp(scale * q k^T)[row]`, all f32.
 * Either result may be absent. The [queries, keys] matrix is never stored whole. Where there are
 * norms, `q` and `k` in these formulas are normalised, and the buffers hold what they are made of.
 */
export interface AttentionKernel extends AttentionShape {
  readonly kind: "attention";
  readonly name: string;
  readonly buffers: readonly KernelBuffer[];
  readonly q: MatrixOperand;
  readonly k: MatrixOperand;
  readonly v: MatrixOperand | undefined;
  readonly out: MatrixOperand | undefined;
  readonly logSumExp: VectorOperand | undefined;
}

/**
 * The gradient: probabilities are recomputed from `logSumExp`. With `P = exp(scale q k^T - lse)`,
 * `dP = dOut v^T`, `delta = rowsum(dOut * out)`, `dS = scale * P * (dP - delta)`:
 * `dq = dS k`, `dk = dS^T q`, `dv = P^T dOut`. Any of the results may be absent.
 *
 * Where there are norms, `q` and `k` in these formulas are normalised, and `dq` and `dk` are stored as
 * the cotangents of what they are made of: with `x` a row of that, `y` normalised but not scaled,
 * `dy` a row of `dS k` or `dS^T q`, `h = dy * norm.scale`, and `deviation = sqrt(variance(x) +
 * epsilon)`, the row is `(h - mean(h) - y * mean(h * y)) / deviation`, without centring
 * `(h - y * mean(h * y)) / deviation`.
 */
export interface AttentionGradKernel extends AttentionShape {
  readonly kind: "attentionGrad";
  readonly name: string;
  readonly buffers: readonly KernelBuffer[];
  readonly q: MatrixOperand;
  readonly k: MatrixOperand;
  readonly v: MatrixOperand;
  readonly out: MatrixOperand;
  readonly logSumExp: VectorOperand;
  readonly outCotangent: MatrixOperand;
  readonly dq: MatrixOperand | undefined;
  readonly dk: MatrixOperand | undefined;
  readonly dv: MatrixOperand | undefined;
  /** What flows back to the vectors of `queryNorm`; absent where there is no such norm. */
  readonly queryNormGrad: RowNormGrad | undefined;
  /** The same for `keyNorm`. */
  readonly keyNormGrad: RowNormGrad | undefined;
}

/** Anything a program may run. */
export type Kernel = LoopKernel | MatmulKernel | AttentionKernel | AttentionGradKernel;
