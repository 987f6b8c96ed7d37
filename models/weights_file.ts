/** Parameters between programs and files. */
import type { ParameterValues } from "./parameters.ts";
import { readSafetensors, writeSafetensors } from "./safetensors_file.ts";
import { SafetensorsError } from "./safetensors_header.ts";
import { namedTensors, valuesFrom } from "./weights.ts";
import { type LoadableProgram, type StreamOptions, streamParameters } from "./weights_stream.ts";

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

/**
 * Sets a program's parameters from a safetensors file, read straight into the program's memory: see
 * {@linkcode streamParameters}.
 *
 * ```ts ignore
 * await loadParametersInto(program, "vit.safetensors");
 * ```
 *
 * @throws {WeightsError} When they are not those that the program wants, before any is read.
 * @throws {SafetensorsError} When the file is malformed.
 * @throws {InputError} When a number is NaN, unless the program was compiled not to look.
 */
export async function loadParametersInto(
  program: LoadableProgram,
  path: string | URL,
  options: Pick<StreamOptions, "at" | "rename"> = {},
): Promise<void> {
  using file = await Deno.open(path, { read: true });
  const source = String(path);
  const { size, isFile } = await file.stat();
  if (!isFile) throw new SafetensorsError("read", source, "it is not a regular file");
  await streamParameters(program, chunksOf(file), { ...options, source, bytes: size });
}

const CHUNK_BYTES = 2 ** 20;

async function* chunksOf(file: Deno.FsFile): AsyncGenerator<Uint8Array> {
  const chunk = new Uint8Array(CHUNK_BYTES);
  for (;;) {
    const count = await file.read(chunk);
    if (count === null) return;
    yield chunk.subarray(0, count);
  }
}
