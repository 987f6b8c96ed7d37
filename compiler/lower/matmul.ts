/** Lowers a contraction, with the elementwise ops that joined it as its epilogue, to the template. */
import type { Node } from "../../graph/node.ts";
import { termsOf } from "../../graph/ops/contract_sum.ts";
import { staticShape, staticSize } from "../../graph/shape.ts";
import { flatten, Index } from "../index_expr.ts";
import type { Expr, MatmulAxis, MatmulOperand, MatmulTerm, Statement } from "../loop_ir.ts";
import { isView, isWidening } from "../schedule/access.ts";
import type { KernelPlan } from "../schedule/stores.ts";
import { KernelBuilder, type LoweredKernel, storesAfterValues } from "./kernel_builder.ts";
import { describeKernel } from "./names.ts";
import { operandOf } from "./attributes.ts";
import { type StridedView, stridedView } from "./views.ts";
import { ValueBuilder } from "./values.ts";

/** A contraction's specification, split into letters. */
export interface ContractionLetters {
  readonly left: readonly string[];
  readonly right: readonly string[];
  readonly out: readonly string[];
}

/** The letters of a `contract` node: one for each axis of the operands and the result. */
function contractionLetters(node: Node): ContractionLetters {
  const spec = node.attrs["spec"];
  const match = typeof spec === "string" ? /^(\w*),(\w*)->(\w*)$/.exec(spec) : null;
  if (match === null) throw new TypeError(`${node}: attribute "spec" is ${String(spec)}`);
  const [, left = "", right = "", out = ""] = match;
  return { left: [...left], right: [...right], out: [...out] };
}

/** How templates get at their operands. */
export interface OperandReading {
  /** Views and casts that have a buffer of their own. */
  readonly copies: ReadonlySet<Node>;
  /** Whether half floats are widened as they are loaded. */
  readonly readsHalves: boolean;
}

/** Whether templates read what the node is made of in its stead. */
export function isSeenThrough(node: Node, { copies, readsHalves }: OperandReading): boolean {
  return (isView(node) || (readsHalves && isWidening(node))) && !copies.has(node);
}

/** The operand as strides over what is in memory. */
export function templateView(node: Node, reading: OperandReading): StridedView | undefined {
  return stridedView(node, (at) => isSeenThrough(at, reading));
}

/** The same, where it is known to work. */
export function requiredView(node: Node, reading: OperandReading): StridedView {
  const view = templateView(node, reading);
  if (view === undefined) throw new TypeError(`${node} is no strided view of a buffer`);
  return view;
}

/** The kernel of a `matmul` cluster. */
export function lowerMatmul(
  plan: KernelPlan,
  isHeld: (node: Node) => boolean,
  reading: OperandReading,
): LoweredKernel {
  const node = [...plan.cluster.members.keys()].find((member) => member.op.kind === "contract");
  const [first] = node === undefined ? [] : termsOf(node);
  if (node === undefined || first === undefined) {
    throw new TypeError("A matmul cluster has no contraction");
  }
  const builder = new KernelBuilder();
  const letters = contractionLetters(first);
  const shape = staticShape(node.shape);
  const roles = letterRoles(letters, innermostIsLeft(letters, shape));
  const axes = (role: readonly string[]) =>
    role.map((letter): MatmulAxis => ({
      variable: axisVariable(letter),
      extent: shape[letters.out.indexOf(letter)] ?? 1,
    }));
  const terms = termsOf(node).map((term) => lowerTerm(term, reading, builder));
  const epilogue = buildEpilogue(plan, node, letters, isHeld, builder);
  const { buffers, bindings, writes } = builder.finish();
  const result = { batch: axes(roles.batch), m: axes(roles.m), n: axes(roles.n) };
  const depth = terms.map(({ k }) => staticSize(k)).join("+");
  const size = [result.batch, result.m, result.n].map(extentOf).join("x");
  return {
    kernel: {
      kind: "matmul",
      name: describeKernel("matmul", plan, `${size}x${depth}`),
      buffers,
      parts: [{ ...result, terms, epilogue }],
    },
    bindings,
    writes,
    nodes: plan.nodes,
  };
}

/** One product: a contraction's operands as the sides of the template. */
function lowerTerm(
  contraction: Node,
  reading: OperandReading,
  builder: KernelBuilder,
): MatmulTerm {
  const letters = contractionLetters(contraction);
  const swapped = innermostIsLeft(letters, staticShape(contraction.shape));
  const roles = letterRoles(letters, swapped);
  const a = requiredView(operandOf(contraction, swapped ? 1 : 0), reading);
  const b = requiredView(operandOf(contraction, swapped ? 0 : 1), reading);
  const extents = letterExtents(contraction, letters);
  return {
    a: operandAlong(a, builder.read(a.base), roles.inA, roles.m, roles),
    b: operandAlong(b, builder.read(b.base), roles.inB, roles.n, roles),
    k: roles.k.map((letter) => extents.get(letter) ?? 1),
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

/** Which letters are what in the template, and the letters of its operands. */
interface LetterRoles {
  readonly inA: readonly string[];
  readonly inB: readonly string[];
  readonly batch: readonly string[];
  readonly m: readonly string[];
  readonly n: readonly string[];
  readonly k: readonly string[];
}

function letterRoles({ left, right, out }: ContractionLetters, swapped: boolean): LetterRoles {
  const [inA, inB] = swapped ? [right, left] : [left, right];
  const isA = (letter: string) => inA.includes(letter);
  const isB = (letter: string) => inB.includes(letter);
  return {
    inA,
    inB,
    batch: out.filter((letter) => isA(letter) && isB(letter)),
    m: out.filter((letter) => isA(letter) && !isB(letter)),
    n: out.filter((letter) => !isA(letter) && isB(letter)),
    k: inA.filter((letter) => isB(letter) && !out.includes(letter)),
  };
}

function letterExtents(node: Node, { left, right }: ContractionLetters): Map<string, number> {
  const extents = new Map<string, number>();
  left.forEach((letter, at) => extents.set(letter, staticExtent(node, 0, at)));
  right.forEach((letter, at) => extents.set(letter, staticExtent(node, 1, at)));
  return extents;
}

function operandAlong(
  view: StridedView,
  buffer: number,
  letters: readonly string[],
  free: readonly string[],
  { batch, k }: LetterRoles,
): MatmulOperand {
  const strides = (role: readonly string[]) =>
    role.map((letter) => view.strides[letters.indexOf(letter)] ?? 0);
  return {
    buffer,
    offset: view.offset,
    batchStrides: strides(batch),
    freeStrides: strides(free),
    kStrides: strides(k),
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
