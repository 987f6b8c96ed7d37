/**
 * The header of a safetensors file: a u64 length N, then N bytes of JSON that name each tensor's dtype,
 * shape and place in the data behind them. Nothing is allocated by a header before all of it has been
 * checked. Source: huggingface/safetensors, README.md, "Format".
 */
import { countElements, hostBytesPerElement, type HostDType } from "./host_tensor.ts";
import {
  isStrictObject,
  parseStrictJson,
  type StrictJson,
  StrictJsonError,
} from "./strict_json.ts";

/** Longest header, in bytes; the reference implementation's bound. */
export const MAX_HEADER_BYTES = 100_000_000;
/** Most tensors in one file. */
export const MAX_TENSORS = 100_000;
/** Most dims of one tensor. */
export const MAX_RANK = 64;
/** Bytes before the header. */
export const PREFIX_BYTES = 8;
/** Bytes from a file's start that suffice to recognise what it is. */
export const PROBE_BYTES = 512;

/** The key, in place of a tensor's name, of the string-to-string metadata. */
export const METADATA_KEY = "__metadata__";

/**
 * Each dtype's name in a file. The order is the reference implementation's, by which its writer sorts
 * from last to first: widest first, so that all data is aligned.
 */
export const FILE_DTYPES: ReadonlyMap<string, HostDType> = new Map([
  ["BOOL", "bool"],
  ["U8", "u8"],
  ["I8", "i8"],
  ["I16", "i16"],
  ["U16", "u16"],
  ["F16", "f16"],
  ["BF16", "bf16"],
  ["I32", "i32"],
  ["U32", "u32"],
  ["F32", "f32"],
  ["F64", "f64"],
  ["I64", "i64"],
  ["U64", "u64"],
]);

const UNREADABLE_DTYPES: ReadonlySet<string> = new Set([
  "F4",
  "F6_E2M3",
  "F6_E3M2",
  "F8_E5M2",
  "F8_E4M3",
  "F8_E8M0",
  "F8_E5M2FNUZ",
  "F8_E4M3FNUZ",
  "C64",
]);

const LFS_POINTER = "version https://git-lfs.github.com/spec/";

/** A safetensors file is malformed, or tensors cannot be written as one. */
export class SafetensorsError extends Error {
  override readonly name = "SafetensorsError";
  /** The file, where there is one. */
  readonly path: string | undefined;
  /** The tensor at fault, where it is one. */
  readonly tensor: string | undefined;

  constructor(
    action: "read" | "write",
    path: string | undefined,
    problem: string,
    details: { readonly tensor?: string; readonly cause?: unknown } = {},
  ) {
    const subject = path === undefined ? "safetensors" : `safetensors file ${path}`;
    const tensor = details.tensor === undefined ? "" : `tensor ${JSON.stringify(details.tensor)}: `;
    super(`Cannot ${action} ${subject}: ${tensor}${problem}`, { cause: details.cause });
    this.path = path;
    this.tensor = details.tensor;
  }
}

/** One tensor's place: `begin` and `end` are byte offsets from the end of the header. */
export interface HeaderEntry {
  readonly name: string;
  readonly dtype: HostDType;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

/** A checked header, with the entries in the order of their data. */
export interface Header {
  readonly entries: readonly HeaderEntry[];
  readonly metadata: ReadonlyMap<string, string>;
}

/**
 * The header's length, from the first bytes of a file (`PROBE_BYTES` of them, or all there are). The file's
 * own length is Infinity if that is not known.
 *
 * @throws {SafetensorsError} when the file is too short, is a Git-LFS pointer, or states a length that is
 * out of bounds.
 */
export function parsePrefix(probe: Uint8Array, fileBytes: number, path?: string): number {
  // A slice is a copy, because a decoder may refuse shared memory.
  const text = new TextDecoder("latin1").decode(probe.slice(0, PROBE_BYTES));
  if (text.startsWith(LFS_POINTER)) {
    const size = /\nsize ([0-9]+)\n/.exec(text)?.[1] ?? "an unknown number of";
    const problem =
      `this is a Git-LFS pointer, ${size} bytes; fetch the file itself (git lfs pull)`;
    throw new SafetensorsError("read", path, problem);
  }
  if (probe.byteLength < PREFIX_BYTES) {
    const problem = `it has ${fileBytes} bytes, wanted at least ${PREFIX_BYTES}`;
    throw new SafetensorsError("read", path, problem);
  }
  const stated = new DataView(probe.buffer, probe.byteOffset).getBigUint64(0, true);
  if (stated > BigInt(MAX_HEADER_BYTES)) {
    const problem = `the header states a length of ${stated} bytes, wanted at most ` +
      `${MAX_HEADER_BYTES}; this may not be a safetensors file`;
    throw new SafetensorsError("read", path, problem);
  }
  const length = Number(stated);
  const present = fileBytes - PREFIX_BYTES;
  if (length > present) {
    const problem = `it is truncated: the header states a length of ${length} bytes, but only ` +
      `${present} follow`;
    throw new SafetensorsError("read", path, problem);
  }
  return length;
}

/**
 * Parses and checks a header whose data is `dataBytes` long: Infinity if that is not known, and left to be
 * found out when the data is read.
 *
 * @throws {SafetensorsError} for every way in which the header is malformed, or its tensors do not cover
 * the data exactly once.
 */
export function parseHeader(bytes: Uint8Array, dataBytes: number, path?: string): Header {
  const entries: HeaderEntry[] = [];
  let metadata: ReadonlyMap<string, string> = new Map();
  for (const [name, value] of parseHeaderJson(bytes, path)) {
    if (name === METADATA_KEY) metadata = parseMetadata(value, path);
    else entries.push(new EntryParser(name, path).parse(value));
  }
  entries.sort((a, b) => a.begin - b.begin || a.end - b.end);
  checkLayout(entries, dataBytes, path);
  return { entries, metadata };
}

function parseHeaderJson(
  bytes: Uint8Array,
  path: string | undefined,
): ReadonlyMap<string, StrictJson> {
  const refuse = (problem: string, cause?: unknown) =>
    new SafetensorsError("read", path, problem, { cause });
  if (bytes[0] !== 0x7b) {
    const found = bytes[0] === undefined ? "it is empty" : `it starts with the byte ${bytes[0]}`;
    throw refuse(`the header must start with "{", but ${found}`);
  }
  let text: string;
  try {
    // Copied because a decoder refuses shared memory.
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes.slice());
  } catch (cause) {
    throw refuse("the header is not UTF-8", cause);
  }
  let json: StrictJson;
  try {
    // Levels: the header, a tensor, its shape. Members: the tensors and the metadata.
    json = parseStrictJson(text, { maxDepth: 3, maxMembers: MAX_TENSORS + 1 });
  } catch (cause) {
    if (!(cause instanceof StrictJsonError)) throw cause;
    throw refuse(`the header is not strict JSON: ${cause.message}`, cause);
  }
  if (!isStrictObject(json)) throw refuse("the header is not a JSON object");
  const count = json.size - (json.has(METADATA_KEY) ? 1 : 0);
  if (count > MAX_TENSORS) throw refuse(`it names ${count} tensors, wanted at most ${MAX_TENSORS}`);
  return json;
}

function parseMetadata(value: StrictJson, path: string | undefined): ReadonlyMap<string, string> {
  if (!isStrictObject(value)) {
    throw new SafetensorsError("read", path, `${METADATA_KEY} is ${show(value)}, wanted an object`);
  }
  const metadata = new Map<string, string>();
  for (const [key, text] of value) {
    if (typeof text !== "string") {
      const problem = `${METADATA_KEY} ${JSON.stringify(key)} is ${show(text)}, wanted a string`;
      throw new SafetensorsError("read", path, problem);
    }
    metadata.set(key, text);
  }
  return metadata;
}

class EntryParser {
  readonly #name: string;
  readonly #path: string | undefined;

  constructor(name: string, path: string | undefined) {
    this.#name = name;
    this.#path = path;
  }

  parse(value: StrictJson): HeaderEntry {
    if (!isStrictObject(value)) throw this.#refuse(`entry is ${show(value)}, wanted an object`);
    for (const key of value.keys()) {
      if (key !== "dtype" && key !== "shape" && key !== "data_offsets") {
        throw this.#refuse(
          `unknown field ${JSON.stringify(key)}, wanted dtype, shape and data_offsets`,
        );
      }
    }
    const dtype = this.#dtype(value.get("dtype"));
    const shape = this.#shape(value.get("shape"));
    const [begin, end] = this.#offsets(value.get("data_offsets"));
    this.#checkBytes(dtype, shape, end - begin);
    return { name: this.#name, dtype, shape, begin, end };
  }

  #dtype(value: StrictJson | undefined): HostDType {
    if (typeof value !== "string") throw this.#refuse(`dtype is ${show(value)}, wanted a string`);
    const dtype = FILE_DTYPES.get(value);
    if (dtype !== undefined) return dtype;
    const legal = [...FILE_DTYPES.keys()].join(", ");
    const problem = UNREADABLE_DTYPES.has(value)
      ? `dtype ${value} is legal but not readable here, wanted one of ${legal}`
      : `dtype ${show(value)} is unknown, wanted one of ${legal}`;
    throw this.#refuse(problem);
  }

  #shape(value: StrictJson | undefined): readonly number[] {
    if (!Array.isArray(value)) throw this.#refuse(`shape is ${show(value)}, wanted an array`);
    if (value.length > MAX_RANK) {
      throw this.#refuse(`shape has ${value.length} dims, wanted at most ${MAX_RANK}`);
    }
    return value.map((dim: StrictJson, axis) => this.#whole(dim, `shape[${axis}]`));
  }

  #offsets(value: StrictJson | undefined): readonly [number, number] {
    if (!Array.isArray(value) || value.length !== 2) {
      throw this.#refuse(`data_offsets is ${show(value)}, wanted an array [begin, end]`);
    }
    const begin = this.#whole(value[0], "data_offsets[0]");
    const end = this.#whole(value[1], "data_offsets[1]");
    if (begin > end) throw this.#refuse(`data_offsets [${begin}, ${end}] end before they begin`);
    return [begin, end];
  }

  #whole(value: StrictJson | undefined, field: string): number {
    if (Number.isSafeInteger(value) && Number(value) >= 0 && !Object.is(value, -0)) {
      return Number(value);
    }
    const found = Object.is(value, -0) ? "-0" : show(value);
    throw this.#refuse(`${field} is ${found}, wanted a whole number between 0 and 2^53 - 1`);
  }

  #checkBytes(dtype: HostDType, shape: readonly number[], stated: number): void {
    const elements = countElements(shape);
    if (typeof elements === "string") {
      throw this.#refuse(`shape [${shape}] is not legal: ${elements}`);
    }
    const bytes = elements * hostBytesPerElement(dtype);
    if (bytes !== stated) {
      throw this.#refuse(
        `dtype ${dtype} and shape [${shape}] take ${bytes} bytes, but data_offsets span ${stated}`,
      );
    }
  }

  #refuse(problem: string): SafetensorsError {
    return new SafetensorsError("read", this.#path, problem, { tensor: this.#name });
  }
}

/** The entries, sorted by place, must cover the data from its first byte to its last, each byte once. */
function checkLayout(
  entries: readonly HeaderEntry[],
  dataBytes: number,
  path: string | undefined,
): void {
  let covered = 0;
  let previous = "the header";
  for (const { name, begin, end } of entries) {
    if (begin !== covered) {
      const fault = begin < covered
        ? "overlaps"
        : `leaves a hole of ${begin - covered} bytes after`;
      const problem =
        `data_offsets [${begin}, ${end}] ${fault} ${previous}, which ends at ${covered}`;
      throw new SafetensorsError("read", path, problem, { tensor: name });
    }
    if (end > dataBytes) {
      const problem =
        `it is truncated: data_offsets [${begin}, ${end}] reach beyond the ${dataBytes} bytes of data`;
      throw new SafetensorsError("read", path, problem, { tensor: name });
    }
    covered = end;
    previous = `tensor ${JSON.stringify(name)}`;
  }
  if (covered !== dataBytes && dataBytes !== Infinity) {
    const problem = `it is oversized: ${
      dataBytes - covered
    } bytes follow ${previous}, the last in it`;
    throw new SafetensorsError("read", path, problem);
  }
}

/** A short text of a value that should not be there. */
function show(value: StrictJson | undefined): string {
  if (value === undefined) return "missing";
  if (Array.isArray(value)) return `an array of ${value.length}`;
  if (isStrictObject(value)) return "an object";
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
