/** Copies from the device to the host. */
import { roundUp } from "../../compiler/multiples.ts";
import type { Arena } from "./arena.ts";
import type { ArenaRange } from "./bindings.ts";
import type { GpuLimits } from "./capabilities.ts";
import { OutOfMemoryError } from "../errors.ts";

const ALIGNMENT = 8;

/** A buffer to map, and what the device said when it was made. */
interface Staging {
  readonly buffer: GPUBuffer;
  readonly refused: Promise<GPUError | null>;
}

/** A part of a range that fits in one staging buffer. */
interface Cut extends ArenaRange {
  /** Position of the range. */
  readonly owner: number;
  /** Position among the range's cuts. */
  readonly number: number;
}

/** Larger buffers are for reads that are rare, such as all of a model's state. */
const LARGEST_KEPT = 64 * 2 ** 20;

/** Staging buffers that reads take turns with, so that several can be under way. */
export class ReadbackRing implements Disposable {
  readonly #device: GPUDevice;
  /** Bytes that a buffer may have. */
  readonly #most: number;
  #free: Staging[] = [];
  #bytes = 0;
  #disposed = false;

  constructor(device: GPUDevice, { maxBufferSize }: GpuLimits) {
    this.#device = device;
    this.#most = Math.floor(maxBufferSize / ALIGNMENT) * ALIGNMENT;
  }

  /** Bytes of all staging buffers. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Records copies of the ranges.
   *
   * @returns Waits for them, to be called once the encoder's commands are submitted.
   */
  record(
    encoder: GPUCommandEncoder,
    arena: Arena,
    ranges: readonly ArenaRange[],
  ): () => Promise<ArrayBuffer[]> {
    const cuts = ranges.flatMap((range, owner) => cutRange(range, owner, this.#most));
    const waits = grouped(cuts, this.#most).map((group) => ({
      group,
      wait: this.#recordGroup(encoder, arena, group),
    }));
    return async () => {
      const parts: ArrayBuffer[][] = ranges.map(() => []);
      await Promise.all(waits.map(async ({ group, wait }) => {
        const found = await wait();
        group.forEach(({ owner, number }, at) => {
          const part = found[at];
          const own = parts[owner];
          if (own !== undefined && part !== undefined) own[number] = part;
        });
      }));
      return parts.map(joined);
    };
  }

  #recordGroup(
    encoder: GPUCommandEncoder,
    arena: Arena,
    group: readonly Cut[],
  ): () => Promise<ArrayBuffer[]> {
    const starts: number[] = [];
    let total = 0;
    for (const { bytes } of group) {
      starts.push(total);
      total += roundUp(bytes, ALIGNMENT);
    }
    const staging = this.#take(total);
    group.forEach(({ offset, bytes }, at) => {
      let to = starts[at] ?? 0;
      for (const piece of arena.pieces({ offset, bytes: roundUp(bytes, 4) })) {
        encoder.copyBufferToBuffer(piece.buffer, piece.offset, staging.buffer, to, piece.bytes);
        to += piece.bytes;
      }
    });
    return async () => {
      try {
        const refused = await staging.refused;
        if (refused !== null) throw new OutOfMemoryError(total, refused.message);
        const { buffer } = staging;
        await buffer.mapAsync(GPUMapMode.READ, 0, total);
        const mapped = buffer.getMappedRange(0, total);
        const parts = group.map(({ bytes }, at) => {
          const start = starts[at] ?? 0;
          return mapped.slice(start, start + bytes);
        });
        buffer.unmap();
        this.#giveBack(staging);
        return parts;
      } catch (error) {
        this.#drop(staging);
        throw error;
      }
    };
  }

  /** Frees the buffers, those in use once they are given back. */
  [Symbol.dispose](): void {
    this.#disposed = true;
    for (const staging of this.#free) this.#drop(staging);
    this.#free = [];
  }

  #take(bytes: number): Staging {
    const at = this.#free.findIndex(({ buffer }) => buffer.size >= bytes);
    if (at >= 0) {
      const [found] = this.#free.splice(at, 1);
      if (found !== undefined) return found;
    }
    // One that is too small for a read now is for most reads to come.
    const small = this.#free.pop();
    if (small !== undefined) this.#drop(small);
    const usage = GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ;
    this.#device.pushErrorScope("out-of-memory");
    const buffer = this.#device.createBuffer({ label: "read-back", size: bytes, usage });
    this.#bytes += bytes;
    return { buffer, refused: this.#device.popErrorScope() };
  }

  #giveBack(staging: Staging): void {
    if (this.#disposed || staging.buffer.size > LARGEST_KEPT) this.#drop(staging);
    else this.#free.push(staging);
  }

  #drop({ buffer }: Staging): void {
    this.#bytes -= buffer.size;
    buffer.destroy();
  }
}

function cutRange({ offset, bytes }: ArenaRange, owner: number, most: number): Cut[] {
  return Array.from({ length: Math.ceil(bytes / most) }, (_, number) => {
    const start = number * most;
    return { offset: offset + start, bytes: Math.min(most, bytes - start), owner, number };
  });
}

/** Cuts that go into one buffer each. */
function grouped(cuts: readonly Cut[], most: number): Cut[][] {
  const groups: Cut[][] = [];
  let room = 0;
  for (const cut of cuts) {
    const bytes = roundUp(cut.bytes, ALIGNMENT);
    if (bytes > room) {
      groups.push([]);
      room = most;
    }
    groups.at(-1)?.push(cut);
    room -= bytes;
  }
  return groups;
}

function joined(parts: readonly ArrayBuffer[]): ArrayBuffer {
  const [only] = parts;
  if (only !== undefined && parts.length === 1) return only;
  const whole = new Uint8Array(parts.reduce((sum, { byteLength }) => sum + byteLength, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(new Uint8Array(part), at);
    at += part.byteLength;
  }
  return whole.buffer;
}
