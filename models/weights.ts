/** Parameters between programs, structures and named tensors. */
import { flattenTree, unflattenTree } from "../graph/mod.ts";
import { type HostTensor, hostTensor } from "./host_tensor.ts";
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
  const declared = flattenTree(declarations, isDeclaration);
  for (const name of tensors.keys()) {
    if (!declared.has(name)) throw new WeightsError(`${from}: the model has no "${name}"`);
  }
  const values = new Map<string, Float32Array<ArrayBuffer>>();
  for (const [name, { shape }] of declared) {
    const tensor = tensors.get(name);
    const found = tensor === undefined ? "missing" : `${tensor.dtype}[${tensor.shape.join(", ")}]`;
    const wanted = `f32[${shape.join(", ")}]`;
    if (tensor?.dtype !== "f32" || found !== wanted) {
      throw new WeightsError(`${from}: "${name}" is ${found}, wanted ${wanted}`);
    }
    values.set(name, Float32Array.from(tensor.data));
  }
  return unflattenTree(declarations, isDeclaration, values);
}
