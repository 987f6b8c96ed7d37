/** The host's copies of a program's inputs, from which another device can go on. */
import { staticSize } from "../../graph/shape.ts";
import { type HostData, hostData, type HostPort } from "../host_array.ts";

/** Inputs by path. */
export type InputData = ReadonlyMap<string, HostData>;

/**
 * What was written, as far as a device that starts anew needs it: what each input is before the oldest
 * run that is under way, and what was written before each run since.
 */
export class InputCopies {
  readonly #settled = new Map<string, HostData>();
  /** Written since the last run was started. */
  #fresh = new Map<string, HostData>();
  /** The newest array of each. */
  readonly #newest = new Map<string, HostData>();
  /** Arrays that nothing needs any more. */
  readonly #spare = new Map<string, HostData>();

  /** Inputs as they are before all runs that have not been settled. */
  get settled(): InputData {
    return this.#settled;
  }

  /** What was written since {@linkcode take}. */
  get fresh(): InputData {
    return this.#fresh;
  }

  /** Copies elements in, as an executable's `write`; gives all of the input as it is then. */
  write(port: HostPort, data: HostData, start: number): HostData {
    const { path, dtype } = port;
    const elements = staticSize(port.shape);
    let copy = this.#fresh.get(path);
    if (copy === undefined) {
      copy = this.#spare.get(path) ?? hostData(dtype, elements);
      this.#spare.delete(path);
      const before = this.#newest.get(path);
      if (before !== undefined && data.length < elements) copy.set(before);
      this.#fresh.set(path, copy);
      this.#newest.set(path, copy);
    }
    copy.set(data, start);
    return copy;
  }

  /** What was written since the last call: a run that starts now sees it, and none before. */
  take(): InputData {
    const taken = this.#fresh;
    this.#fresh = new Map();
    return taken;
  }

  /** Counts what {@linkcode take} gave as there for good: the run that saw it first has ended. */
  settle(taken: InputData): void {
    for (const [path, data] of taken) this.replace(path, data);
  }

  /** Makes an input's copy another one, such as what the device has made of it. */
  replace(path: string, data: HostData): void {
    const before = this.#settled.get(path);
    if (before !== undefined) this.#spare.set(path, before);
    if (this.#newest.get(path) === before) this.#newest.set(path, data);
    this.#settled.set(path, data);
  }
}
