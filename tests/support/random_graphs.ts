/**
 * Random graphs for fast-check: a list of small numbers is read as a program that applies ops to a
 * growing pool of tensors. Every list gives a legal graph, so shrinking works on the list.
 */
import fc from "fast-check";
import * as g from "../../graph/mod.ts";
import type { Node } from "../../graph/mod.ts";
import { staticShape, staticSize } from "../../graph/shape.ts";

/** A graph to run: inputs with their values, and outputs. */
export interface RandomGraph {
  readonly inputs: ReadonlyMap<string, Node>;
  readonly outputs: ReadonlyMap<string, Node>;
  readonly values: ReadonlyMap<string, Float32Array>;
}

/** One instruction: which op, which operands, and numbers for its parameters. */
export interface Instruction {
  readonly op: number;
  readonly first: number;
  readonly second: number;
  readonly parameter: number;
}

/** A graph's description, which fast-check can shrink and print. */
export interface GraphRecipe {
  readonly shapes: readonly (readonly number[])[];
  readonly instructions: readonly Instruction[];
  readonly seed: number;
}

const MAX_ELEMENTS = 3000;

/** Recipes of graphs with at most `length` ops. */
export function recipes(length: number): fc.Arbitrary<GraphRecipe> {
  const size = fc.constantFrom(1, 2, 3, 4, 5, 7, 8, 12, 17);
  const index = fc.nat(1000);
  return fc.record({
    shapes: fc.array(fc.array(size, { minLength: 1, maxLength: 3 }), {
      minLength: 1,
      maxLength: 3,
    }),
    instructions: fc.array(
      fc.record({ op: index, first: index, second: index, parameter: index }),
      { minLength: 1, maxLength: length },
    ),
    seed: fc.nat(1 << 20),
  });
}

type Apply = (a: Node, b: Node, parameter: number) => Node | undefined;

function axisOf(x: Node, parameter: number): number | undefined {
  return x.shape.length === 0 ? undefined : parameter % x.shape.length;
}

function sizes(x: Node): number[] {
  return [...staticShape(x.shape)];
}

/** `b` made to broadcast with `a`: itself, a sum of itself, or a scalar. */
function fitting(a: Node, b: Node): Node {
  const [left, right] = [sizes(a), sizes(b)];
  const fits = right.every((size, back) => {
    const other = left[left.length - right.length + back];
    return other === undefined || other === size || other === 1 || size === 1;
  });
  if (fits) return b;
  const last = right.at(-1);
  if (last !== undefined && last === left.at(-1)) {
    return g.mean(b, right.map((_, axis) => axis).slice(0, -1));
  }
  return g.mean(b);
}

const OPS: readonly Apply[] = [
  (a, b) => g.add(a, fitting(a, b)),
  (a, b) => g.mul(a, fitting(a, b)),
  (a, b) => g.sub(fitting(a, b), a),
  (a, b) => g.maximum(a, fitting(a, b)),
  (a, b) => g.div(a, g.add(1.5, g.square(fitting(a, b)))),
  (a) => g.tanh(a),
  (a) => g.sigmoid(a),
  (a) => g.exp(g.tanh(a)),
  (a) => g.gelu(a),
  (a) => g.sqrt(g.add(g.abs(a), 0.25)),
  (a) => g.neg(a),
  (a) => g.erf(a),
  (a, b) => g.where(g.greater(a, 0.1), a, g.broadcastTo(g.mean(b), a.shape)),
  (a, _b, parameter) => reshaped(a, parameter),
  (a, _b, parameter) => permuted(a, parameter),
  (a, _b, parameter) => sliced(a, parameter),
  (a, b, parameter) => concatenated(a, b, parameter),
  (a, _b, parameter) => padded(a, parameter),
  (a, _b, parameter) => {
    const axis = axisOf(a, parameter);
    return axis === undefined ? undefined : g.reverse(a, axis);
  },
  (a, _b, parameter) => {
    const axis = axisOf(a, parameter);
    return axis === undefined ? undefined : g.sum(a, axis, { keepDims: parameter % 2 === 0 });
  },
  (a, _b, parameter) => {
    const axis = axisOf(a, parameter);
    return axis === undefined ? undefined : g.max(a, axis);
  },
  (a) => g.mean(a),
  (a, _b, parameter) => {
    const axis = axisOf(a, parameter);
    return axis === undefined ? undefined : g.softmax(a, axis);
  },
  (a) => a.shape.length === 0 ? undefined : g.layerNorm(a, { epsilon: 0.1 }),
  (a) => a.shape.length < 2 ? undefined : g.matmul(a, g.transpose(a, swapLast(a))),
  (a, _b, parameter) => gathered(a, parameter),
  // Only exact values: elsewhere the last bit of f32 decides which way the rounding goes.
  (a) => a.op.name === "input" ? g.cast(g.cast(a, "bf16"), "f32") : undefined,
  (a) => attended(a),
];

function swapLast(a: Node): number[] {
  const order = a.shape.map((_, axis) => axis);
  const last = order.length - 1;
  [order[last], order[last - 1]] = [last - 1, last];
  return order;
}

function reshaped(a: Node, parameter: number): Node {
  const total = staticSize(sizes(a));
  const divisors = [1, 2, 3, 4, 5, 6, 8].filter((size) => total % size === 0);
  const first = divisors[parameter % divisors.length] ?? 1;
  return parameter % 3 === 0 ? g.reshape(a, [total]) : g.reshape(a, [first, total / first]);
}

function permuted(a: Node, parameter: number): Node | undefined {
  if (a.shape.length < 2) return undefined;
  const order = a.shape.map((_, axis) => (axis + 1 + parameter) % a.shape.length);
  return g.transpose(a, parameter % 2 === 0 ? order : [...order].reverse());
}

function sliced(a: Node, parameter: number): Node | undefined {
  const axis = axisOf(a, parameter);
  if (axis === undefined) return undefined;
  const size = sizes(a)[axis] ?? 1;
  const start = parameter % size;
  return g.sliceAxis(a, axis, start, Math.min(size, start + 1 + parameter % 4));
}

function concatenated(a: Node, b: Node, parameter: number): Node | undefined {
  const axis = axisOf(a, parameter);
  if (axis === undefined) return undefined;
  const same = a.shape.length === b.shape.length &&
    a.shape.every((size, at) => at === axis || size === b.shape[at]);
  return g.concat([a, same ? b : g.tanh(a), a], axis);
}

function padded(a: Node, parameter: number): Node {
  const low = a.shape.map((_, axis) => (parameter + axis) % 3);
  const high = a.shape.map((_, axis) => (parameter + 2 * axis) % 2);
  return g.pad(a, {
    low,
    high,
    interior: a.shape.map((_, axis) => axis === 0 ? parameter % 2 : 0),
  });
}

function gathered(a: Node, parameter: number): Node | undefined {
  const axis = axisOf(a, parameter);
  if (axis === undefined) return undefined;
  const size = sizes(a)[axis] ?? 1;
  const picks = [parameter % size, 0, (parameter * 7) % size];
  return g.gather(a, g.constant(Int32Array.from(picks)), axis);
}

function attended(a: Node): Node | undefined {
  return a.shape.length < 2 ? undefined : g.attention(a, g.tanh(a), a);
}

/** The graph that a recipe describes. */
export function buildGraph(recipe: GraphRecipe): RandomGraph {
  const inputs = new Map<string, Node>();
  const values = new Map<string, Float32Array>();
  let state = recipe.seed + 1;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
  recipe.shapes.forEach((shape, at) => {
    const node = g.input(`x${at}`, "f32", shape);
    inputs.set(`x${at}`, node);
    values.set(`x${at}`, Float32Array.from({ length: staticSize(shape) }, next));
  });
  const pool = [...inputs.values()];
  const outputs = new Map<string, Node>();
  for (const { op, first, second, parameter } of recipe.instructions) {
    const a = pool[first % pool.length];
    const b = pool[second % pool.length];
    const apply = OPS[op % OPS.length];
    if (a === undefined || b === undefined || apply === undefined) continue;
    const made = apply(a, b, parameter);
    if (made === undefined || staticSize(sizes(made)) > MAX_ELEMENTS) continue;
    pool.push(made);
    if (parameter % 5 === 0) outputs.set(`y${outputs.size}`, made);
  }
  const last = pool.at(-1);
  if (last !== undefined) outputs.set("last", last);
  return { inputs, outputs, values };
}

/** Largest difference, relative to the largest magnitude, which counts as at least 0.1. */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  let error = 0;
  let scale = 0.1;
  for (let at = 0; at < expected.length; at++) {
    const wanted = expected[at] ?? NaN;
    const difference = Math.abs((actual[at] ?? NaN) - wanted);
    if (!(difference <= error)) error = difference;
    scale = Math.max(scale, Math.abs(wanted));
  }
  return error / scale;
}
