/**
 * Nested structures of parameters, optimizer state and the like: plain objects and arrays with leaves at
 * the ends. A leaf's path joins the names on the way with slashes: `encoder/3/mlp/in/kernel`.
 */
import type { Initializer } from "./initializers.ts";
import { hostFoldIn, hostKey, hostWords } from "./random_words.ts";

/** A parameter before it has a value: f32, of some shape. */
export class ParameterDeclaration {
  readonly shape: readonly number[];
  readonly initializer: Initializer;

  /** Use {@linkcode declare}. */
  constructor(shape: readonly number[], initializer: Initializer) {
    this.shape = shape;
    this.initializer = initializer;
  }

  /** Numbers in it. */
  get size(): number {
    return this.shape.reduce((total, size) => total * size, 1);
  }
}

/** A parameter of a shape and how it is first drawn. */
export function declare(shape: readonly number[], initializer: Initializer): ParameterDeclaration {
  return new ParameterDeclaration([...shape], initializer);
}

/** The structure `P` with each leaf of type `From` replaced by a `To`. */
export type MapLeaves<P, From, To> = P extends From ? To
  : { readonly [Name in keyof P]: MapLeaves<P[Name], From, To> };

function isBranch(value: unknown): value is Readonly<Record<string, unknown>> | readonly unknown[] {
  if (typeof value !== "object" || value === null) return false;
  return Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype;
}

/**
 * The leaves by path, in the order in which they stand. Fields that are undefined are left out.
 *
 * `Leaf` is what the caller knows the leaves to be.
 */
export function leavesOf<Leaf>(tree: unknown): Map<string, Leaf> {
  const leaves = new Map<string, Leaf>();
  walk(tree, "", (path, leaf) => leaves.set(path, leaf as Leaf));
  return leaves;
}

function walk(tree: unknown, path: string, visit: (path: string, leaf: unknown) => void): void {
  if (tree === undefined) return;
  if (!isBranch(tree)) return visit(path, tree);
  for (const [name, child] of Object.entries(tree)) {
    walk(child, path === "" ? name : `${path}/${name}`, visit);
  }
}

/** A structure like `tree` whose leaves are what `map` makes of its own. */
export function mapLeaves<From, To, P>(
  tree: P,
  map: (leaf: From, path: string) => To,
): MapLeaves<P, From, To> {
  // The type says what the walk does: a leaf becomes a `To`, a branch keeps its names.
  return mapBelow(tree, "", (leaf, path) => map(leaf as From, path)) as MapLeaves<P, From, To>;
}

function mapBelow(
  tree: unknown,
  path: string,
  map: (leaf: unknown, path: string) => unknown,
): unknown {
  if (!isBranch(tree)) return map(tree, path);
  const below = (child: unknown, name: string | number) =>
    mapBelow(child, path === "" ? String(name) : `${path}/${name}`, map);
  if (Array.isArray(tree)) return tree.map(below);
  const present = Object.entries(tree).filter(([, child]) => child !== undefined);
  return Object.fromEntries(present.map(([name, child]) => [name, below(child, name)]));
}

/**
 * A structure like `tree` with the leaves found by path.
 *
 * @throws {TypeError} When a path of the structure has no leaf in `leaves`, or a leaf no place in it.
 */
export function withLeaves<From, To, P>(
  tree: P,
  leaves: ReadonlyMap<string, To>,
): MapLeaves<P, From, To> {
  const used = new Set<string>();
  const filled = mapLeaves<From, To, P>(tree, (_, path) => {
    const leaf = leaves.get(path);
    if (leaf === undefined) throw new TypeError(`There is no value for "${path}"`);
    used.add(path);
    return leaf;
  });
  const extra = [...leaves.keys()].filter((path) => !used.has(path));
  if (extra.length > 0) {
    throw new TypeError(`There is no place for ${extra.map((path) => `"${path}"`).join(", ")}`);
  }
  return filled;
}

/**
 * First values of declared parameters. Each is drawn with a key of its own, made of the seed and its path:
 * adding or removing a parameter changes no other.
 *
 * @throws {RangeError} When the seed is not a whole number from 0 to 2^32 - 1.
 */
export function initialize<D>(
  declarations: D,
  seed: number,
): MapLeaves<D, ParameterDeclaration, Float32Array<ArrayBuffer>> {
  const key = hostFoldIn(hostKey(seed), "parameters");
  return mapLeaves<ParameterDeclaration, Float32Array<ArrayBuffer>, D>(
    declarations,
    ({ initializer, size }, path) =>
      initializer(size, (count) => hostWords(hostFoldIn(key, path), count)),
  );
}
