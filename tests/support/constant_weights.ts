/** A safetensors file of f32 tensors that are all one number, made as it is read. */
import { PREFIX_BYTES } from "../../models/safetensors_header.ts";

const CHUNK_ELEMENTS = 2 ** 14;

/** The file's bytes in chunks, for tensors of these names and shapes. */
export function* constantWeights(
  shapes: ReadonlyMap<string, readonly number[]>,
  value: number,
): Generator<Uint8Array> {
  let bytes = 0;
  const entries = [...shapes].map(([name, shape]) => {
    const start = bytes;
    bytes += 4 * shape.reduce((elements, size) => elements * size, 1);
    return [name, { dtype: "F32", shape, data_offsets: [start, bytes] }];
  });
  const header = new TextEncoder().encode(JSON.stringify(Object.fromEntries(entries)));
  const prefix = new Uint8Array(PREFIX_BYTES);
  new DataView(prefix.buffer).setBigUint64(0, BigInt(header.length), true);
  yield prefix;
  yield header;
  const chunk = new Uint8Array(new Float32Array(CHUNK_ELEMENTS).fill(value).buffer);
  for (let left = bytes; left > 0; left -= chunk.length) yield chunk.subarray(0, left);
}
