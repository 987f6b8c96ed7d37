/** Copies from the device to the host. */

/** Bytes of a buffer that are wanted on the host. */
export interface ReadRange {
  readonly offset: number;
  readonly bytes: number;
}

const ALIGNMENT = 8;

/** Staging buffers that reads take turns with, so that several can be under way. */
export class ReadbackRing {
  readonly #device: GPUDevice;
  #free: GPUBuffer[] = [];
  #bytes = 0;
  #disposed = false;

  constructor(device: GPUDevice) {
    this.#device = device;
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
    source: GPUBuffer,
    ranges: readonly ReadRange[],
  ): () => Promise<ArrayBuffer[]> {
    const starts: number[] = [];
    let total = 0;
    for (const { bytes } of ranges) {
      starts.push(total);
      total += Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
    }
    if (total === 0) return () => Promise.resolve(ranges.map(() => new ArrayBuffer(0)));
    const staging = this.#take(total);
    ranges.forEach(({ offset, bytes }, at) => {
      const words = Math.ceil(bytes / 4) * 4;
      if (words > 0) {
        encoder.copyBufferToBuffer(source, offset, staging, starts[at] ?? 0, words);
      }
    });
    return async () => {
      try {
        await staging.mapAsync(GPUMapMode.READ, 0, total);
        const mapped = staging.getMappedRange(0, total);
        const parts = ranges.map(({ bytes }, at) => {
          const start = starts[at] ?? 0;
          return mapped.slice(start, start + bytes);
        });
        staging.unmap();
        return parts;
      } finally {
        this.#giveBack(staging);
      }
    };
  }

  /** Frees the buffers, those in use once they are given back. */
  dispose(): void {
    this.#disposed = true;
    for (const buffer of this.#free) this.#drop(buffer);
    this.#free = [];
  }

  #take(bytes: number): GPUBuffer {
    const at = this.#free.findIndex(({ size }) => size >= bytes);
    if (at >= 0) {
      const [found] = this.#free.splice(at, 1);
      if (found !== undefined) return found;
    }
    // One that is too small for a read now is for most reads to come.
    const small = this.#free.pop();
    if (small !== undefined) this.#drop(small);
    const usage = GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ;
    this.#bytes += bytes;
    return this.#device.createBuffer({ label: "readback", size: bytes, usage });
  }

  #giveBack(buffer: GPUBuffer): void {
    if (this.#disposed) this.#drop(buffer);
    else this.#free.push(buffer);
  }

  #drop(buffer: GPUBuffer): void {
    this.#bytes -= buffer.size;
    buffer.destroy();
  }
}
