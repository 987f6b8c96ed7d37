/**
 * The bytes of safetensors, the file format of named tensors. Strict both ways: what is decoded has
 * passed every check of the format, and what is encoded passes them too, byte for byte what the reference
 * implementation writes. Source: huggingface/safetensors, README.md, "Format".
 */
import {
  hostBytesPerElement,
  type HostDType,
  type HostTensor,
  hostTensorBytes,
  hostTensorProblem,
  viewHostTensor,
} from "./host_tensor.ts";
import {
  FILE_DTYPES,
  type HeaderEntry,
  MAX_HEADER_BYTES,
  MAX_RANK,
  MAX_TENSORS,
  METADATA_KEY,
  parseHeader,
  parsePrefix,
  PREFIX_BYTES,
  SafetensorsError,
} from "./safetensors_header.ts";

export { SafetensorsError } from "./safetensors_header.ts";

/** Named tensors and the file's metadata. The tensors stand in the order of their data. */
export interface SafetensorsFile {
  readonly tensors: Map<string, HostTensor>;
  readonly metadata: Map<string, string>;
}

/** Named tensors to be written, in any order. */
export type NamedTensors = Iterable<readonly [name: string, tensor: HostTensor]>;

/** Text to be written beside the tensors, in the order given. */
export type Metadata = Iterable<readonly [key: string, value: string]>;

const NAME_OF: ReadonlyMap<HostDType, string> = new Map(
  [...FILE_DTYPES].map(([name, dtype]) => [dtype, name]),
);
const RANK_OF: ReadonlyMap<HostDType, number> = new Map(
  [...FILE_DTYPES.values()].map((dtype, rank) => [dtype, rank]),
);

/**
 * Reads a whole file from memory. Each tensor gets memory of its own: `bytes` may be unaligned, and may be
 * reused afterwards.
 *
 * @param options.source the file's name, for messages.
 * @throws {SafetensorsError} when the file is malformed in any way.
 */
export function decodeSafetensors(
  bytes: Uint8Array,
  options: { readonly source?: string } = {},
): SafetensorsFile {
  const { source } = options;
  const dataStart = PREFIX_BYTES + parsePrefix(bytes, bytes.byteLength, source);
  const data = bytes.subarray(dataStart);
  const header = parseHeader(bytes.subarray(PREFIX_BYTES, dataStart), data.byteLength, source);
  const tensors = new Map<string, HostTensor>();
  for (const entry of header.entries) {
    const own = new Uint8Array(entry.end - entry.begin);
    own.set(data.subarray(entry.begin, entry.end));
    tensors.set(entry.name, decodeTensor(entry, own.buffer, source));
  }
  return { tensors, metadata: new Map(header.metadata) };
}

/**
 * One tensor over bytes of its own.
 *
 * @throws {SafetensorsError} when its numbers are none of its dtype.
 */
export function decodeTensor(
  entry: HeaderEntry,
  buffer: ArrayBuffer,
  source: string | undefined,
): HostTensor {
  const tensor: HostTensor = viewHostTensor(entry.dtype, entry.shape, buffer);
  const problem = hostTensorProblem(tensor);
  if (problem !== undefined) {
    throw new SafetensorsError("read", source, problem, { tensor: entry.name });
  }
  return tensor;
}

/**
 * The bytes of a safetensors file: tensors by dtype, widest first, then by name; a header padded with
 * spaces so that the data starts at a multiple of 8.
 *
 * @throws {SafetensorsError} for a tensor whose dtype, shape and data do not fit together, for a name that
 * is repeated, reserved or not well-formed text, and beyond the reader's bounds.
 */
export function encodeSafetensors(
  tensors: NamedTensors,
  metadata: Metadata = [],
): Uint8Array<ArrayBuffer> {
  const chunks = encodeChunks(tensors, metadata, undefined);
  const bytes = new Uint8Array(chunks.reduce((total, chunk) => total + chunk.byteLength, 0));
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.byteLength;
  }
  return bytes;
}

/**
 * The file as a header and each tensor's own bytes, uncopied.
 *
 * @throws {SafetensorsError} as `encodeSafetensors`.
 */
export function encodeChunks(
  tensors: NamedTensors,
  metadata: Metadata,
  path: string | undefined,
): Uint8Array[] {
  const sorted = uniqueTensors(tensors, path).sort(compareForFile);
  const chunks: Uint8Array[] = [encodeHeader(sorted, metadata, path)];
  for (const [, tensor] of sorted) chunks.push(hostTensorBytes(tensor));
  return chunks;
}

function uniqueTensors(tensors: NamedTensors, path: string | undefined): [string, HostTensor][] {
  const unique = new Map<string, HostTensor>();
  for (const [name, tensor] of tensors) {
    const problem = unique.has(name) ? "its name is repeated" : writeProblem(name, tensor);
    if (problem !== undefined) {
      throw new SafetensorsError("write", path, problem, { tensor: name });
    }
    unique.set(name, tensor);
  }
  if (unique.size > MAX_TENSORS) {
    const problem = `there are ${unique.size} tensors, wanted at most ${MAX_TENSORS}`;
    throw new SafetensorsError("write", path, problem);
  }
  return [...unique];
}

function writeProblem(name: string, tensor: HostTensor): string | undefined {
  if (name === METADATA_KEY) return "its name is reserved for the metadata";
  if (!name.isWellFormed()) return "its name holds a lone surrogate";
  if (tensor.shape.length > MAX_RANK) {
    return `its shape has ${tensor.shape.length} dims, wanted at most ${MAX_RANK}`;
  }
  return hostTensorProblem(tensor);
}

function compareForFile(
  a: readonly [string, HostTensor],
  b: readonly [string, HostTensor],
): number {
  const byWidth = (RANK_OF.get(b[1].dtype) ?? 0) - (RANK_OF.get(a[1].dtype) ?? 0);
  return byWidth || compareCodePoints(a[0], b[0]);
}

/** Order of the UTF-8 bytes, which is that of the code points; `<` compares UTF-16 units. */
function compareCodePoints(a: string, b: string): number {
  for (let at = 0; at < a.length && at < b.length; at++) {
    if (a.charCodeAt(at) === b.charCodeAt(at)) continue;
    return rankOfUnit(a.charCodeAt(at)) - rankOfUnit(b.charCodeAt(at));
  }
  return a.length - b.length;
}

/** Surrogates stand for code points above every other unit. */
function rankOfUnit(unit: number): number {
  return unit >= 0xd800 && unit < 0xe000 ? unit + 0x10000 : unit;
}

function encodeHeader(
  tensors: readonly (readonly [string, HostTensor])[],
  metadata: Metadata,
  path: string | undefined,
): Uint8Array {
  const members: string[] = [];
  const metadataText = encodeMetadata(metadata, path);
  if (metadataText !== undefined) members.push(metadataText);
  let begin = 0;
  for (const [name, { dtype, shape, data }] of tensors) {
    const end = begin + data.length * hostBytesPerElement(dtype);
    const entry = { dtype: NAME_OF.get(dtype), shape, data_offsets: [begin, end] };
    members.push(`${JSON.stringify(name)}:${JSON.stringify(entry)}`);
    begin = end;
  }
  const json = new TextEncoder().encode(`{${members.join(",")}}`);
  const padded = Math.ceil(json.byteLength / 8) * 8;
  if (padded > MAX_HEADER_BYTES) {
    const problem = `the header takes ${padded} bytes, wanted at most ${MAX_HEADER_BYTES}`;
    throw new SafetensorsError("write", path, problem);
  }
  const bytes = new Uint8Array(PREFIX_BYTES + padded).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(padded), true);
  bytes.set(json, PREFIX_BYTES);
  return bytes;
}

function encodeMetadata(metadata: Metadata, path: string | undefined): string | undefined {
  const entries = new Map<string, string>();
  for (const [key, value] of metadata) {
    const problem = entries.has(key)
      ? "is repeated"
      : typeof value !== "string"
      ? "is not a string"
      : !key.isWellFormed() || !value.isWellFormed()
      ? "holds a lone surrogate"
      : undefined;
    if (problem !== undefined) {
      throw new SafetensorsError("write", path, `metadata ${JSON.stringify(key)} ${problem}`);
    }
    entries.set(key, value);
  }
  if (entries.size === 0) return undefined;
  const members = [...entries].map(([key, value]) =>
    `${JSON.stringify(key)}:${JSON.stringify(value)}`
  );
  return `${JSON.stringify(METADATA_KEY)}:{${members.join(",")}}`;
}
