/** How a reduction of the graph folds values in a loop. */
import type { Node } from "../../graph/node.ts";
import type { Accumulator, Expr } from "../loop_ir.ts";
import { scalarConstant, scalarType } from "./values.ts";

/** The accumulator of a reduction, given its operand's value in each iteration. */
export function accumulatorOf(node: Node, name: string, value: Expr): Accumulator {
  const op = combineOp(node);
  return {
    name,
    type: scalarType(node.dtype),
    op,
    value: op === "argmax" ? neverLargest(value) : value,
  };
}

function combineOp(node: Node): Accumulator["op"] {
  const { name } = node.op;
  if (name === "sum" || name === "max" || name === "min" || name === "argmax") return name;
  throw new TypeError(`${node} is not a reduction`);
}

/** The value, or what is least where it is NaN: the graph's argmax passes NaN over, loop IR's picks it. */
function neverLargest(value: Expr): Expr {
  const isNumber: Expr = { kind: "binary", op: "equal", type: "bool", a: value, b: value };
  const least = scalarConstant("f32", -Infinity);
  return { kind: "select", type: "f32", condition: isNumber, a: value, b: least };
}
