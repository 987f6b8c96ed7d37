/**
 * The graph's one kind of object: an immutable, hash-consed tensor node. Building the same op from
 * the same inputs twice gives the same node, so common subexpressions are shared by construction.
 */
import type { DType } from "./dtype.ts";
import { formatShape, type Shape } from "./shape.ts";
import { captureOrigin, type Origin, type Site } from "./site.ts";
import type { Attrs, AttrValue, OpRecord } from "./op.ts";

/** Element type and shape. */
export interface TensorType {
  readonly dtype: DType;
  readonly shape: Shape;
}

/**
 * A tensor in the graph: what op makes it, from what. It holds no numbers.
 *
 * `D` and `S` carry the element type and the shape to the TypeScript compiler.
 */
export class Tensor<out D extends DType = DType, out S extends Shape = Shape> {
  /** Order of creation; an input's id is always lower than its user's. */
  readonly id: number;
  readonly op: OpRecord;
  readonly inputs: readonly Tensor[];
  readonly attrs: Attrs;
  readonly dtype: D;
  readonly shape: S;
  /** The user's name for it, if any. */
  readonly label: string | undefined;
  /** Where in the model: `encoder/3/attention`. Empty at the top. */
  readonly scope: string;
  /** What finds out {@linkcode site}. */
  readonly origin: Origin;

  /** Use {@linkcode makeNode} or an op's builder. */
  constructor(fields: NodeFields & { id: number; dtype: D; shape: S }) {
    this.id = fields.id;
    this.op = fields.op;
    this.inputs = fields.inputs;
    this.attrs = fields.attrs;
    this.dtype = fields.dtype;
    this.shape = fields.shape;
    this.label = fields.label;
    this.scope = fields.scope;
    this.origin = fields.origin;
    Object.freeze(this);
  }

  /** The user's line that made it. */
  get site(): Site | undefined {
    return this.origin();
  }

  /** Text such as `%12 add f32[2, 3]`. */
  toString(): string {
    return `%${this.id} ${this.op.name} ${this.dtype}${formatShape(this.shape)}`;
  }
}

/** A node of whatever type: what the compiler works on. */
export type Node = Tensor<DType, Shape>;

interface NodeFields {
  op: OpRecord;
  inputs: readonly Tensor[];
  attrs: Attrs;
  label: string | undefined;
  scope: string;
  origin: Origin;
}

const interned = new Map<string, WeakRef<Node>>();
const forget = new FinalizationRegistry<string>((key) => {
  if (interned.get(key)?.deref() === undefined) interned.delete(key);
});
let nextId = 0;

const bulkIds = new WeakMap<object, number>();
let nextBulkId = 0;

/** Arrays longer than this are told apart by identity, not by content. */
const CONTENT_KEY_LIMIT = 32;

function attrKey(value: AttrValue): string {
  if (ArrayBuffer.isView(value)) {
    if (value.length <= CONTENT_KEY_LIMIT) {
      return `${value.constructor.name}(${Array.from(value, numberKey).join()})`;
    }
    let id = bulkIds.get(value);
    if (id === undefined) bulkIds.set(value, id = nextBulkId++);
    return `bulk#${id}`;
  }
  if (Array.isArray(value)) return `[${value.map(attrKey).join()}]`;
  if (typeof value === "number") return numberKey(value);
  if (typeof value === "string") return JSON.stringify(value);
  return String(value);
}

function numberKey(value: number): string {
  return Object.is(value, -0) ? "-0" : String(value);
}

const scopes: string[] = [];

/** Runs `build` with `name` appended to the scope path of every node made in it. */
export function withScope<T>(name: string | number, build: () => T): T {
  scopes.push(String(name));
  try {
    return build();
  } finally {
    scopes.pop();
  }
}

/** What a node inherits when it is made in place of another by a rewrite or a gradient. */
export interface Provenance {
  readonly label?: string | undefined;
  readonly scope: string;
  readonly origin: Origin;
}

let provenance: Provenance | undefined;

/** Runs `build` so that every node made in it carries the given scope and origin. */
export function withProvenance<T>(from: Provenance, build: () => T): T {
  const before = provenance;
  provenance = from;
  try {
    return build();
  } finally {
    provenance = before;
  }
}

const recordings: Set<Node>[] = [];

/**
 * Runs `build` and collects every node that is asked for in it, the known ones too: which nodes a
 * computation is made of does not depend on what was built before.
 */
export function recordNodes<T>(build: () => T): { result: T; made: ReadonlySet<Node> } {
  const made = new Set<Node>();
  recordings.push(made);
  try {
    return { result: build(), made };
  } finally {
    recordings.pop();
    for (const node of made) recordings.at(-1)?.add(node);
  }
}

/**
 * The node of `op` over `inputs`: inferred, checked, hash-consed.
 *
 * @throws {GraphError} When the op does not take these operands.
 */
export function makeNode<A extends Attrs>(
  op: OpRecord<A>,
  inputs: readonly Tensor[],
  attrs: A,
  label?: string,
): Node {
  const type = op.infer(inputs, attrs);
  const attrText = Object.keys(attrs).sort().map((name) => {
    const value = attrs[name];
    return value === undefined ? "" : `${name}=${attrKey(value)}`;
  });
  const inputText = inputs.map((input) => input.id).join();
  const shapeText = type.shape.map(String).join();
  const key = `${op.name}(${inputText}){${attrText.join(";")}}${type.dtype}[${shapeText}]`;
  const node = interned.get(key)?.deref() ?? intern(key, op, inputs, attrs, type, label);
  recordings.at(-1)?.add(node);
  return node;
}

function intern<A extends Attrs>(
  key: string,
  op: OpRecord<A>,
  inputs: readonly Tensor[],
  attrs: A,
  type: TensorType,
  label: string | undefined,
): Node {
  const node = new Tensor({
    id: nextId++,
    // The record is stored without its attribute type: `attrs` was checked against it just above.
    op: op as unknown as OpRecord,
    inputs: Object.freeze([...inputs]),
    attrs: Object.freeze({ ...attrs }),
    dtype: type.dtype,
    shape: Object.freeze([...type.shape]),
    label,
    scope: provenance?.scope ?? scopes.join("/"),
    origin: provenance?.origin ?? captureOrigin(),
  });
  interned.set(key, new WeakRef(node));
  forget.register(node, key);
  return node;
}

/** All nodes that the roots need, each after its inputs. */
export function topologicalOrder(roots: Iterable<Node>): Node[] {
  const order: Node[] = [];
  const seen = new Set<Node>();
  const stack: { node: Node; next: number }[] = [];
  for (const root of roots) {
    if (seen.has(root)) continue;
    seen.add(root);
    stack.push({ node: root, next: 0 });
    while (stack.length > 0) {
      const top = stack[stack.length - 1];
      if (top === undefined) break;
      const input = top.node.inputs[top.next++];
      if (input === undefined) {
        order.push(top.node);
        stack.pop();
      } else if (!seen.has(input)) {
        seen.add(input);
        stack.push({ node: input, next: 0 });
      }
    }
  }
  return order;
}
