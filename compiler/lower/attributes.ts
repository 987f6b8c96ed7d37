/** What a node's op knows about it, checked. */
import type { Node } from "../../graph/node.ts";

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

/** An input of a node that must be there. */
export function operandOf(node: Node, position: number): Node {
  const input = node.inputs[position];
  if (input === undefined) throw new TypeError(`${node} has no operand ${position}`);
  return input;
}
