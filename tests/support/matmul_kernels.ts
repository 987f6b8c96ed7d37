/** Matmul kernels of all sizes, layouts and epilogues, made by hand. */
import type {
  Expr,
  KernelBuffer,
  MatmulAxis,
  MatmulKernel,
  MatmulOperand,
  MatmulPart,
  Statement,
} from "../../compiler/loop_ir.ts";
import fc from "./fast_check.ts";

/** How an operand lies in memory: the order of its axes, outermost first, and elements left out. */
export interface OperandShape {
  readonly order: readonly number[];
  /** Elements between the end of an axis and the next step of the one around it. */
  readonly gap: number;
  readonly offset: number;
}

/** A product of matrices whose result has the part's axes. */
export interface TermSpec {
  readonly k: readonly number[];
  /** Which operand stays put along each batch axis. */
  readonly still: readonly ("A" | "B" | "none")[];
  readonly a: OperandShape;
  readonly b: OperandShape;
}

/** A part of a kernel. */
export interface PartSpec {
  readonly batch: readonly number[];
  readonly m: readonly number[];
  readonly n: readonly number[];
  readonly terms: readonly TermSpec[];
  readonly epilogue: EpilogueKind;
}

/** Strides for `extents` in this order; `undefined` extents are axes that the operand lacks. */
function strides(
  extents: readonly (number | undefined)[],
  { order, gap }: OperandShape,
): { readonly strides: number[]; readonly elements: number } {
  const result = extents.map(() => 0);
  let step = 1;
  const wanted = order.filter((axis) => axis < extents.length);
  for (let axis = 0; axis < extents.length; axis++) if (!wanted.includes(axis)) wanted.push(axis);
  for (const axis of wanted.reverse()) {
    const extent = extents[axis];
    if (extent === undefined) continue;
    result[axis] = step;
    step = step * extent + gap;
  }
  return { strides: result, elements: step };
}

/** What becomes of a sum. */
export type EpilogueKind = "plain" | "biasGelu" | "residualAndSum" | "transposed";

/** A kernel of these parts, each operand and result in a buffer of its own. */
export function matmul(...parts: readonly PartSpec[]): MatmulKernel {
  const buffers: KernelBuffer[] = [];
  const made = parts.map((part, index) => partOf(part, index, buffers));
  return { kind: "matmul", name: "matmul", parts: made, buffers };
}

function partOf(spec: PartSpec, index: number, buffers: KernelBuffer[]): MatmulPart {
  const extents = [...spec.batch, ...spec.m, ...spec.n];
  const axes = extents.map((extent, at): MatmulAxis => ({ variable: `x${at}`, extent }));
  const [batchEnd, mEnd] = [spec.batch.length, spec.batch.length + spec.m.length];
  return {
    batch: axes.slice(0, batchEnd),
    m: axes.slice(batchEnd, mEnd),
    n: axes.slice(mEnd),
    terms: spec.terms.map((term) => ({
      k: term.k,
      a: operandOf("A", spec, term, index, buffers),
      b: operandOf("B", spec, term, index, buffers),
    })),
    epilogue: epilogueOf(spec.epilogue, axes, index, buffers),
  };
}

/** One side of a term, in a buffer of its own. */
function operandOf(
  side: "A" | "B",
  { batch, m, n }: PartSpec,
  { k, still, a, b }: TermSpec,
  part: number,
  buffers: KernelBuffer[],
): MatmulOperand {
  const [free, shape] = side === "A" ? [m, a] : [n, b];
  const moving = batch.map((extent, at) => still[at] === side ? undefined : extent);
  const layout = strides([...moving, ...free, ...k], shape);
  const [freeStart, kStart] = [batch.length, batch.length + free.length];
  const elements = shape.offset + layout.elements;
  return {
    buffer: buffers.push({ name: `${part} ${side}`, dtype: "f32", elements, access: "read" }) - 1,
    offset: shape.offset,
    batchStrides: layout.strides.slice(0, freeStart),
    freeStrides: layout.strides.slice(freeStart, kStart),
    kStrides: layout.strides.slice(kStart),
  };
}

const variable = (name: string, type: "i32" | "f32" = "i32"): Expr => ({ kind: "var", type, name });
const whole = (value: number): Expr => ({ kind: "const", type: "i32", value });
const real = (value: number): Expr => ({ kind: "const", type: "f32", value });
const binary = (op: "add" | "mul", a: Expr, b: Expr): Expr => ({
  kind: "binary",
  op,
  type: a.type,
  a,
  b,
});

/** The flat index of the axes' variables, row-major. */
function flatIndex(axes: readonly MatmulAxis[]): Expr {
  return axes.reduce<Expr>(
    (flat, axis) => binary("add", binary("mul", flat, whole(axis.extent)), variable(axis.variable)),
    whole(0),
  );
}

function epilogueOf(
  kind: EpilogueKind,
  axes: readonly MatmulAxis[],
  part: number,
  buffers: KernelBuffer[],
): Statement[] {
  const elements = axes.reduce((total, { extent }) => total * extent, 1);
  const declare = (name: string, access: "read" | "write" | "update", length = elements) =>
    buffers.push({ name: `${part} ${name}`, dtype: "f32", elements: length, access }) - 1;
  const acc = variable("acc", "f32");
  const store = (buffer: number, index: Expr, value: Expr): Statement => ({
    kind: "store",
    buffer,
    index,
    value,
  });
  const load = (buffer: number, index: Expr): Expr => ({
    kind: "load",
    type: "f32",
    buffer,
    index,
  });
  const flat = flatIndex(axes);
  switch (kind) {
    case "plain":
      return [store(declare("out", "write"), flat, acc)];
    case "transposed":
      return [store(declare("out", "write"), flatIndex([...axes].reverse()), acc)];
    case "biasGelu": {
      const last = axes.at(-1);
      const bias = declare("bias", "read", last?.extent ?? 1);
      const biased = binary("add", acc, load(bias, last ? variable(last.variable) : whole(0)));
      const x = variable("x", "f32");
      const erf: Expr = {
        kind: "unary",
        op: "erf",
        type: "f32",
        a: binary("mul", x, real(Math.SQRT1_2)),
      };
      const gelu = binary("mul", binary("mul", x, real(0.5)), binary("add", erf, real(1)));
      return [
        { kind: "let", name: "x", value: biased },
        store(declare("before", "write"), flat, x),
        store(declare("out", "write"), flat, gelu),
      ];
    }
    case "residualAndSum": {
      const residual = declare("residual", "read");
      const out = declare("out", "update");
      return [
        store(out, flat, binary("add", load(out, flat), binary("add", acc, load(residual, flat)))),
      ];
    }
  }
}

/** Row-major. */
export const PLAIN: OperandShape = { order: [0, 1, 2], gap: 0, offset: 0 };
/** Column-major, not at the buffer's start. */
export const TURNED: OperandShape = { order: [6, 5, 4, 3, 2, 1, 0], gap: 0, offset: 2 };

/** A term that sums over `k`. */
export function product(k: readonly number[], a = PLAIN, b = PLAIN): TermSpec {
  return { k, still: [], a, b };
}

/** Numbers that look random, the same in every run. */
export function noise(buffer: number, element: number): number {
  const bits = Math.imul(element + 1, 0x9e3779b1) ^ Math.imul(buffer + 1, 0x85ebca6b);
  return (Math.imul(bits ^ (bits >>> 15), 0x2c1b3c6d) >>> 8) / 2 ** 24 - 0.5;
}

/** The size of a part's sums of products of {@linkcode noise}, whose square is 1/12 on average. */
export function typicalSum({ terms }: MatmulPart): number {
  const lengths = terms.map(({ k }) => k.reduce((total, extent) => total * extent, 1));
  return Math.sqrt(lengths.reduce((sum, length) => sum + length, 0)) / 12;
}

function workOf({ batch, m, n, terms }: PartSpec): number {
  const outputs = [...batch, ...m, ...n].reduce((total, extent) => total * extent, 1);
  return terms.reduce(
    (sum, { k }) => sum + k.reduce((total, extent) => total * extent, outputs),
    0,
  );
}

const operandShape = fc.record({
  order: fc.shuffledSubarray([0, 1, 2, 3, 4, 5, 6], { minLength: 7 }),
  gap: fc.constantFrom(0, 0, 0, 1, 4),
  offset: fc.integer({ min: 0, max: 9 }),
});

const small = fc.oneof(fc.integer({ min: 1, max: 9 }), fc.constantFrom(16, 20, 33));
const medium = fc.oneof(fc.integer({ min: 1, max: 40 }), fc.constantFrom(64, 100, 250));
const axisExtents = fc.oneof(
  fc.tuple(medium),
  fc.tuple(small, small),
  fc.constant([] as number[]),
);
const epilogues = fc.constantFrom<EpilogueKind>(
  "plain",
  "biasGelu",
  "residualAndSum",
  "transposed",
);
const stillSide = fc.constantFrom("A", "B", "none");
const term = fc.record({
  k: fc.oneof(axisExtents, fc.constantFrom([500], [13, 40], [0])),
  still: fc.tuple(stillSide, stillSide),
  a: operandShape,
  b: operandShape,
});
const part = fc.record({
  batch: fc.oneof(
    fc.constant([] as number[]),
    fc.tuple(fc.integer({ min: 1, max: 4 })),
    fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 3 })),
  ),
  m: axisExtents,
  n: axisExtents,
  terms: fc.oneof(
    { weight: 2, arbitrary: fc.array(term, { minLength: 1, maxLength: 1 }) },
    { weight: 1, arbitrary: fc.array(term, { minLength: 2, maxLength: 3 }) },
  ),
  epilogue: epilogues,
}).filter((part) => workOf(part) < 4e6);
/** Parts of one kernel. */
export const matmulParts = fc.oneof(
  { weight: 2, arbitrary: fc.tuple(part) },
  { weight: 1, arbitrary: fc.array(part, { minLength: 2, maxLength: 4 }) },
).filter((parts) => parts.reduce((sum, part) => sum + workOf(part), 0) < 4e6);
