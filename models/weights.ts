/** Parameters between programs, structures and named tensors. */
import { flattenTree, unflattenTree } from "../graph/mod.ts";
import { type HostDType, type HostTensor, hostTensor } from "./host_tensor.ts";
import { isDeclaration, type ParameterValues } from "./parameters.ts";

/** Tensors by name are not the parameters of the model. */
export class WeightsError extends TypeError {
  override readonly name = "WeightsError";
}

interface Floats {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

function isFloats(value: unknown): value is Floats {
  return typeof value === "object" && value !== null && "shape" in value && "data" in value &&
    value.data instanceof Float32Array;
}

/**
 * The f32 tensors of a structure by path, such as what a program's `get("state/parameters")` gives.
 *
 * @throws {TypeError} When something in the structure is no f32 tensor.
 */
export function namedTensors(values: unknown): Map<string, HostTensor<"f32">> {
  const found = flattenTree(values, isFloats);
  return new Map(
    [...found].map(([path, { shape, data }]) => [path, hostTensor("f32", shape, data)]),
  );
}

/**
 * The structure that is declared, filled with the tensors of those names.
 *
 * @param from Where the tensors are from, for messages.
 * @throws {WeightsError} When a tensor is missing, has no place, or is not f32 of the declared shape.
 */
export function valuesFrom<Declarations>(
  declarations: Declarations,
  tensors: ReadonlyMap<string, HostTensor>,
  from: string,
): ParameterValues<Declarations> {
  const wanted = new Map(
    [...flattenTree(declarations, isDeclaration)].map(([name, { shape }]) => [
      name,
      { dtype: "f32" as const, shape },
    ]),
  );
  requireTensors(wanted, tensors, from);
  const values = new Map<string, Float32Array<ArrayBuffer>>();
  for (const [name, { dtype, data }] of tensors) {
    if (dtype === "f32") values.set(name, Float32Array.from(data));
  }
  return unflattenTree(declarations, isDeclaration, values);
}

/** Element type and shape of a tensor, and nothing of its numbers. */
export interface TensorType {
  readonly dtype: HostDType;
  readonly shape: readonly number[];
}

/**
 * Checks that there are just the tensors that are wanted.
 *
 * @param converts Whether a tensor of this type can be made one of that type.
 * @throws {WeightsError} When one is missing, has no place, or is not what is wanted.
 */
export function requireTensors(
  wanted: ReadonlyMap<string, TensorType>,
  found: ReadonlyMap<string, TensorType>,
  from: string,
  converts = (found: HostDType, wanted: HostDType) => found === wanted,
): void {
  for (const name of found.keys()) {
    if (!wanted.has(name)) throw new WeightsError(`${from}: the model has no "${name}"`);
  }
  for (const [name, { dtype, shape }] of wanted) {
    const tensor = found.get(name);
    const dims = `[${shape.join(", ")}]`;
    const same = tensor !== undefined && `[${tensor.shape.join(", ")}]` === dims;
    if (same && converts(tensor.dtype, dtype)) continue;
    const is = tensor === undefined ? "missing" : `${tensor.dtype}[${tensor.shape.join(", ")}]`;
    throw new WeightsError(`${from}: "${name}" is ${is}, wanted ${dtype}${dims}`);
  }
}
