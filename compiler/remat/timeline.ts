/** When the kernels of a schedule write and read each value: what rematerialisation plans with. */
import type { Node } from "../../graph/node.ts";
import type { LoweredKernel } from "../lower/kernel_builder.ts";
import type { OwnedOutputs } from "../outputs.ts";
import { bytesOf } from "../schedule/access.ts";

/** A value that waits in memory between two reads: from `start` on nothing needs it until `end`. */
export interface Gap {
  readonly node: Node;
  readonly bytes: number;
  /** Step of the last access before. */
  readonly start: number;
  /** Step of the first read after. */
  readonly end: number;
}

/** Accesses of all values that kernels write, by step. */
export class Timeline {
  readonly kernels: readonly LoweredKernel[];
  /** Steps at which each value is written or read, ascending; the first is the writing. */
  readonly #accesses = new Map<Node, number[]>();
  readonly #outputs: ReadonlySet<Node>;
  readonly #overwrites: ReadonlyMap<Node, Node>;

  constructor(kernels: readonly LoweredKernel[], { module, overwrites }: OwnedOutputs) {
    this.kernels = kernels;
    this.#outputs = new Set(module.outputs.values());
    this.#overwrites = overwrites;
    kernels.forEach((kernel, step) => {
      for (const node of kernel.writes) this.#accesses.set(node, [step]);
      for (const node of kernel.bindings) {
        const steps = this.#accesses.get(node);
        if (steps !== undefined && steps.at(-1) !== step) steps.push(step);
      }
    });
  }

  /** Every value that a kernel writes. */
  get values(): Iterable<Node> {
    return this.#accesses.keys();
  }

  /** Whether a kernel writes the value to memory. */
  isStored(node: Node): boolean {
    return this.#accesses.has(node);
  }

  /** Bytes that the value takes: none where it takes an input's place. */
  bytes(node: Node): number {
    return this.#overwrites.has(node) ? 0 : bytesOf(node);
  }

  /** The step that writes the value. */
  written(node: Node): number {
    return this.#accesses.get(node)?.[0] ?? -1;
  }

  /** The last step that needs the value. */
  last(node: Node): number {
    return this.#outputs.has(node) ? this.kernels.length : this.#accesses.get(node)?.at(-1) ?? -1;
  }

  /** The longest time for which the value waits, if it waits at all. An output always has a reader. */
  gap(node: Node): Gap | undefined {
    const steps = this.#accesses.get(node);
    if (steps === undefined || this.#outputs.has(node)) return undefined;
    let longest: Gap | undefined;
    for (const [at, end] of steps.entries()) {
      const start = steps[at - 1];
      if (start === undefined || end - start < 2) continue;
      if (longest !== undefined && end - start <= longest.end - longest.start) continue;
      longest = { node, bytes: this.bytes(node), start, end };
    }
    return longest;
  }
}
