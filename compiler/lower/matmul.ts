/** Lowers a contraction, with the elementwise ops that joined it as its epilogue, to the template. */
import type { Node } from "../../graph/node.ts";
import { staticShape } from "../../graph/shape.ts";
import { flatten, Index } from "../index_expr.ts";
import type { Expr, MatmulAxis, Statement } from "../loop_ir.ts";
import { isView } from "../schedule/access.ts";
import type { KernelPlan } from "../schedule/stores.ts";
import { KernelBuilder, type LoweredKernel, storesAfterValues } from "./kernel_builder.ts";
import { describeKernel } from "./names.ts";
import { operandOf, type StridedView, stridedView, ValueBuilder } from "./values.ts";

/** A contraction's specification, split into letters. */
export interface ContractionLetters {
  readonly left: readonly string[];
  readonly right: readonly string[];
  readonly out: readonly string[];
}

/** The letters of a `contract` node: one for each axis of the operands and the result. */
export function contractionLetters(node: Node): ContractionLetters {
  const spec = node.attrs["spec"];
  const match = typeof spec === "string" ? /^(\w*),(\w*)->(\w*)$/.exec(spec) : null;
  if (match === null) throw new TypeError(`${node}: attribute "spec" is ${String(spec)}`);
  const [, left = "", right = "", out = ""] = match;
  return { left: [...left], right: [...right], out: [...out] };
}

/** The operand as strides; `copies` are views that have a buffer of their own. */
export function templateView(node: Node, copies: ReadonlySet<Node>): StridedView | undefined {
  return stridedView(node, (at) => isView(at) && !copies.has(at));
}

/** The same, where it is known to work. */
export function requiredView(node: Node, copies: ReadonlySet<Node>): StridedView {
  const view = templateView(node, copies);
  if (view === undefined) throw new TypeError(`${node} is no strided view of a buffer`);
  return view;
}

/** The kernel of a `matmul` cluster. */
export function lowerMatmul(
  plan: KernelPlan,
  isHeld: (node: Node) => boolean,
  copies: ReadonlySet<Node>,
): LoweredKernel {
  const node = [...plan.cluster.members.keys()].find((member) => member.op.name === "contract");
  if (node === undefined) throw new TypeError("A matmul cluster has no contraction");
  const builder = new KernelBuilder();
  const letters = contractionLetters(node);
  const swapped = innermostIsLeft(letters, staticShape(node.shape));
  const [first, second] = swapped
    ? [operandOf(node, 1), operandOf(node, 0)]
    : [operandOf(node, 0), operandOf(node, 1)];
  const a = requiredView(first, copies);
  const b = requiredView(second, copies);
  const axes = matmulAxes(node, letters, swapped, a, b);
  const aBuffer = builder.read(a.base);
  const bBuffer = builder.read(b.base);
  const epilogue = buildEpilogue(plan, node, letters, isHeld, builder);
  const { buffers, bindings, writes } = builder.finish();
  const size = [axes.batch, axes.m, axes.n, axes.k].map(extentOf).join("x");
  return {
    kernel: {
      kind: "matmul",
      name: describeKernel("matmul", plan, size),
      buffers,
      a: { buffer: aBuffer, offset: a.offset },
      b: { buffer: bBuffer, offset: b.offset },
      ...axes,
      epilogue,
    },
    bindings,
    writes,
    nodes: [...plan.cluster.members.keys()],
  };
}

function extentOf(axes: readonly MatmulAxis[]): number {
  return axes.reduce((total, axis) => total * axis.extent, 1);
}

/** Whether the result's innermost axis comes from the left operand, so that the sides swap. */
function innermostIsLeft(letters: ContractionLetters, shape: readonly number[]): boolean {
  for (let at = letters.out.length - 1; at >= 0; at--) {
    const letter = letters.out[at];
    if (letter === undefined || shape[at] === 1) continue;
    const inLeft = letters.left.includes(letter);
    const inRight = letters.right.includes(letter);
    if (inLeft !== inRight) return inLeft;
  }
  return false;
}

function matmulAxes(
  node: Node,
  letters: ContractionLetters,
  swapped: boolean,
  a: StridedView,
  b: StridedView,
) {
  const [inA, inB] = swapped ? [letters.right, letters.left] : [letters.left, letters.right];
  const extents = new Map<string, number>();
  letters.left.forEach((letter, at) => extents.set(letter, staticExtent(node, 0, at)));
  letters.right.forEach((letter, at) => extents.set(letter, staticExtent(node, 1, at)));
  const axis = (letter: string): MatmulAxis => ({
    variable: axisVariable(letter),
    extent: extents.get(letter) ?? 1,
    strideA: a.strides[inA.indexOf(letter)] ?? 0,
    strideB: b.strides[inB.indexOf(letter)] ?? 0,
  });
  const isA = (letter: string) => inA.includes(letter);
  const isB = (letter: string) => inB.includes(letter);
  const { out } = letters;
  const shared = inA.filter((letter) => isB(letter) && !out.includes(letter));
  return {
    batch: out.filter((letter) => isA(letter) && isB(letter)).map(axis),
    m: out.filter((letter) => isA(letter) && !isB(letter)).map(axis),
    n: out.filter((letter) => !isA(letter) && isB(letter)).map(axis),
    k: shared.map(axis),
  };
}

function staticExtent(node: Node, operand: number, axis: number): number {
  return staticShape(operandOf(node, operand).shape)[axis] ?? 1;
}

function axisVariable(letter: string): string {
  return `i_${letter}`;
}

function buildEpilogue(
  plan: KernelPlan,
  contraction: Node,
  letters: ContractionLetters,
  isHeld: (node: Node) => boolean,
  builder: KernelBuilder,
): Statement[] {
  const shape = staticShape(contraction.shape);
  const accumulated: Expr = { kind: "var", type: "f32", name: "acc" };
  const values = new ValueBuilder({
    held: (node, indices) => {
      if (node === contraction) return accumulated;
      if (plan.cluster.members.has(node) || !isHeld(node)) return undefined;
      return builder.load(node, indices);
    },
  });
  const indices = letters.out.map((letter, at) =>
    Index.variable(axisVariable(letter), shape[at] ?? 1)
  );
  const flat = flatten(indices, shape);
  return storesAfterValues(plan.stores.map((node) => ({
    buffer: builder.write(node),
    index: flat.toExpr(),
    value: values.atFlat(node, flat),
  })));
}
