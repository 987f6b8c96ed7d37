/** A program's memory on the device, and tensors in it. */
import type { Program, ProgramConstant, ProgramPort } from "../../compiler/program.ts";
import type { DType } from "../../graph/dtype.ts";
import { bytesPerElement } from "../../graph/dtype.ts";
import { staticSize } from "../../graph/shape.ts";
import { OutOfMemoryError } from "../errors.ts";
import type { HostData, HostTensor } from "../host_array.ts";
import { emptyOffset } from "./bindings.ts";
import type { GpuCapabilities } from "./capabilities.ts";
import type { ReadRange } from "./readback.ts";

/**
 * The arena's buffer, with the program's constants in it.
 *
 * @throws {OutOfMemoryError} When the device has no room, or no buffer may be so large.
 */
export async function createArena(
  device: GPUDevice,
  program: Program,
  { limits, alignment }: GpuCapabilities,
): Promise<GPUBuffer> {
  const size = emptyOffset(program) + alignment;
  if (size > limits.maxBufferSize) {
    const most = `a buffer may have at most ${limits.maxBufferSize} bytes on this device`;
    throw new OutOfMemoryError(size, most);
  }
  device.pushErrorScope("out-of-memory");
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;
  const arena = device.createBuffer({ label: "arena", size, usage });
  const error = await device.popErrorScope();
  if (error !== null) {
    const reason = error.message || "the device has no room";
    throw new OutOfMemoryError(size, `${reason}: bind smaller sizes, such as the batch's`);
  }
  for (const constant of program.constants) writeConstant(device, arena, program, constant);
  return arena;
}

function writeConstant(
  device: GPUDevice,
  arena: GPUBuffer,
  program: Program,
  { buffer, data }: ProgramConstant,
): void {
  const declared = program.buffers[buffer];
  if (declared === undefined || data.length !== declared.elements) {
    throw new RangeError(
      `Constant of buffer ${buffer} has ${data.length} elements, its buffer ${declared?.elements}`,
    );
  }
  writeElements(device, arena, declared.offset, declared.dtype, data);
}

/** Copies elements to a place in the arena. */
export function writeElements(
  device: GPUDevice,
  arena: GPUBuffer,
  offset: number,
  dtype: DType,
  data: HostData | ProgramConstant["data"],
): void {
  if (data.length === 0) return;
  const words = arenaWords(dtype, data);
  device.queue.writeBuffer(arena, offset, words);
}

/** The elements as they lie in the arena, in whole words. */
function arenaWords(
  dtype: DType,
  data: HostData | ProgramConstant["data"],
): Uint8Array<ArrayBuffer> {
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
export function rangeOf(program: Program, port: ProgramPort): ReadRange {
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
