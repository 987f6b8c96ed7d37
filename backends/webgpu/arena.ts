/** A program's memory on the device: a row of buffers, as large as they may be, that count as one. */
import type { Program, ProgramPort } from "../../compiler/program.ts";
import type { DType } from "../../graph/dtype.ts";
import { bytesPerElement } from "../../graph/dtype.ts";
import { staticSize } from "../../graph/shape.ts";
import { OutOfMemoryError } from "../errors.ts";
import type { HostData, HostTensor } from "../host_array.ts";
import { type ArenaRange, segmentBytes } from "./bindings.ts";
import type { GpuCapabilities } from "./capabilities.ts";

/** A range of a buffer of the device. */
interface Piece {
  readonly buffer: GPUBuffer;
  readonly offset: number;
  readonly bytes: number;
}

/** Memory that programs' addresses are places in. */
export class Arena implements Disposable {
  readonly bytes: number;
  readonly #segments: readonly GPUBuffer[];
  readonly #segmentBytes: number;

  private constructor(segments: readonly GPUBuffer[], bytes: number, each: number) {
    this.#segments = segments;
    this.bytes = bytes;
    this.#segmentBytes = each;
  }

  /**
   * Memory for a program.
   *
   * @param bytes As many as its dispatches' ranges are places in.
   * @throws {OutOfMemoryError} When the device has no room, naming what is largest in it.
   */
  static async create(
    device: GPUDevice,
    program: Program,
    bytes: number,
    { limits }: GpuCapabilities,
  ): Promise<Arena> {
    const each = segmentBytes(limits);
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;
    device.pushErrorScope("out-of-memory");
    const segments: GPUBuffer[] = [];
    for (let start = 0; start < bytes; start += each) {
      const size = Math.min(each, bytes - start);
      segments.push(device.createBuffer({ label: "arena", size, usage }));
    }
    const error = await device.popErrorScope();
    if (error === null) return new Arena(segments, bytes, each);
    for (const segment of segments) segment.destroy();
    const reason = error.message || "the device has no room";
    const largest = program.peak.slice(0, 3).map(({ name, bytes, scope }) =>
      `  ${bytes} bytes: ${name}${scope === "" ? "" : ` in ${scope}`}`
    );
    const lines = [`${reason}: bind smaller sizes, such as the batch's. The largest:`, ...largest];
    throw new OutOfMemoryError(bytes, lines.join("\n"));
  }

  /** What a bind group binds for a range that lies in one segment. */
  binding({ offset, bytes }: ArenaRange): GPUBufferBinding {
    const [piece, more] = this.pieces({ offset, bytes });
    if (piece === undefined || more !== undefined) {
      throw new RangeError(`The ${bytes} bytes from ${offset} on are not in one buffer`);
    }
    return { buffer: piece.buffer, offset: piece.offset, size: bytes };
  }

  /** The parts of a range that lie in one segment each. */
  pieces({ offset, bytes }: ArenaRange): Piece[] {
    const pieces: Piece[] = [];
    for (let at = offset; at < offset + bytes;) {
      const segment = Math.floor(at / this.#segmentBytes);
      const buffer = this.#segments[segment];
      if (buffer === undefined) throw new RangeError(`There is nothing at ${at} in the arena`);
      const end = Math.min(offset + bytes, (segment + 1) * this.#segmentBytes);
      pieces.push({ buffer, offset: at - segment * this.#segmentBytes, bytes: end - at });
      at = end;
    }
    return pieces;
  }

  [Symbol.dispose](): void {
    for (const segment of this.#segments) segment.destroy();
  }
}

/** Elements as they lie in the arena: whole words. */
export function arenaWords(dtype: DType, data: HostData): Uint8Array<ArrayBuffer> {
  const sized = data.BYTES_PER_ELEMENT === bytesPerElement(dtype)
    ? data
    // A bool is a 32-bit 0 or 1 in the arena and a byte on the host.
    : Uint32Array.from(data);
  const bytes = new Uint8Array(sized.buffer, sized.byteOffset, sized.byteLength);
  const unshared = bytes.buffer instanceof ArrayBuffer;
  if (unshared && bytes.byteLength % 4 === 0) return bytes as Uint8Array<ArrayBuffer>;
  const padded = new Uint8Array(Math.ceil(bytes.byteLength / 4) * 4);
  padded.set(bytes);
  return padded;
}

/** Where a port's elements are in the arena. */
export function rangeOf(program: Program, port: ProgramPort): ArenaRange {
  const { offset } = program.buffers[port.buffer] ?? {};
  if (offset === undefined) throw new RangeError(`The program has no buffer ${port.buffer}`);
  return { offset, bytes: staticSize(port.shape) * bytesPerElement(port.dtype) };
}

/** A port's tensor of the bytes that are in the arena. */
export function tensorOf({ dtype, shape }: ProgramPort, bytes: ArrayBuffer): HostTensor {
  switch (dtype) {
    case "f32":
      return { dtype, shape, data: new Float32Array(bytes) };
    case "f16":
    case "bf16":
      return { dtype, shape, data: new Uint16Array(bytes) };
    case "i32":
      return { dtype, shape, data: new Int32Array(bytes) };
    case "u32":
      return { dtype, shape, data: new Uint32Array(bytes) };
    case "bool":
      return { dtype, shape, data: Uint8Array.from(new Uint32Array(bytes)) };
  }
}
