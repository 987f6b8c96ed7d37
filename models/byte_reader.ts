/** Bytes that come in chunks of any length, taken in lengths of one's own. */

/** Bytes in chunks, such as a response's body. */
export type ByteChunks =
  | Iterable<Uint8Array>
  | AsyncIterable<Uint8Array>
  | ReadableStream<Uint8Array>;

/** Takes bytes from chunks; a chunk is not used any more once the next has been asked for. */
export class ByteReader {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #rest: Uint8Array = new Uint8Array();

  constructor(chunks: ByteChunks) {
    this.#chunks = iterate(chunks);
  }

  /** At least `count` bytes, or all that are left: what `take` takes from. They are not yet taken. */
  async peek(count: number): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    let length = this.#rest.byteLength;
    while (length < count) {
      // A copy, since the next chunk may lie in the same memory.
      parts.push(this.#rest.slice());
      const { done, value } = await this.#chunks.next();
      this.#rest = done ? new Uint8Array() : value;
      if (done) break;
      length += value.byteLength;
    }
    if (length > this.#rest.byteLength) this.#rest = joined([...parts, this.#rest], length);
    return this.#rest;
  }

  /** Takes that many of the bytes that `peek` gave. The view is valid until the next `peek`. */
  take(count: number): Uint8Array {
    const taken = this.#rest.subarray(0, count);
    this.#rest = this.#rest.subarray(count);
    return taken;
  }

  /** Tells where the chunks come from that no more are wanted. */
  async close(): Promise<void> {
    await this.#chunks.return?.();
  }
}

function joined(parts: readonly Uint8Array[], length: number): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.byteLength;
  }
  return whole;
}

async function* iterate(chunks: ByteChunks): AsyncGenerator<Uint8Array> {
  if (!("getReader" in chunks)) return yield* chunks;
  // Not all browsers can iterate over a stream.
  const reader = chunks.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    await reader.cancel();
  }
}
