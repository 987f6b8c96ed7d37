/** The golden ViT of tests/golden: its configuration, its parameters, and what they must give. */
import type { ReferenceTensor } from "../../graph/mod.ts";
import type { VitOptions } from "../../models/config.ts";
import type { HostTensor } from "../../models/host_tensor.ts";
import { readSafetensors } from "../../models/safetensors_file.ts";
import golden from "../golden/vit_small.json" with { type: "json" };

const { config } = golden;

/** The configuration with one of the two GELU forms. */
export function goldenConfig(gelu: "tanh" | "erf"): VitOptions {
  return {
    imageSize: config.imageSize,
    patchSize: config.patchSize,
    channels: config.channels,
    width: config.width,
    depth: config.depth,
    mlpWidth: config.mlpDim,
    heads: config.heads,
    classes: config.classes,
    pool: "cls",
    gelu,
  };
}

/** All golden tensors by name. */
export async function goldenTensors(): Promise<ReadonlyMap<string, HostTensor>> {
  const path = new URL("../golden/vit_small.safetensors", import.meta.url);
  return (await readSafetensors(path)).tensors;
}

/** A tensor of the file as f64 numbers. */
export function numbersOf(tensors: ReadonlyMap<string, HostTensor>, name: string): Float64Array {
  const tensor = tensors.get(name);
  if (tensor === undefined) throw new Error(`The golden file has no "${name}"`);
  if (tensor.dtype !== "f32" && tensor.dtype !== "f64") throw new Error(`"${name}" is no float`);
  return Float64Array.from(tensor.data);
}

/** A tensor of the file as an f32 input of the reference evaluator. */
export function inputOf(tensors: ReadonlyMap<string, HostTensor>, name: string): ReferenceTensor {
  return { dtype: "f32", shape: tensors.get(name)?.shape ?? [], data: numbersOf(tensors, name) };
}

/** The 2-norm of the numbers. */
export function norm(values: ArrayLike<number>): number {
  let total = 0;
  for (let index = 0; index < values.length; index++) total += (values[index] ?? NaN) ** 2;
  return Math.sqrt(total);
}

/** The 2-norm of the difference of two equally long lists. */
export function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) throw new Error(`Lengths ${a.length} and ${b.length} differ`);
  return norm(Array.from(a, (value, index) => value - (b[index] ?? NaN)));
}
