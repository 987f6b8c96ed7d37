/** Parameters between programs and files. */
import type { ParameterValues } from "./parameters.ts";
import { readSafetensors, writeSafetensors } from "./safetensors_file.ts";
import { namedTensors, valuesFrom } from "./weights.ts";

/**
 * Writes parameters, as a program's `get` gives them, into one safetensors file.
 *
 * @throws {TypeError} When something in the structure is no f32 tensor.
 * @throws {FileWriteError} When the file cannot be written.
 */
export async function saveParameters(path: string | URL, values: unknown): Promise<void> {
  await writeSafetensors(path, namedTensors(values));
}

/**
 * Reads the declared parameters from a safetensors file, in the structure that programs take.
 *
 * @throws {WeightsError} When they are not those of the declarations.
 * @throws {SafetensorsError} When the file is malformed.
 */
export async function loadParameters<Declarations>(
  path: string | URL,
  declarations: Declarations,
): Promise<ParameterValues<Declarations>> {
  const { tensors } = await readSafetensors(path);
  return valuesFrom(declarations, tensors, String(path));
}
