/** Nested structures of host tensors, by the paths of a program's inputs and outputs. */
import type { DType } from "../graph/dtype.ts";
import { Tensor } from "../graph/node.ts";
import { InputError } from "./errors.ts";
import { type HostPort, type HostTensor, type HostValue, isHostValue } from "./host_array.ts";
import { suggestion } from "./nearest_name.ts";

/** Host tensors in objects and arrays. */
export type HostTree = Collected<HostTensor>;

/** Leaves in objects and arrays. */
type Collected<Leaf> =
  | Leaf
  | { readonly [name: string]: Collected<Leaf> }
  | readonly Collected<Leaf>[];

/**
 * What may be given for a traced structure `T`; whatever was set before may be left out. In place of a
 * tensor may stand a function that makes it, called when the tensor is copied into the program: so of
 * many, only one lies in memory at a time.
 */
export type HostInputs<T> = T extends Tensor<infer D extends DType>
  ? HostValue<D> | (() => HostValue<D>)
  : { readonly [K in keyof T]?: HostInputs<T[K]> };

/** The same structure with host tensors in place of graph tensors. */
export type HostOutputs<T> = T extends Tensor<infer D extends DType> ? HostTensor<D>
  : { readonly [K in keyof T]: HostOutputs<T[K]> };

/**
 * `T` without what is at the paths `P`, such as `state` or `state/parameters`. Paths that are not
 * known to the type checker take nothing away.
 */
export type WithoutPaths<T, P extends string> = [P] extends [never] ? T
  : string extends P ? T
  : T extends Tensor ? T
  : {
    [K in keyof T as K extends P ? never : K]: WithoutPaths<T[K], PathsBelow<P, K & string>>;
  };

type PathsBelow<P extends string, K extends string> = P extends `${K}/${infer Rest}` ? Rest : never;

/** What is at the path `P` of `T`; a bare tensor is at `input`. */
export type AtPath<T, P extends string> = T extends Tensor ? P extends "input" ? T : unknown
  : P extends keyof T ? T[P]
  : P extends `${infer K}/${infer Rest}` ? K extends keyof T ? AtPath<T[K], Rest> : unknown
  : unknown;

/** What was given for an input. */
export interface PortValue {
  readonly port: HostPort;
  readonly value: unknown;
}

/**
 * Walks the given structure, which stands at the path `root`, and pairs its values with the ports
 * at their paths.
 *
 * @throws {InputError} When a name is unknown, or a structure stands where a tensor is wanted.
 */
export function pairWithPorts(
  tree: unknown,
  ports: ReadonlyMap<string, HostPort>,
  root = "",
): PortValue[] {
  const pairs: PortValue[] = [];
  addPairs(pairs, tree, ports, root);
  return pairs;
}

/** Adds the pairs of the structure that stands at a path. */
function addPairs(
  pairs: PortValue[],
  value: unknown,
  ports: ReadonlyMap<string, HostPort>,
  path: string,
): void {
  if (value === undefined) return;
  const port = ports.get(path);
  if (port !== undefined) {
    pairs.push({ port, value });
  } else if (!isGroup(ports.keys(), path)) {
    throw new InputError(`There is no input "${path}"${suggestNear(path, ports)}`);
  } else if (isHostValue(value) || typeof value !== "object" || value === null) {
    const members = [...ports.keys()].filter((name) => isUnder(name, path));
    throw new InputError(
      `Input "${path}" is a group of ${members.length} inputs (${quoted(members)}): ` +
        "wanted an object with those",
    );
  } else {
    for (const [name, member] of Object.entries(value)) {
      addPairs(pairs, member, ports, join(path, name));
    }
  }
}

/** Gives what is to stand in place of the tensor at a path. */
type LeafAt<Leaf> = (path: string, tensor: Tensor) => Leaf | undefined;

/**
 * The traced structure, or the part of it at `path`, with what `leafAt` gives for each leaf. Leaves for
 * which it gives nothing are left out, and so are records without leaves.
 */
export function collectTree<Leaf>(
  traced: unknown,
  leafAt: LeafAt<Leaf>,
  path = "",
): Collected<Leaf> | undefined {
  const subtree = partAt(traced, "", path);
  return subtree === undefined ? undefined : collect(subtree, path, leafAt);
}

function collect<Leaf>(
  part: unknown,
  path: string,
  leafAt: LeafAt<Leaf>,
): Collected<Leaf> | undefined {
  if (part instanceof Tensor) return leafAt(path, part);
  if (typeof part !== "object" || part === null) return undefined;
  if (Array.isArray(part)) {
    const items = part.map((item, index) => collect(item, join(path, String(index)), leafAt));
    // A left-out item keeps its place, so that the others keep theirs.
    return items.every((item) => item === undefined) ? undefined : items as Collected<Leaf>[];
  }
  const entries = Object.entries(part)
    .map(([name, item]) => [name, collect(item, join(path, name), leafAt)] as const)
    .filter((entry): entry is [string, Collected<Leaf>] => entry[1] !== undefined);
  return entries.length === 0 ? undefined : Object.fromEntries(entries);
}

/** The part of the structure whose path is `wanted`. Keys may hold slashes. */
function partAt(part: unknown, path: string, wanted: string): unknown {
  if (path === wanted) return part;
  if (typeof part !== "object" || part === null || part instanceof Tensor) return undefined;
  for (const [name, item] of Object.entries(part)) {
    const below = join(path, name);
    if (below !== wanted && !isUnder(wanted, below)) continue;
    const found = partAt(item, below, wanted);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** A list of names for a message: the first few, and how many more. */
export function quoted(names: readonly string[]): string {
  const shown = names.slice(0, 4).map((name) => `"${name}"`).join(", ");
  return names.length > 4 ? `${shown} and ${names.length - 4} more` : shown;
}

function suggestNear(path: string, ports: ReadonlyMap<string, HostPort>): string {
  const depth = path.split("/").length;
  // Compared with names of the same depth: "imagez" with "images", not with "state/step".
  const near = new Set([...ports.keys()].map((name) => name.split("/").slice(0, depth).join("/")));
  const found = suggestion(path, near);
  return found === "" ? `; there are ${quoted([...ports.keys()])}` : found;
}

function join(path: string, name: string): string {
  return path === "" ? name : `${path}/${name}`;
}

function isUnder(name: string, path: string): boolean {
  return path === "" || name.startsWith(`${path}/`);
}

function isGroup(names: Iterable<string>, path: string): boolean {
  if (path === "") return true;
  for (const name of names) if (isUnder(name, path)) return true;
  return false;
}
