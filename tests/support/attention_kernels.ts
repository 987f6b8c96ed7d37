/** Attention kernels of all sizes and layouts, made by hand. */
import type {
  AttentionGradKernel,
  AttentionKernel,
  ColumnOperand,
  KernelBuffer,
  MatrixOperand,
  RowNorm,
  RowNormGrad,
} from "../../compiler/loop_ir.ts";
import fc from "./fast_check.ts";

/** How a stack of matrices lies: [batch, rows, heads, columns], batch and heads outermost, or turned. */
export type MatrixLayout = "tokens" | "heads" | "transposed";

/** Which norm, and which of its vectors there are. */
export interface NormForm {
  readonly center: boolean;
  readonly scale: boolean;
  readonly bias: boolean;
}

/** What the forward and the backward kernel are made from. */
export interface AttentionForm {
  readonly size: Readonly<
    Record<"batch" | "heads" | "queries" | "keys" | "depth" | "valueDepth", number>
  >;
  readonly layouts: readonly [MatrixLayout, MatrixLayout, MatrixLayout, MatrixLayout];
  /** Elements before the first of some operands. */
  readonly offset: number;
  readonly scale: number;
  readonly queryNorm: NormForm | undefined;
  readonly keyNorm: NormForm | undefined;
}

type Access = "read" | "write";

/** Buffers, and operands that lie in them. */
class Buffers {
  readonly declared: KernelBuffer[] = [];
  readonly #form: AttentionForm;

  constructor(form: AttentionForm) {
    this.#form = form;
  }

  matrix(
    name: string,
    access: Access,
    [rows, columns]: readonly [number, number],
    layout: MatrixLayout,
    offset = this.#form.offset,
  ): MatrixOperand {
    const { batch, heads } = this.#form.size;
    const strides = {
      tokens: { batchStrides: [rows * heads * columns, columns], rowStride: heads * columns },
      heads: { batchStrides: [heads * rows * columns, rows * columns], rowStride: columns },
      transposed: { batchStrides: [heads * rows * columns, rows * columns], rowStride: 1 },
    }[layout];
    const buffer = this.#declare(name, access, offset + batch * heads * rows * columns);
    return { buffer, offset, ...strides, columnStride: layout === "transposed" ? rows : 1 };
  }

  norm(name: string, form: NormForm | undefined): RowNorm | undefined {
    return form && {
      center: form.center,
      epsilon: 1e-3,
      ...this.#vectors(name, form, "read"),
    };
  }

  normGrad(name: string, form: NormForm | undefined): RowNormGrad | undefined {
    return form && this.#vectors(`${name}Grad`, form, "write");
  }

  /** Vectors of q's columns, each second element of their buffers. */
  #vectors(name: string, form: NormForm, access: Access): RowNormGrad {
    const { depth } = this.#form.size;
    const vector = (kind: "scale" | "bias"): ColumnOperand | undefined => {
      if (!form[kind]) return undefined;
      const buffer = this.#declare(`${name}_${kind}`, access, 2 * depth);
      return { buffer, offset: 1, columnStride: depth === 1 ? 1 : 2 };
    };
    return { scale: vector("scale"), bias: vector("bias") };
  }

  #declare(name: string, access: Access, elements: number): number {
    this.declared.push({ name, dtype: "f32", elements, access });
    return this.declared.length - 1;
  }
}

function sizesOf({ size: { batch, heads, ...size }, scale }: AttentionForm) {
  return { batch: [batch, heads], ...size, scale };
}

/** The forward kernel, with one of its results or both. */
export function attentionKernel(
  form: AttentionForm,
  outputs: "both" | "out" | "logSumExp",
): AttentionKernel {
  const { queries, keys, depth, valueDepth } = form.size;
  const [first, second, third, fourth] = form.layouts;
  const buffers = new Buffers(form);
  const withOut = outputs !== "logSumExp";
  const operands = {
    q: buffers.matrix("q", "read", [queries, depth], first),
    k: buffers.matrix("k", "read", [keys, depth], second, 0),
    v: withOut ? buffers.matrix("v", "read", [keys, valueDepth], third) : undefined,
    out: withOut ? buffers.matrix("out", "write", [queries, valueDepth], fourth) : undefined,
    logSumExp: outputs === "out"
      ? undefined
      : buffers.matrix("logSumExp", "write", [queries, 1], "heads", 0),
    queryNorm: buffers.norm("queryNorm", form.queryNorm),
    keyNorm: buffers.norm("keyNorm", form.keyNorm),
  };
  return {
    kind: "attention",
    name: "attention",
    buffers: buffers.declared,
    ...sizesOf(form),
    valueDepth: withOut ? valueDepth : 0,
    ...operands,
  };
}

/** Which of the gradient's results are wanted: those of the operands, and of the norms' vectors. */
export type WantedGradients = Readonly<Record<"q" | "k" | "v" | "norms", boolean>>;

/** The backward kernel. */
export function attentionGradKernel(
  form: AttentionForm,
  wanted: WantedGradients,
): AttentionGradKernel {
  const { queries, keys, depth, valueDepth } = form.size;
  const [first, second, third, fourth] = form.layouts;
  const buffers = new Buffers(form);
  const operands = {
    q: buffers.matrix("q", "read", [queries, depth], first),
    k: buffers.matrix("k", "read", [keys, depth], second),
    v: buffers.matrix("v", "read", [keys, valueDepth], third),
    out: buffers.matrix("out", "read", [queries, valueDepth], fourth),
    logSumExp: buffers.matrix("logSumExp", "read", [queries, 1], "heads"),
    outCotangent: buffers.matrix("outCotangent", "read", [queries, valueDepth], first),
    queryNorm: buffers.norm("queryNorm", form.queryNorm),
    keyNorm: buffers.norm("keyNorm", form.keyNorm),
    dq: wanted.q ? buffers.matrix("dq", "write", [queries, depth], second) : undefined,
    dk: wanted.k ? buffers.matrix("dk", "write", [keys, depth], third) : undefined,
    dv: wanted.v ? buffers.matrix("dv", "write", [keys, valueDepth], fourth) : undefined,
    queryNormGrad: wanted.norms ? buffers.normGrad("queryNorm", form.queryNorm) : undefined,
    keyNormGrad: wanted.norms ? buffers.normGrad("keyNorm", form.keyNorm) : undefined,
  };
  return {
    kind: "attentionGrad",
    name: "attentionGrad",
    buffers: buffers.declared,
    ...sizesOf(form),
    ...operands,
  };
}

const layout = fc.constantFrom<MatrixLayout>("tokens", "heads", "transposed");
const normForm = fc.record({ center: fc.boolean(), scale: fc.boolean(), bias: fc.boolean() });

/**
 * Forms of all kinds; norms only where they are asked for, and then of at least six columns: of fewer,
 * what a norm's gradient leaves is little beside what it takes away, and so beside rounding errors.
 */
export function attentionForms(norms: boolean): fc.Arbitrary<AttentionForm> {
  const small = fc.integer({ min: 1, max: 20 });
  const norm = norms ? fc.option(normForm, { nil: undefined }) : fc.constant(undefined);
  return fc.record({
    size: fc.record({
      batch: fc.integer({ min: 1, max: 3 }),
      heads: fc.integer({ min: 1, max: 3 }),
      queries: fc.oneof(small, fc.constantFrom(75, 100, 197)),
      keys: fc.oneof(small, fc.constantFrom(50, 197, 321, 700)),
      depth: fc.oneof(
        norms ? fc.integer({ min: 6, max: 20 }) : small,
        fc.constantFrom(32, 38, 64, 123),
      ),
      valueDepth: fc.oneof(small, fc.constantFrom(32, 64)),
    }),
    layouts: fc.tuple(layout, layout, layout, layout),
    offset: fc.integer({ min: 0, max: 5 }),
    // With a bias, normalised rows are longer; the exponential turns a score's error into its own.
    scale: norms ? fc.constantFrom(0.125, 0.25, -0.25) : fc.constantFrom(0.125, 1, -0.5),
    queryNorm: norm,
    keyNorm: norm,
  });
}
