/**
 * From graph nodes to loop IR expressions: the value of a node at an index, computed in place from
 * what is in memory. Movement ops become index arithmetic here.
 */
import { type DType, isHalf } from "../../graph/dtype.ts";
import type { Node } from "../../graph/node.ts";
import { staticShape, staticSize } from "../../graph/shape.ts";
import { Index, integerConstant, unflatten } from "../index_expr.ts";
import type { Expr, ScalarType } from "../loop_ir.ts";
import { isBinaryOp, isUnaryOp } from "../scalar_ops.ts";
import { isView } from "../schedule/access.ts";
import { numberAttr, numbersAttr, operandOf, uniformConstant } from "./attributes.ts";
import { clampedIndex } from "./ranges.ts";
import { movedIndices } from "./views.ts";

/** Where values come from when they are not computed in place. */
export interface ValueSource {
  /** The node's value where it is held (a buffer, an accumulator), or undefined to compute it. */
  held(node: Node, indices: readonly Index[]): Expr | undefined;
}

/** The type that arithmetic on a storage type is done in. */
export function scalarType(dtype: DType): ScalarType {
  return isHalf(dtype) ? "f32" : dtype;
}

/** A constant of the type. */
export function scalarConstant(type: ScalarType, value: number): Expr {
  return { kind: "const", type, value };
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
    if (isUnaryOp(name)) {
      return { kind: "unary", op: name, type, a: this.#operand(node, 0, indices) };
    }
    if (isBinaryOp(name)) {
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
    if (!isHalf(dtype)) return value;
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
    const places = indices.slice(axis, axis + rank).map((index) => index.key).join();
    const key = `take${positions.id}<${extent}@${places}`;
    const index = Index.loaded(key, extent, clampedIndex(picked, extent));
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
