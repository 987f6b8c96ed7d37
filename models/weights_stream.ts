/** Weights from a stream of bytes straight into a program's memory. */
import type { DType } from "../graph/mod.ts";
import { type HostPort, viewHostData } from "../backends/host_array.ts";
import type { InputPiece, InputSource } from "../backends/input_source.ts";
import { type ByteChunks, ByteReader } from "./byte_reader.ts";
import { bf16ToFloat32, f16ToFloat32, hostBytesPerElement, type HostDType } from "./host_tensor.ts";
import {
  type HeaderEntry,
  parseHeader,
  parsePrefix,
  PREFIX_BYTES,
  PROBE_BYTES,
  SafetensorsError,
} from "./safetensors_header.ts";
import { requireTensors, WeightsError } from "./weights.ts";

/** A program whose inputs can come in pieces: a `CompiledProgram`. */
export interface LoadableProgram {
  readonly inputs: readonly HostPort[];
  load(source: InputSource): Promise<void>;
}

/** Which tensors go where. */
export interface StreamOptions {
  /** The input, or record of inputs, that they become. Default `"parameters"`. */
  readonly at?: string;
  /**
   * What a tensor of the file is called below `at`; undefined for one that is not wanted. Default: its
   * own name.
   */
  readonly rename?: (name: string) => string | undefined;
  /** The file's name, for messages. */
  readonly source?: string;
  /** The file's length, where it is known: then a file cut short is refused before it is read. */
  readonly bytes?: number;
}

/** The most bytes of a tensor that are converted and copied at a time. */
const PIECE_BYTES = 2 ** 20;

/**
 * Sets a program's parameters from the bytes of a safetensors file as they come: a tensor never lies in
 * memory beside the program's, and names, shapes and element types are checked before the first byte of
 * data is taken. f16 and bf16 become f32 where the program wants that. When it fails, the parameters
 * count as not set.
 *
 * ```ts ignore
 * const { body } = await fetch("vit.safetensors");
 * await streamParameters(program, body);
 * ```
 *
 * @throws {WeightsError} When the tensors are not those that the program wants.
 * @throws {SafetensorsError} When the file is malformed.
 * @throws {InputError} When a number is NaN, unless the program was compiled not to look.
 */
export async function streamParameters(
  program: LoadableProgram,
  chunks: ByteChunks,
  options: StreamOptions = {},
): Promise<void> {
  const reader = new ByteReader(chunks);
  try {
    const entries = await readHeader(reader, options);
    const places = placesOf(entries, program.inputs, options);
    await program.load({
      tensors: places.values(),
      pieces: () => readPieces(reader, entries, places, options.source),
    });
  } finally {
    await reader.close();
  }
}

async function readHeader(
  reader: ByteReader,
  { source, bytes = Infinity }: StreamOptions,
): Promise<readonly HeaderEntry[]> {
  const probe = await reader.peek(PROBE_BYTES);
  const length = parsePrefix(probe, probe.length < PROBE_BYTES ? probe.length : bytes, source);
  reader.take(PREFIX_BYTES);
  await atLeast(reader, length, source);
  return parseHeader(reader.take(length), bytes - PREFIX_BYTES - length, source).entries;
}

/** Waits for bytes that the file must have. */
async function atLeast(
  reader: ByteReader,
  count: number,
  source: string | undefined,
): Promise<number> {
  const { byteLength } = await reader.peek(count);
  if (byteLength >= count) return byteLength;
  throw new SafetensorsError(
    "read",
    source,
    "it is truncated, or became shorter while it was read",
  );
}

/** By their names in the file, the inputs that tensors become. */
function placesOf(
  entries: readonly HeaderEntry[],
  inputs: readonly HostPort[],
  { at = "parameters", rename = (name) => name, source = "the stream" }: StreamOptions,
): ReadonlyMap<string, HostPort> {
  const wanted = new Map<string, HostPort>();
  for (const port of inputs) {
    if (port.path.startsWith(`${at}/`)) wanted.set(port.path.slice(at.length + 1), port);
  }
  const found = new Map<string, HeaderEntry>();
  for (const entry of entries) {
    const name = rename(entry.name);
    if (name === undefined) continue;
    const other = found.get(name);
    if (other !== undefined) {
      throw new WeightsError(`${source}: "${other.name}" and "${entry.name}" are both "${name}"`);
    }
    found.set(name, entry);
  }
  requireTensors(wanted, found, source, (from, to) => from === to || widens(from, to));
  const places = new Map<string, HostPort>();
  for (const [name, port] of wanted) places.set(found.get(name)?.name ?? name, port);
  return places;
}

function widens(from: HostDType, to: HostDType): from is "f16" | "bf16" {
  return to === "f32" && (from === "f16" || from === "bf16");
}

async function* readPieces(
  reader: ByteReader,
  entries: readonly HeaderEntry[],
  places: ReadonlyMap<string, HostPort>,
  source: string | undefined,
): AsyncGenerator<InputPiece> {
  for (const { name, dtype, begin, end } of entries) {
    const port = places.get(name);
    const width = hostBytesPerElement(dtype);
    for (let left = end - begin; left > 0;) {
      const present = await atLeast(reader, width, source);
      const bytes = reader.take(Math.min(left, PIECE_BYTES, present - present % width));
      left -= bytes.byteLength;
      if (port !== undefined) yield { path: port.path, data: elementsOf(bytes, dtype, port.dtype) };
    }
  }
  const { byteLength } = await reader.peek(1);
  if (byteLength === 0) return;
  throw new SafetensorsError("read", source, "it is oversized: bytes follow the last tensor");
}

/** Bytes of a file as an array of the program's element type. */
function elementsOf(bytes: Uint8Array, from: HostDType, to: DType): InputPiece["data"] {
  const width = hostBytesPerElement(from);
  const aligned = bytes.byteOffset % width === 0 ? bytes : bytes.slice();
  if (!widens(from, to)) return viewHostData(to, aligned);
  const bits = viewHostData(from, aligned);
  return from === "f16" ? f16ToFloat32(bits) : bf16ToFloat32(bits);
}
