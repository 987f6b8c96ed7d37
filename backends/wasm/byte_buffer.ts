/** A growable byte buffer with the number formats of a WebAssembly binary. */

const TEXT = new TextEncoder();

/** Bytes written one after another. */
export class ByteBuffer {
  #bytes = new Uint8Array(256);
  #length = 0;
  #view = new DataView(this.#bytes.buffer);

  /** Bytes written so far. */
  get length(): number {
    return this.#length;
  }

  /** One byte, 0 to 255. */
  byte(value: number): void {
    this.#reserve(1);
    this.#bytes[this.#length++] = value;
  }

  /** Bytes as they are. */
  bytes(values: Uint8Array | readonly number[]): void {
    this.#reserve(values.length);
    this.#bytes.set(values, this.#length);
    this.#length += values.length;
  }

  /** An unsigned whole number below 2^32 in LEB128. */
  u32(value: number): void {
    if (!Number.isInteger(value) || value < 0 || value > 0xffffffff) {
      throw new RangeError(`Expected a whole number from 0 to 4294967295, got ${value}`);
    }
    let rest = value >>> 0;
    while (rest >= 0x80) {
      this.byte((rest & 0x7f) | 0x80);
      rest >>>= 7;
    }
    this.byte(rest);
  }

  /** An unsigned whole number up to 2^53 - 1 in LEB128. */
  u53(value: number): void {
    if (!Number.isSafeInteger(value) || value <= 0xffffffff) return this.u32(value);
    this.byte((value % 0x80) + 0x80);
    this.u53(Math.floor(value / 0x80));
  }

  /** A signed 32-bit whole number in LEB128; unsigned ones up to 2^32 - 1 wrap. */
  s32(value: number): void {
    if (!Number.isInteger(value) || value < -0x80000000 || value > 0xffffffff) {
      throw new RangeError(`Expected a 32-bit whole number, got ${value}`);
    }
    let rest = value | 0;
    for (;;) {
      const low = rest & 0x7f;
      rest >>= 7;
      const done = (rest === 0 && (low & 0x40) === 0) || (rest === -1 && (low & 0x40) !== 0);
      this.byte(done ? low : low | 0x80);
      if (done) return;
    }
  }

  /** A signed 64-bit whole number in LEB128; unsigned ones up to 2^64 - 1 wrap. */
  s64(value: bigint): void {
    let rest = BigInt.asIntN(64, value);
    for (;;) {
      const low = Number(rest & 0x7fn);
      rest >>= 7n;
      const done = (rest === 0n && (low & 0x40) === 0) || (rest === -1n && (low & 0x40) !== 0);
      this.byte(done ? low : low | 0x80);
      if (done) return;
    }
  }

  /** Four bytes of an f32, low first. A NaN is written in its canonical form. */
  f32(value: number): void {
    this.#reserve(4);
    this.#view.setFloat32(this.#length, value, true);
    this.#length += 4;
  }

  /** Eight bytes of an f64, low first. */
  f64(value: number): void {
    this.#reserve(8);
    this.#view.setFloat64(this.#length, value, true);
    this.#length += 8;
  }

  /** UTF-8 text after its length. */
  name(text: string): void {
    this.sized(TEXT.encode(text));
  }

  /** Bytes after their count. */
  sized(content: Uint8Array): void {
    this.u32(content.length);
    this.bytes(content);
  }

  /** Removes and returns the bytes from `start` on. */
  cut(start: number): Uint8Array {
    const removed = this.#bytes.slice(start, this.#length);
    this.#length = start;
    return removed;
  }

  /** The bytes written so far. The view is valid until the next write. */
  view(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  #reserve(count: number): void {
    const needed = this.#length + count;
    if (needed <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    grown.set(this.view());
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer);
  }
}
