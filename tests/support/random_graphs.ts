/**
 * Random graphs for fast-check: a list of small numbers is read as a program that applies ops to a
 * growing pool of tensors. Every list gives a legal graph, so shrinking works on the list.
 */
import fc from "./fast_check.ts";
import type { DType } from "../../graph/dtype.ts";
import * as g from "../../graph/mod.ts";
import type { Node } from "../../graph/mod.ts";
import { staticShape, staticSize } from "../../graph/shape.ts";
import { ALL_OPS, F32_OPS, type RandomOp } from "./random_ops.ts";

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
  readonly kind: RecipeKind;
  readonly shapes: readonly (readonly number[])[];
  readonly instructions: readonly Instruction[];
  readonly seed: number;
}

/** `f32`: of that type alone. `steady`: with gradients that rounding does not upset. `mixed`: all. */
export type RecipeKind = "f32" | "steady" | "mixed";

const OPS: Readonly<Record<RecipeKind, readonly RandomOp[]>> = {
  f32: F32_OPS,
  steady: F32_OPS.filter((op) => op.isUnsteady !== true),
  mixed: ALL_OPS,
};

const MAX_ELEMENTS = 3000;

/** Recipes of graphs with at most `length` ops. */
export function recipes(length: number, kind: RecipeKind = "f32"): fc.Arbitrary<GraphRecipe> {
  const size = fc.constantFrom(1, 2, 3, 4, 5, 7, 8, 12, 17);
  const index = fc.nat(1000);
  return fc.record({
    kind: fc.constant(kind),
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

/** Tensors made so far, and which of them no rounding has touched. */
class Pool {
  readonly #nodes: Node[] = [];
  readonly #exact = new Set<Node>();

  add(node: Node, isExact: boolean): void {
    this.#nodes.push(node);
    if (isExact) this.#exact.add(node);
  }

  isExact(node: Node): boolean {
    return this.#exact.has(node);
  }

  get last(): Node | undefined {
    return this.#nodes.at(-1);
  }

  pick(dtypes: readonly DType[], onlyExact: boolean, number: number): Node | undefined {
    const fits = this.#nodes.filter((node) =>
      dtypes.includes(node.dtype) && (!onlyExact || this.#exact.has(node))
    );
    return fits[number % Math.max(fits.length, 1)];
  }
}

/** Adds what the instruction makes to the pool, if it can be made. */
function follow(pool: Pool, ops: readonly RandomOp[], instruction: Instruction): Node | undefined {
  const op = ops[instruction.op % ops.length];
  const isSharp = op?.isSharp === true;
  const a = op && pool.pick(op.on, isSharp, instruction.first);
  if (op === undefined || a === undefined) return undefined;
  const b = pool.pick(op.with ?? [a.dtype], isSharp, instruction.second);
  if (b === undefined) return undefined;
  const made = op.apply(a, b, instruction.parameter);
  if (made === undefined || staticSize(staticShape(made.shape)) > MAX_ELEMENTS) return undefined;
  pool.add(made, op.keepsExact === true && pool.isExact(a) && pool.isExact(b));
  return made;
}

/** Whole numbers and truth values are always exact; halves hold what they are given. */
function inputTypes(recipe: GraphRecipe): readonly DType[] {
  return recipe.kind === "mixed" ? ["f32", "i32", "bool", "f16", "u32", "bf16"] : ["f32"];
}

function inputValue(dtype: DType, random: number): number {
  switch (dtype) {
    case "f32":
      return random;
    case "f16":
    case "bf16":
      return Math.round(random * 16) / 16;
    case "bool":
      return random > 0 ? 1 : 0;
    case "i32":
      return Math.round(random * 9) + 0;
    case "u32":
      return Math.round(Math.abs(random) * 9);
  }
}

/** The graph that a recipe describes. */
export function buildGraph(recipe: GraphRecipe): RandomGraph {
  const inputs = new Map<string, Node>();
  const values = new Map<string, Float32Array>();
  const pool = new Pool();
  let state = recipe.seed + 1;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
  recipe.shapes.forEach((shape, at) => {
    for (const dtype of inputTypes(recipe)) {
      const path = dtype === "f32" ? `x${at}` : `${dtype}_${at}`;
      const node = g.input(path, dtype, shape);
      inputs.set(path, node);
      const random = () => inputValue(dtype, next());
      values.set(path, Float32Array.from({ length: staticSize(shape) }, random));
      pool.add(node, true);
    }
  });
  const outputs = new Map<string, Node>();
  for (const instruction of recipe.instructions) {
    const made = follow(pool, OPS[recipe.kind], instruction);
    if (made !== undefined && instruction.parameter % 5 === 0) {
      outputs.set(`y${outputs.size}`, made);
    }
  }
  if (pool.last !== undefined) outputs.set("last", pool.last);
  return { inputs, outputs, values };
}

/** Largest difference, relative to the largest magnitude, which counts as at least 0.1. */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  let error = 0;
  let scale = 0.1;
  for (let at = 0; at < expected.length; at++) {
    const wanted = expected[at] ?? NaN;
    if (actual[at] === wanted) continue;
    const difference = Math.abs((actual[at] ?? NaN) - wanted);
    if (!(difference <= error)) error = difference;
    scale = Math.max(scale, Math.abs(wanted));
  }
  return error / scale;
}
