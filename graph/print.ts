/** Graphs as text: one short line a node, numbered from 0, so that a snapshot of it is stable. */
import { type Node, topologicalOrder } from "./node.ts";
import type { AttrValue } from "./op.ts";
import { formatShape } from "./shape.ts";
import { formatSite } from "./site.ts";

/** What stands behind each line. */
export interface PrintOptions {
  /** The scope path. Default true. */
  readonly scopes?: boolean;
  /** The user's file and line. Default false. */
  readonly sites?: boolean;
}

/** A graph with named ends. */
export interface PrintableGraph {
  readonly inputs: ReadonlyMap<string, Node>;
  readonly outputs: ReadonlyMap<string, Node>;
}

/** Attributes that the type after the colon already shows. */
const SHOWN_BY_TYPE = new Set(["dtype", "shape"]);
const SHOWN_VALUES = 6;

/**
 * The graph, or all that the nodes need, as text such as
 *
 * ```text
 * %0 = input "x" : f32[batch, 4]
 * %1 = sum %0 {axes=[1]} : f32[batch]  # encoder/0 vit.ts:41
 * loss = %1
 * ```
 */
export function printGraph(
  graph: PrintableGraph | Iterable<Node>,
  options: PrintOptions = {},
): string {
  const named = "outputs" in graph;
  const roots = named ? [...graph.inputs.values(), ...graph.outputs.values()] : [...graph];
  const numbers = new Map<Node, number>();
  const lines: string[] = [];
  for (const node of topologicalOrder(roots)) {
    numbers.set(node, numbers.size);
    lines.push(printNode(node, numbers, options));
  }
  const outputs = named ? graph.outputs : new Map<string, Node>();
  for (const [path, node] of outputs) lines.push(`${path} = %${numbers.get(node)}`);
  return lines.join("\n");
}

function printNode(node: Node, numbers: ReadonlyMap<Node, number>, options: PrintOptions): string {
  const inputs = node.inputs.map((input) => ` %${numbers.get(input)}`).join("");
  const attrs = Object.entries(node.attrs)
    .filter(([name, value]) => value !== undefined && !SHOWN_BY_TYPE.has(name) && name !== "path")
    .map(([name, value]) => `${name}=${printAttr(value)}`);
  const { path } = node.attrs;
  const name = path ?? node.label;
  const text = [
    `%${numbers.get(node)} = ${node.op.name}${inputs}`,
    name === undefined ? "" : ` "${String(name)}"`,
    attrs.length === 0 ? "" : ` {${attrs.join(", ")}}`,
    ` : ${node.dtype}${formatShape(node.shape)}`,
  ].join("");
  const notes = [
    (options.scopes ?? true) ? node.scope : "",
    options.sites === true ? formatSite(node.site) : "",
  ].filter((note) => note !== "");
  return notes.length === 0 ? text : `${text}  # ${notes.join(" ")}`;
}

function printAttr(value: AttrValue): string {
  if (ArrayBuffer.isView(value)) return printData(value);
  if (Array.isArray(value)) return `[${value.map(String).join(", ")}]`;
  return String(value);
}

function printData(data: ArrayLike<number>): string {
  const shown = Array.from(
    { length: Math.min(data.length, SHOWN_VALUES) },
    (_, index) => String(Number((data[index] ?? NaN).toPrecision(6))),
  );
  return data.length > SHOWN_VALUES
    ? `[${shown.join(", ")}, … ${data.length}]`
    : `[${shown.join(", ")}]`;
}
