/**
 * Shapes: tuples of dims, where a dim is a whole number or a named symbol bound when the program is
 * compiled. A symbol may stand in a product (`4*batch`), which is what reshapes make of it.
 */

/** A size not known until compilation: a product of names, with a whole coefficient. */
export class SymbolicDim<Name extends string = string> {
  /** Canonical text of the product, such as `batch` or `4*batch*tokens`. Equal text, equal dim. */
  readonly name: Name;
  /** Whole number in front of the names. */
  readonly coefficient: number;
  /** The names, sorted; one that is squared stands twice. */
  readonly factors: readonly string[];

  /** Use {@linkcode dim}: equal symbols are then one object. */
  constructor(name: Name, coefficient: number, factors: readonly string[]) {
    this.name = name;
    this.coefficient = coefficient;
    this.factors = factors;
  }

  /** The canonical text. */
  toString(): string {
    return this.name;
  }
}

/** One axis' size. */
export type Dim = number | SymbolicDim;

/** Sizes of all axes, outermost first. A scalar's shape is empty. */
export type Shape = readonly Dim[];

/** A shape in which every symbol has been bound. */
export type StaticShape = readonly number[];

/** What each symbol's name is bound to. */
export type DimBindings = Readonly<Record<string, number>>;

const interned = new Map<string, SymbolicDim>();

function product(coefficient: number, factors: readonly string[]): Dim {
  if (factors.length === 0) return coefficient;
  if (coefficient === 0) return 0;
  const sorted = [...factors].sort();
  const name = (coefficient === 1 ? sorted : [String(coefficient), ...sorted]).join("*");
  const known = interned.get(name);
  if (known !== undefined) return known;
  const made = new SymbolicDim(name, coefficient, sorted);
  interned.set(name, made);
  return made;
}

/**
 * A named symbolic dim, such as the batch size. The same name is the same dim.
 *
 * ```ts
 * import { dim } from "@fovea/fovea/graph";
 * const batch = dim("batch");
 * ```
 *
 * @throws {TypeError} When the name is not an identifier.
 */
export function dim<const Name extends string>(name: Name): SymbolicDim<Name> {
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
    throw new TypeError(`Cannot name a dim "${name}": wanted letters, digits and underscores`);
  }
  return product(1, [name]) as SymbolicDim<Name>;
}

/** Whether the two are the same size whatever the symbols are bound to. */
export function sameDim(a: Dim, b: Dim): boolean {
  return a === b;
}

/** Whether two shapes are the same axis by axis. */
export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((size, axis) => sameDim(size, b[axis] ?? -1));
}

/** The product of two dims. */
export function multiplyDims(a: Dim, b: Dim): Dim {
  const left = typeof a === "number" ? { coefficient: a, factors: [] } : a;
  const right = typeof b === "number" ? { coefficient: b, factors: [] } : b;
  return product(left.coefficient * right.coefficient, [...left.factors, ...right.factors]);
}

/** How many elements a shape has: a number, or a product with symbols in it. */
export function elementCount(shape: Shape): Dim {
  return shape.reduce<Dim>((total, size) => multiplyDims(total, size), 1);
}

/** `a / b` where that is exact for every binding, else undefined. */
export function divideDims(a: Dim, b: Dim): Dim | undefined {
  if (typeof a === "number" && typeof b === "number") {
    return b !== 0 && a % b === 0 ? a / b : undefined;
  }
  const top = typeof a === "number" ? { coefficient: a, factors: [] } : a;
  const bottom = typeof b === "number" ? { coefficient: b, factors: [] } : b;
  if (bottom.coefficient === 0 || top.coefficient % bottom.coefficient !== 0) return undefined;
  const left = [...top.factors];
  for (const name of bottom.factors) {
    const at = left.indexOf(name);
    if (at < 0) return undefined;
    left.splice(at, 1);
  }
  return product(top.coefficient / bottom.coefficient, left);
}

/**
 * The number a dim stands for under the bindings.
 *
 * @throws {RangeError} When a name is unbound or bound to something other than a whole number >= 0.
 */
export function bindDim(size: Dim, bindings: DimBindings): number {
  if (typeof size === "number") return size;
  let total = size.coefficient;
  for (const name of size.factors) {
    const value = Object.hasOwn(bindings, name) ? bindings[name] : undefined;
    if (value === undefined) {
      throw new RangeError(
        `Dim "${name}" has no binding: pass bind: { ${name}: <size> } when compiling`,
      );
    }
    if (!Number.isSafeInteger(value) || value < 0) {
      throw new RangeError(`Dim "${name}" is bound to ${value}: wanted a whole number >= 0`);
    }
    total *= value;
  }
  return total;
}

/** Every symbol's name that occurs in the shape. */
export function symbolsOf(shape: Shape): string[] {
  const names = new Set<string>();
  for (const size of shape) {
    if (typeof size !== "number") { for (const name of size.factors) names.add(name); }
  }
  return [...names];
}

/** Text such as `[batch, 197, 768]`. */
export function formatShape(shape: Shape): string {
  return `[${shape.map(String).join(", ")}]`;
}

/** The sizes as numbers, for code that runs after binding. */
export function staticShape(shape: Shape): StaticShape {
  return shape.map((size) => {
    if (typeof size === "number") return size;
    throw new TypeError(`Shape ${formatShape(shape)} still has the unbound dim ${size}`);
  });
}

/** Elements of a static shape. */
export function staticSize(shape: StaticShape): number {
  return shape.reduce((total, size) => total * size, 1);
}
