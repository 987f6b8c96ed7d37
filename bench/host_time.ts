/** How long the host is busy before a GPU has all of a run's work, and for how many dispatches. */
import type { Clock } from "./timing.ts";

/** What a host did. */
export interface HostTime {
  /** Milliseconds of each run, from its start until the last of its commands were submitted. */
  readonly times: readonly number[];
  /** Of each run. */
  readonly dispatches: number;
}

/** The classes of WebGPU whose methods tell; those of this host by default. */
export interface GpuClasses {
  readonly pass: { prototype: Pick<GPUComputePassEncoder, "dispatchWorkgroups"> };
  readonly queue: { prototype: Pick<GPUQueue, "submit"> };
}

/**
 * Runs for so many milliseconds, once at least, and watches the calls of WebGPU.
 *
 * @throws {RangeError} When a run dispatches nothing, or not as much as the others.
 */
export async function timeHost(
  run: () => Promise<unknown>,
  duration: number,
  now: Clock = () => performance.now(),
  { pass, queue }: GpuClasses = { pass: GPUComputePassEncoder, queue: GPUQueue },
): Promise<HostTime> {
  const { dispatchWorkgroups } = pass.prototype;
  const { submit } = queue.prototype;
  let dispatches = 0;
  let submitted = NaN;
  pass.prototype.dispatchWorkgroups = function (...counts) {
    dispatches++;
    return dispatchWorkgroups.apply(this, counts);
  };
  queue.prototype.submit = function (...commands) {
    const result = submit.apply(this, commands);
    submitted = now();
    return result;
  };
  try {
    const start = now();
    const times: number[] = [];
    const counts = new Set<number>();
    do {
      dispatches = 0;
      const began = now();
      await run();
      times.push(submitted - began);
      counts.add(dispatches);
    } while (now() - start < duration);
    const [count = 0] = counts;
    if (counts.size !== 1 || count === 0) {
      throw new RangeError(
        `Runs have ${[...counts].join(" or ")} dispatches, wanted some, always as many`,
      );
    }
    return { times, dispatches: count };
  } finally {
    pass.prototype.dispatchWorkgroups = dispatchWorkgroups;
    queue.prototype.submit = submit;
  }
}
