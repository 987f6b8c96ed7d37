/** Algebraic identities, constant folding and the removal of ops that do nothing. */
import type { Node } from "../../graph/node.ts";
import type { DType } from "../../graph/dtype.ts";
import {
  broadcast,
  cast,
  concat,
  constant,
  full,
  mul,
  neg,
  reshape,
  slice,
  sub,
  sum,
  transpose,
} from "../../graph/ops/mod.ts";
import { sameShape, staticShape, staticSize } from "../../graph/shape.ts";
import { numberAttr, numbersAttr, operandOf, uniformConstant } from "../lower/attributes.ts";
import { type GraphModule, rewriteModule } from "../module.ts";
import { accessOf } from "../schedule/access.ts";

/** A rewrite of one node: what takes its place, or undefined where it does not apply. */
export interface RewriteRule {
  readonly name: string;
  readonly apply: (node: Node) => Node | undefined;
}

/** The one value that all elements have, where that is known, seen through views. */
export function uniformValue(node: Node): number | undefined {
  let at = node;
  while (UNIFORM_VIEWS.has(at.op.name)) at = operandOf(at, 0);
  return uniformConstant(at);
}

const UNIFORM_VIEWS = new Set(["broadcast", "reshape", "transpose", "slice", "reverse"]);

function filled(value: number, node: Node): Node {
  return full(value, node.shape, node.dtype);
}

/** Nothing has to be computed for a tensor without elements. */
const emptyTensor: RewriteRule = {
  name: "empty_tensor",
  apply: (node) => {
    if (node.op.kind === "source" || staticSize(staticShape(node.shape)) > 0) return undefined;
    if (uniformSource(node)) return undefined;
    return constant([], { dtype: node.dtype, shape: staticShape(node.shape) });
  },
};

function uniformSource(node: Node): boolean {
  return node.op.name === "broadcast" && operandOf(node, 0).op.name === "constant";
}

/** A reduction or contraction over no elements is its neutral element. */
const emptyReduction: RewriteRule = {
  name: "empty_reduction",
  apply: (node) => {
    const reduces = node.op.kind === "reduce" || node.op.kind === "contract" ||
      node.op.name === "scatterAdd";
    if (!reduces) return undefined;
    const empty = node.inputs.some((input) => staticSize(staticShape(input.shape)) === 0);
    if (!empty) return undefined;
    return filled(node.op.kind === "reduce" ? neutralElement(node) : 0, node);
  },
};

/** What the reduction gives for no elements. */
function neutralElement(node: Node): number {
  const input = operandOf(node, 0);
  const nothing = {
    dtype: input.dtype,
    shape: staticShape(input.shape),
    data: new Float64Array(),
  };
  const output = { dtype: node.dtype, shape: staticShape(node.shape) };
  return node.op.reference([nothing], output, node.attrs)[0] ?? 0;
}

const FOLDABLE: readonly DType[] = ["f32", "i32", "u32", "bool"];

/** An elementwise op on operands that have one value everywhere. */
const foldConstants: RewriteRule = {
  name: "fold_constants",
  apply: (node) => {
    if (node.op.kind !== "elementwise" || !FOLDABLE.includes(node.dtype)) return undefined;
    const values: number[] = [];
    for (const input of node.inputs) {
      const value = uniformValue(input);
      if (value === undefined) return undefined;
      values.push(value);
    }
    const inputs = values.map((value, at) => ({
      dtype: operandOf(node, at).dtype,
      shape: [],
      data: Float64Array.of(value),
    }));
    const [value] = node.op.reference(inputs, { dtype: node.dtype, shape: [] }, node.attrs);
    if (value === undefined) return undefined;
    return filled(node.dtype === "f32" ? Math.fround(value) : value, node);
  },
};

/** A view of a constant is a broadcast of a scalar. */
const foldUniformViews: RewriteRule = {
  name: "fold_uniform_views",
  apply: (node) => {
    if (!UNIFORM_VIEWS.has(node.op.name) || uniformSource(node)) return undefined;
    const value = uniformValue(node);
    return value === undefined ? undefined : filled(value, node);
  },
};

/** Whether adding the value gives every x back: a float -0 plus 0 is 0. */
function addsNothing(value: number | undefined, dtype: DType): boolean {
  return value === 0 && (dtype !== "f32" || Object.is(value, -0));
}

/** x + 0, x * 1 and the like, where they hold for every x: NaN, infinities and -0 too. */
const identities: RewriteRule = {
  name: "arithmetic_identities",
  apply: (node) => {
    const [a, b] = node.inputs;
    if (a === undefined || b === undefined) return undefined;
    const left = uniformValue(a);
    const right = uniformValue(b);
    switch (node.op.name) {
      case "add":
        if (addsNothing(right, node.dtype)) return a;
        if (addsNothing(left, node.dtype)) return b;
        return b.op.name === "neg" ? sub(a, operandOf(b, 0)) : undefined;
      case "sub":
        return Object.is(right, 0) ? a : undefined;
      case "mul":
        if (right === 1) return a;
        if (left === 1) return b;
        if (right === -1 && node.dtype === "f32") return neg(a);
        return left === -1 && node.dtype === "f32" ? neg(b) : undefined;
      case "div":
        if (right === 1) return a;
        // Exact: the reciprocal of a power of two is one too.
        return node.dtype === "f32" && right !== undefined && isPowerOfTwo(right)
          ? mul(a, 1 / right)
          : undefined;
      case "pow":
        if (right === 1) return a;
        return right === 2 ? mul(a, a) : undefined;
      default:
        return undefined;
    }
  },
};

/** Whether both the value and its reciprocal are normal f32 powers of two. */
function isPowerOfTwo(value: number): boolean {
  return value > 0 && value === 2 ** Math.round(Math.log2(value)) &&
    Math.abs(Math.log2(value)) <= 126;
}

/** Ops that undo or repeat their input. */
const involutions: RewriteRule = {
  name: "involutions",
  apply: (node) => {
    const input = node.inputs[0];
    if (input === undefined) return undefined;
    switch (node.op.name) {
      case "neg":
        return input.op.name === "neg" ? operandOf(input, 0) : undefined;
      case "stopGradient":
        return input;
      case "cast":
        return input.dtype === node.dtype ? cast(input, node.dtype) : undefined;
      case "select": {
        const picked = uniformValue(input);
        return picked === undefined ? undefined : operandOf(node, picked !== 0 ? 1 : 2);
      }
      default:
        return undefined;
    }
  },
};

/** Views of views, and views that change nothing. */
const views: RewriteRule = {
  name: "views",
  apply: (node) => {
    const input = node.inputs[0];
    if (input === undefined) return undefined;
    switch (node.op.name) {
      case "reshape":
        if (sameShape(node.shape, input.shape)) return input;
        return input.op.name === "reshape" ? reshape(operandOf(input, 0), node.shape) : undefined;
      case "transpose":
        return simplerTranspose(node, input);
      case "broadcast":
        return simplerBroadcast(node, input);
      case "slice":
        return sameShape(node.shape, input.shape) ? input : undefined;
      case "pad":
        return sameShape(node.shape, input.shape) && isUnpadded(node) ? input : undefined;
      case "concat":
        return simplerConcat(node);
      default:
        return undefined;
    }
  },
};

function isUnpadded(node: Node): boolean {
  return [...numbersAttr(node, "low"), ...numbersAttr(node, "high")].every((by) => by === 0);
}

function simplerTranspose(node: Node, input: Node): Node | undefined {
  const permutation = numbersAttr(node, "permutation");
  if (permutation.every((axis, at) => axis === at)) return input;
  if (input.op.name === "transpose") {
    const inner = numbersAttr(input, "permutation");
    return transpose(operandOf(input, 0), permutation.map((axis) => inner[axis] ?? 0));
  }
  const moved = permutation.filter((axis) => input.shape[axis] !== 1);
  const ordered = moved.every((axis, at) => at === 0 || axis > (moved[at - 1] ?? -1));
  return ordered ? reshape(input, node.shape) : undefined;
}

function simplerBroadcast(node: Node, input: Node): Node | undefined {
  if (uniformSource(node)) return undefined;
  const axes = numbersAttr(node, "axes");
  if (sameShape(node.shape, input.shape)) return input;
  const size = staticSize(staticShape(node.shape));
  if (size === staticSize(staticShape(input.shape)) && size > 0) return reshape(input, node.shape);
  if (input.op.name !== "broadcast") return undefined;
  const inner = numbersAttr(input, "axes");
  return broadcast(operandOf(input, 0), node.shape, inner.map((axis) => axes[axis] ?? 0));
}

function simplerConcat(node: Node): Node | undefined {
  const filledInputs = node.inputs.filter((input) => staticSize(staticShape(input.shape)) > 0);
  if (filledInputs.length === node.inputs.length && node.inputs.length > 1) return undefined;
  const [only] = filledInputs;
  if (filledInputs.length === 1) return only;
  return concat(filledInputs, numberAttr(node, "axis"));
}

/** Reductions over axes of size 1, of broadcasts and of reductions. */
const reductions: RewriteRule = {
  name: "reductions",
  apply: (node) => {
    const { name } = node.op;
    const input = node.inputs[0];
    if (node.op.kind !== "reduce" || input === undefined) return undefined;
    const axes = name === "argmax" ? [numberAttr(node, "axis")] : numbersAttr(node, "axes");
    if (axes.every((axis) => input.shape[axis] === 1)) {
      return name === "argmax" ? filled(0, node) : reshape(input, node.shape);
    }
    if (name !== "sum") return undefined;
    const value = uniformValue(input);
    if (value !== undefined && node.dtype === "f32") {
      const count = staticSize(staticShape(input.shape)) / staticSize(staticShape(node.shape));
      // A sum starts at 0, so that of -0 is 0.
      return filled(Math.fround(value * count) + 0, node);
    }
    return input.op.name === "sum" && !foldsWhatIsComputed(input)
      ? mergeSums(axes, input)
      : undefined;
  },
};

/** Such a sum is best in the kernel that computes its operand, row by row: a loss, for one. */
function foldsWhatIsComputed(node: Node): boolean {
  return accessOf(operandOf(node, 0)).producer.op.kind === "elementwise";
}

function mergeSums(outer: readonly number[], inner: Node): Node {
  const source = operandOf(inner, 0);
  const folded = new Set(numbersAttr(inner, "axes"));
  const left = source.shape.map((_, axis) => axis).filter((axis) => !folded.has(axis));
  return sum(source, [...folded, ...outer.map((axis) => left[axis] ?? 0)]);
}

/** A slice of a slice without steps is a slice. */
const slicesOfSlices: RewriteRule = {
  name: "slices_of_slices",
  apply: (node) => {
    const input = node.inputs[0];
    if (node.op.name !== "slice" || input?.op.name !== "slice") return undefined;
    const inner = { starts: numbersAttr(input, "starts"), steps: numbersAttr(input, "steps") };
    if (inner.steps.some((step) => step !== 1)) return undefined;
    const shift = (values: readonly number[]) =>
      values.map((value, axis) => value + (inner.starts[axis] ?? 0));
    return slice(
      operandOf(input, 0),
      shift(numbersAttr(node, "starts")),
      shift(numbersAttr(node, "ends")),
      numbersAttr(node, "steps"),
    );
  },
};

/** Sums are commutative: x + x is 2x, which is one load. */
const doubling: RewriteRule = {
  name: "doubling",
  apply: (node) => {
    const [a, b] = node.inputs;
    if (node.op.name !== "add" || node.dtype !== "f32" || a === undefined || a !== b) {
      return undefined;
    }
    return mul(a, 2);
  },
};

/** All rules, in the order in which they are tried. */
export const SIMPLIFY_RULES: readonly RewriteRule[] = [
  emptyTensor,
  emptyReduction,
  foldConstants,
  foldUniformViews,
  identities,
  involutions,
  views,
  slicesOfSlices,
  reductions,
  doubling,
];

/** Applies rules to a node until none does. */
export function rewriteWith(rules: readonly RewriteRule[]): (node: Node) => Node {
  return (node) => {
    let current = node;
    for (let round = 0; round < MAX_ROUNDS; round++) {
      let next: Node | undefined;
      for (const rule of rules) {
        next = rule.apply(current);
        if (next !== undefined && next !== current) break;
        next = undefined;
      }
      if (next === undefined) return current;
      current = next;
    }
    throw new TypeError(`Simplifying ${node} does not come to an end: two rules undo each other`);
  };
}

const MAX_ROUNDS = 64;

/** The module with every rule applied everywhere. */
export function simplify(module: GraphModule): GraphModule {
  return rewriteModule(module, rewriteWith(SIMPLIFY_RULES));
}
