/** How long passes take on the device. */

/** Passes that can be timed at once: of the 4,096 queries that a set may have, each takes two. */
export const MOST_PASSES = 2048;

/**
 * Runs passes one after the other; gives their times in nanoseconds, by the device's own clock.
 *
 * @param device That has the feature `timestamp-query`.
 * @param writes Each writes a pass; at most {@linkcode MOST_PASSES}.
 */
export async function timePasses(
  device: GPUDevice,
  writes: readonly ((pass: GPUComputePassEncoder) => void)[],
): Promise<number[]> {
  const count = 2 * writes.length;
  const querySet = device.createQuerySet({ type: "timestamp", count });
  const bufferOf = (usage: number) => device.createBuffer({ size: 8 * count, usage });
  const resolved = bufferOf(GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC);
  const staging = bufferOf(GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ);
  try {
    const encoder = device.createCommandEncoder();
    for (const [number, write] of writes.entries()) {
      const [beginningOfPassWriteIndex, endOfPassWriteIndex] = [2 * number, 2 * number + 1];
      const timestampWrites = { querySet, beginningOfPassWriteIndex, endOfPassWriteIndex };
      const pass = encoder.beginComputePass({ timestampWrites });
      write(pass);
      pass.end();
    }
    encoder.resolveQuerySet(querySet, 0, count, resolved, 0);
    encoder.copyBufferToBuffer(resolved, 0, staging, 0, 8 * count);
    device.queue.submit([encoder.finish()]);
    await staging.mapAsync(GPUMapMode.READ);
    const stamps = new BigUint64Array(staging.getMappedRange().slice(0));
    return writes.map((_, number) =>
      Number((stamps[2 * number + 1] ?? 0n) - (stamps[2 * number] ?? 0n))
    );
  } finally {
    for (const made of [querySet, resolved, staging]) made.destroy();
  }
}
