/**
 * From graph nodes to loop IR expressions: the value of a node at an index, computed in place from
 * what is in memory. Movement ops become index arithmetic here.
 */
import type { DType } from "../../graph/dtype.ts";
import type { Node } from "../../graph/node.ts";
import { staticShape, staticSize } from "../../graph/shape.ts";
import { isView } from "../schedule/access.ts";
import { flatten, Index, integerConstant, rowMajorStrides, unflatten } from "../index_expr.ts";
import type { BinaryOp, Expr, ScalarType, UnaryOp } from "../loop_ir.ts";

/** Where values come from when they are not computed in place. */
export interface ValueSource {
  /** The node's value where it is held (a buffer, an accumulator), or undefined to compute it. */
  held(node: Node, indices: readonly Index[]): Expr | undefined;
}

/** The type that arithmetic on a storage type is done in. */
export function scalarType(dtype: DType): ScalarType {
  return dtype === "f16" || dtype === "bf16" ? "f32" : dtype;
}

/** A constant of the type. */
export function scalarConstant(type: ScalarType, value: number): Expr {
  return { kind: "const", type, value };
}

const UNARY: ReadonlySet<string> = new Set<UnaryOp>([
  "neg",
  "abs",
  "sign",
  "exp",
  "log",
  "log1p",
  "sqrt",
  "rsqrt",
  "reciprocal",
  "tanh",
  "erf",
  "sigmoid",
  "sin",
  "cos",
  "floor",
  "ceil",
  "round",
  "not",
]);

const BINARY: ReadonlySet<string> = new Set<BinaryOp>([
  "add",
  "sub",
  "mul",
  "div",
  "rem",
  "pow",
  "max",
  "min",
  "equal",
  "notEqual",
  "less",
  "lessEqual",
  "greater",
  "greaterEqual",
  "and",
  "or",
  "xor",
  "shiftLeft",
  "shiftRight",
]);

function isUnary(name: string): name is UnaryOp {
  return UNARY.has(name);
}

function isBinary(name: string): name is BinaryOp {
  return BINARY.has(name);
}

/** A whole-number list attribute. */
export function numbersAttr(node: Node, name: string): readonly number[] {
  const value = node.attrs[name];
  if (!Array.isArray(value)) {
    throw new TypeError(`${node}: attribute "${name}" is not a list of numbers`);
  }
  return value.map(Number);
}

/** A number attribute. */
export function numberAttr(node: Node, name: string): number {
  const value = node.attrs[name];
  if (typeof value !== "number") throw new TypeError(`${node}: attribute "${name}" is no number`);
  return value;
}

/** The one number that a constant node holds everywhere, if it does. */
export function uniformConstant(node: Node): number | undefined {
  if (node.op.name !== "constant") return undefined;
  const data = node.attrs["data"];
  if (!ArrayBuffer.isView(data) || data.length === 0) return undefined;
  const first = data[0];
  for (const value of data) if (!Object.is(value, first)) return undefined;
  return first;
}

/** Builds expressions for nodes at indices; the same node at the same index is one object. */
export class ValueBuilder {
  readonly #source: ValueSource;
  readonly #made = new Map<string, Expr>();

  constructor(source: ValueSource) {
    this.#source = source;
  }

  /** The node's value at per-axis indices. */
  at(node: Node, indices: readonly Index[]): Expr {
    let [from, places] = [node, indices];
    while (isView(from)) {
      const input = operandOf(from, 0);
      places = movedIndices(from, input, places);
      from = input;
    }
    const key = `${from.id}@${places.map((index) => index.key).join()}`;
    const known = this.#made.get(key);
    if (known !== undefined) return known;
    const made = this.#source.held(from, places) ?? this.#compute(from, places);
    this.#made.set(key, made);
    return made;
  }

  /** The node's value at a flat, row-major index. */
  atFlat(node: Node, flat: Index): Expr {
    return this.at(node, unflatten(flat, staticShape(node.shape)));
  }

  #compute(node: Node, indices: readonly Index[]): Expr {
    const type = scalarType(node.dtype);
    const name = node.op.name;
    if (isUnary(name)) {
      return { kind: "unary", op: name, type, a: this.#operand(node, 0, indices) };
    }
    if (isBinary(name)) {
      const a = this.#operand(node, 0, indices);
      return { kind: "binary", op: name, type, a, b: this.#operand(node, 1, indices) };
    }
    switch (name) {
      case "constant":
        return scalarConstant(type, constantValue(node));
      case "iota": {
        const index = indices[numberAttr(node, "axis")] ?? Index.constant(0);
        return convert(index.toExpr(), type);
      }
      case "select":
        return this.#select(node, indices, type);
      case "cast":
        return this.#cast(node, indices, type);
      case "bitcast":
        return { kind: "bitcast", type, a: this.#operand(node, 0, indices) };
      case "threefry":
        return this.#threefry(node, indices);
      case "gather":
        return this.#gather(node, indices);
      case "concat":
        return this.#concat(node, indices, type);
      case "pad":
        return this.#pad(node, indices, type);
      default:
        throw new TypeError(
          `${node} has no rule for its value: it should have been lowered before`,
        );
    }
  }

  #operand(node: Node, position: number, indices: readonly Index[]): Expr {
    return this.at(operandOf(node, position), indices);
  }

  #select(node: Node, indices: readonly Index[], type: ScalarType): Expr {
    return {
      kind: "select",
      type,
      condition: this.#operand(node, 0, indices),
      a: this.#operand(node, 1, indices),
      b: this.#operand(node, 2, indices),
    };
  }

  #cast(node: Node, indices: readonly Index[], type: ScalarType): Expr {
    const value = convert(this.#operand(node, 0, indices), type);
    const { dtype } = node;
    if (dtype !== "f16" && dtype !== "bf16") return value;
    return { kind: "roundTo", type: "f32", storage: dtype, a: value };
  }

  #threefry(node: Node, indices: readonly Index[]): Expr {
    const word = node.attrs["word"];
    if (word !== "first" && word !== "second" && word !== "xor") {
      throw new TypeError(`${node}: attribute "word" is ${String(word)}`);
    }
    return {
      kind: "threefry",
      type: "u32",
      word,
      key0: this.#operand(node, 0, indices),
      key1: this.#operand(node, 1, indices),
      counter0: this.#operand(node, 2, indices),
      counter1: this.#operand(node, 3, indices),
    };
  }

  #gather(node: Node, indices: readonly Index[]): Expr {
    const input = operandOf(node, 0);
    const positions = operandOf(node, 1);
    const axis = numberAttr(node, "axis");
    const rank = positions.shape.length;
    const picked = this.at(positions, indices.slice(axis, axis + rank));
    const extent = staticShape(input.shape)[axis] ?? 1;
    const low: Expr = {
      kind: "binary",
      op: "max",
      type: "i32",
      a: picked,
      b: integerConstant(0),
    };
    const clamped: Expr = {
      kind: "binary",
      op: "min",
      type: "i32",
      a: low,
      b: integerConstant(extent - 1),
    };
    const places = indices.slice(axis, axis + rank).map((index) => index.key).join();
    const key = `take${positions.id}<${extent}@${places}`;
    const index = Index.loaded(key, extent, clamped);
    return this.at(input, [...indices.slice(0, axis), index, ...indices.slice(axis + rank)]);
  }

  /** Halves the operands again and again, so that few are asked for in turn. */
  #concat(node: Node, indices: readonly Index[], type: ScalarType): Expr {
    const axis = numberAttr(node, "axis");
    const along = indices[axis] ?? Index.constant(0);
    const parts: { input: Node; start: number }[] = [];
    let end = 0;
    for (const input of node.inputs) {
      const extent = staticShape(input.shape)[axis] ?? 0;
      if (extent > 0) parts.push({ input, start: end });
      end += extent;
    }
    const among = (from: number, to: number): Expr => {
      const middle = (from + to) >> 1;
      const part = parts[middle];
      if (part === undefined) return scalarConstant(type, 0);
      if (to - from === 1) {
        const shifted = along.offset(-part.start);
        return this.at(part.input, indices.map((index, at) => at === axis ? shifted : index));
      }
      return {
        kind: "guarded",
        type,
        condition: comparison("less", along.toExpr(), integerConstant(part.start)),
        a: among(from, middle),
        b: among(middle, to),
      };
    };
    return among(0, parts.length);
  }

  #pad(node: Node, indices: readonly Index[], type: ScalarType): Expr {
    const input = operandOf(node, 0);
    const low = numbersAttr(node, "low");
    const interior = numbersAttr(node, "interior");
    const shape = staticShape(input.shape);
    const outside = scalarConstant(type, numberAttr(node, "value"));
    if (staticSize(shape) === 0) return outside;
    const conditions: Expr[] = [];
    const inner = indices.map((index, axis) => {
      const step = (interior[axis] ?? 0) + 1;
      const shifted = index.offset(-(low[axis] ?? 0));
      const extent = shape[axis] ?? 1;
      const span = (extent - 1) * step + 1;
      const [least, most] = shifted.range();
      if (least < 0) {
        conditions.push(comparison("greaterEqual", shifted.toExpr(), integerConstant(0)));
      }
      if (most >= span) {
        conditions.push(comparison("less", shifted.toExpr(), integerConstant(span)));
      }
      if (step === 1) return shifted;
      const remainder = shifted.remainder(step).toExpr();
      conditions.push(comparison("equal", remainder, integerConstant(0)));
      return shifted.quotient(step);
    });
    const value = this.at(input, inner);
    if (conditions.length === 0) return value;
    const condition = conditions.reduce((a, b) => ({
      kind: "binary",
      op: "and",
      type: "bool",
      a,
      b,
    }));
    return { kind: "guarded", type, condition, a: value, b: outside };
  }
}

/** An input of a node that must be there. */
export function operandOf(node: Node, position: number): Node {
  const input = node.inputs[position];
  if (input === undefined) throw new TypeError(`${node} has no operand ${position}`);
  return input;
}

function constantValue(node: Node): number {
  const value = uniformConstant(node);
  if (value === undefined) throw new TypeError(`${node} holds several values: it needs a buffer`);
  return value;
}

function comparison(op: "less" | "greaterEqual" | "equal", a: Expr, b: Expr): Expr {
  return { kind: "binary", op, type: "bool", a, b };
}

function convert(value: Expr, type: ScalarType): Expr {
  return value.type === type ? value : { kind: "cast", type, a: value };
}

/** The indices into a view's input for indices into the view. */
export function movedIndices(view: Node, input: Node, indices: readonly Index[]): Index[] {
  const from = staticShape(input.shape);
  const to = staticShape(view.shape);
  switch (view.op.name) {
    case "stopGradient":
    case "recompute":
      return [...indices];
    case "reshape":
      return unflatten(flatten(indices, to), from);
    case "transpose": {
      const permutation = numbersAttr(view, "permutation");
      const moved: Index[] = from.map(() => Index.constant(0));
      permutation.forEach((axis, at) => moved[axis] = indices[at] ?? Index.constant(0));
      return moved;
    }
    case "broadcast": {
      const axes = numbersAttr(view, "axes");
      return from.map((extent, axis) =>
        extent === 1 ? Index.constant(0) : indices[axes[axis] ?? 0] ?? Index.constant(0)
      );
    }
    case "slice": {
      const starts = numbersAttr(view, "starts");
      const steps = numbersAttr(view, "steps");
      return indices.map((index, axis) => index.scale(steps[axis] ?? 1).offset(starts[axis] ?? 0));
    }
    case "reverse": {
      const axes = numbersAttr(view, "axes");
      return indices.map((index, axis) =>
        axes.includes(axis) ? index.scale(-1).offset((from[axis] ?? 1) - 1) : index
      );
    }
    default:
      throw new TypeError(`${view} has no rule for its value: it should have been lowered before`);
  }
}

/** A tensor in memory as a strided view: what the templates read. */
export interface StridedView {
  /** The node whose buffer it is. */
  readonly base: Node;
  /** Elements before the first. */
  readonly offset: number;
  /** Elements between neighbours along each axis of the viewed node. */
  readonly strides: readonly number[];
}

/** The node as strides over the buffer behind its views, or undefined where strides cannot say it. */
export function stridedView(node: Node, isView: (node: Node) => boolean): StridedView | undefined {
  const shape = staticShape(node.shape);
  let indices = shape.map((extent, axis) => Index.variable(`x${axis}`, extent));
  let base = node;
  while (isView(base)) {
    const input = operandOf(base, 0);
    indices = movedIndices(base, input, indices);
    base = input;
  }
  const flat = flatten(indices, staticShape(base.shape));
  if (!flat.isAffine()) return undefined;
  const strides = shape.map((_, axis) => flat.stride(`x${axis}`) ?? 0);
  return strides.some((stride) => stride < 0)
    ? undefined
    : { base, offset: flat.constant, strides };
}

/** Strides of a node that fills its own buffer. */
export function ownStrides(node: Node): number[] {
  return rowMajorStrides(staticShape(node.shape));
}
