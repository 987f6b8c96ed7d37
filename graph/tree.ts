/**
 * Nested structures of records and arrays (parameters, batches, results), walked leaf by leaf. A
 * leaf's path joins the keys to it by slashes: `encoder/0/kernel`.
 */

/** A leaf, or a record or an array of trees. A part may be undefined: it has no leaves. */
export type Tree<Leaf> =
  | Leaf
  | undefined
  | readonly Tree<Leaf>[]
  | { readonly [key: string]: Tree<Leaf> };

/** The structure with another type of leaf. */
export type MapTree<Structure, Leaf, To> = Structure extends Leaf ? To
  : Structure extends readonly unknown[] | object
    ? { -readonly [Key in keyof Structure]: MapTree<Structure[Key], Leaf, To> }
  : Structure;

type IsLeaf<Leaf> = (value: unknown) => value is Leaf;

/**
 * The same structure with every leaf replaced.
 *
 * @throws {TypeError} When something is neither a leaf nor a plain record nor an array.
 */
export function mapTree<Structure, Leaf, To>(
  tree: Structure,
  isLeaf: IsLeaf<Leaf>,
  map: (leaf: Leaf, path: string) => To,
): MapTree<Structure, Leaf, To> {
  // The walk below makes just what the mapped type says; TypeScript cannot follow the recursion.
  return mapPart(tree, isLeaf, map, "") as MapTree<Structure, Leaf, To>;
}

function mapPart<Leaf, To>(
  part: unknown,
  isLeaf: IsLeaf<Leaf>,
  map: (leaf: Leaf, path: string) => To,
  path: string,
): unknown {
  if (isLeaf(part)) return map(part, path);
  if (part === undefined) return undefined;
  const inside = (key: string | number) => path === "" ? String(key) : `${path}/${key}`;
  if (Array.isArray(part)) {
    return part.map((item, index) => mapPart(item, isLeaf, map, inside(index)));
  }
  if (!isPlainRecord(part)) {
    const place = path === "" ? "The structure" : `"${path}" in the structure`;
    throw new TypeError(`${place} is ${describe(part)}: wanted a leaf, a record or an array`);
  }
  return Object.fromEntries(
    Object.entries(part).map(([key, item]) => [key, mapPart(item, isLeaf, map, inside(key))]),
  );
}

function isPlainRecord(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function describe(value: unknown): string {
  if (typeof value !== "object" || value === null) return String(value);
  return `a ${value.constructor.name}`;
}

/**
 * All leaves by their paths, in the order of the structure. A bare leaf has the path "".
 *
 * @throws {TypeError} When two leaves have one path (a key holds a slash), or a part is no tree.
 */
export function flattenTree<Leaf>(tree: unknown, isLeaf: IsLeaf<Leaf>): Map<string, Leaf> {
  const leaves = new Map<string, Leaf>();
  mapTree(tree, isLeaf, (leaf, path) => {
    if (leaves.has(path)) {
      throw new TypeError(`Two leaves of the structure have the path "${path}"`);
    }
    leaves.set(path, leaf);
  });
  return leaves;
}

/**
 * The structure of `like`, with the leaves found by their paths.
 *
 * @throws {TypeError} When a path of the structure has no leaf.
 */
export function unflattenTree<Structure, Leaf, To>(
  like: Structure,
  isLeaf: IsLeaf<Leaf>,
  leaves: ReadonlyMap<string, To>,
): MapTree<Structure, Leaf, To> {
  return mapTree(like, isLeaf, (_leaf, path) => {
    const found = leaves.get(path);
    if (found === undefined) throw new TypeError(`The structure's leaf "${path}" has no value`);
    return found;
  });
}
