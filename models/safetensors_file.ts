/** Reading and writing safetensors files; `safetensors.ts` knows what is in them. */
import { writeFileAtomic } from "./atomic_file.ts";
import type { HostTensor } from "./host_tensor.ts";
import {
  decodeTensor,
  encodeChunks,
  type Metadata,
  type NamedTensors,
  type SafetensorsFile,
} from "./safetensors.ts";
import {
  parseHeader,
  parsePrefix,
  PREFIX_BYTES,
  PROBE_BYTES,
  SafetensorsError,
} from "./safetensors_header.ts";

/**
 * Reads a file, one tensor at a time, so that it never lies in memory twice. Needs permission to read it.
 *
 * @throws {SafetensorsError} when the file is malformed in any way.
 * @throws Deno's own errors when it cannot be opened or read.
 */
export async function readSafetensors(path: string | URL): Promise<SafetensorsFile> {
  const source = String(path);
  using file = await Deno.open(path, { read: true });
  const { size, isFile } = await file.stat();
  if (!isFile) throw new SafetensorsError("read", source, "it is not a regular file");
  const probe = await readExactly(file, Math.min(size, PROBE_BYTES), source);
  const headerBytes = parsePrefix(probe, size, source);
  await file.seek(PREFIX_BYTES, Deno.SeekMode.Start);
  const headerText = await readExactly(file, headerBytes, source);
  const header = parseHeader(headerText, size - PREFIX_BYTES - headerBytes, source);
  const tensors = new Map<string, HostTensor>();
  // The entries lie one after the other, so the file is read from front to back.
  for (const entry of header.entries) {
    const own = await readExactly(file, entry.end - entry.begin, source);
    tensors.set(entry.name, decodeTensor(entry, own.buffer, source));
  }
  return { tensors, metadata: new Map(header.metadata) };
}

async function readExactly(
  file: Deno.FsFile,
  length: number,
  source: string,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(length);
  for (let filled = 0; filled < length;) {
    const count = await file.read(bytes.subarray(filled));
    if (count === null) {
      throw new SafetensorsError("read", source, "it became shorter while it was read");
    }
    filled += count;
  }
  return bytes;
}

/**
 * Writes a safetensors file in one step (`writeFileAtomic`): a crash leaves the old file or the new one.
 * The tensors must not change before the promise resolves.
 *
 * @throws {SafetensorsError} as `encodeSafetensors`, before anything is written.
 * @throws {FileWriteError} when the file cannot be written.
 */
export async function writeSafetensors(
  path: string | URL,
  tensors: NamedTensors,
  metadata: Metadata = [],
): Promise<void> {
  await writeFileAtomic(path, encodeChunks(tensors, metadata, String(path)));
}
