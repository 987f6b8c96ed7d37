/** Parameters before they have values: their shapes, and how their first values are drawn. */
import { type MapTree, mapTree, spec, type TensorSpec } from "../graph/mod.ts";
import { staticSize } from "../graph/shape.ts";
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
    return staticSize(this.shape);
  }
}

/** A parameter of a shape and how it is first drawn. */
export function declare(shape: readonly number[], initializer: Initializer): ParameterDeclaration {
  return new ParameterDeclaration([...shape], initializer);
}

/** Whether the value is a declaration: a leaf of a structure of them. */
export function isDeclaration(value: unknown): value is ParameterDeclaration {
  return value instanceof ParameterDeclaration;
}

/** Values of the parameters that the structure declares. */
export type ParameterValues<Declarations> = MapTree<
  Declarations,
  ParameterDeclaration,
  Float32Array<ArrayBuffer>
>;

/** Element type and shape of each declared parameter, to trace with. */
export function specsOf<Declarations>(
  declarations: Declarations,
): MapTree<Declarations, ParameterDeclaration, TensorSpec<"f32">> {
  return mapTree(declarations, isDeclaration, ({ shape }): TensorSpec<"f32"> => spec("f32", shape));
}

/** Functions that make the values of the parameters that the structure declares. */
export type ParameterDraws<Declarations> = MapTree<
  Declarations,
  ParameterDeclaration,
  () => Float32Array<ArrayBuffer>
>;

/**
 * First values of declared parameters. Each is drawn with a key of its own, made of the seed and its path:
 * adding or removing a parameter changes no other.
 *
 * @throws {RangeError} When the seed is not a whole number from 0 to 2^32 - 1.
 */
export function initialize<Declarations>(
  declarations: Declarations,
  seed: number,
): ParameterValues<Declarations> {
  const draw = drawer(seed);
  return mapTree(declarations, isDeclaration, (declaration, path) => draw(declaration, path)());
}

/**
 * The same values, each drawn when it is asked for: a program's `set` takes the functions, and then only
 * one of the parameters at a time lies in memory beside the program's.
 *
 * @throws {RangeError} When the seed is not a whole number from 0 to 2^32 - 1.
 */
export function initializeLazily<Declarations>(
  declarations: Declarations,
  seed: number,
): ParameterDraws<Declarations> {
  return mapTree(declarations, isDeclaration, drawer(seed));
}

type Draw = () => Float32Array<ArrayBuffer>;

function drawer(seed: number): (declaration: ParameterDeclaration, path: string) => Draw {
  const key = hostFoldIn(hostKey(seed), "parameters");
  return ({ initializer, size }, path) => () =>
    initializer(size, (count) => hostWords(hostFoldIn(key, path), count));
}
