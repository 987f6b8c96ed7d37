/** The reference as a backend: the op records' own f64 arithmetic, slow and obvious. */
import type { GraphModule } from "../../compiler/module.ts";
import { bindDims } from "../../compiler/passes/bind.ts";
import { donatedPaths } from "../../compiler/pipeline.ts";
import type { LiveValue } from "../../compiler/program.ts";
import { recomputedIn } from "../../compiler/recomputed.ts";
import { type Node, topologicalOrder } from "../../graph/node.ts";
import type { ReferenceTensor } from "../../graph/op.ts";
import { bindDim, type DimBindings, staticSize } from "../../graph/shape.ts";
import type { Backend, Executable, MemoryReport, PrepareOptions, StepNote } from "../backend.ts";
import { noteNode, UnusableProgramError } from "../errors.ts";
import {
  type HostData,
  hostData,
  type HostPort,
  type HostTensor,
  roundedBits,
} from "../host_array.ts";
import { evaluateGraph } from "./evaluate.ts";
import { bf16Value, f16Value } from "./storage.ts";

/** Backend that evaluates graphs in f64, node by node. */
export function reference(): Backend {
  return {
    capabilities: {
      name: "reference",
      simdWidth: 1,
      relaxedSimd: false,
      threads: 1,
      sharedMemory: false,
      memory64: true,
      maxMemoryBytes: Infinity,
      alignment: 8,
    },
    prepare: (graph, options) =>
      Promise.resolve().then(() => new ReferenceExecutable(graph, options)),
  };
}

/**
 * A graph, with the values of its inputs and outputs in f64. What a run leaves in a donated input is
 * not rounded to its element type before the next.
 */
class ReferenceExecutable implements Executable {
  readonly inputs: readonly HostPort[];
  readonly outputs: readonly HostPort[];
  readonly #graph: GraphModule;
  readonly #bind: DimBindings;
  readonly #donated: ReadonlyMap<string, string>;
  readonly #inputValues = new Map<string, ReferenceTensor>();
  readonly #outputValues = new Map<string, ReferenceTensor>();
  #disposed = false;

  constructor(graph: GraphModule, { bind, donate, memoryLimit, dump }: PrepareOptions) {
    this.#graph = graph;
    this.#bind = bind;
    this.#donated = donatedPaths(graph, donate);
    this.inputs = ports(graph.inputs, bind);
    this.outputs = ports(graph.outputs, bind);
    for (const port of this.inputs) this.#inputValues.set(port.path, zeros(port));
    for (const port of this.outputs) this.#outputValues.set(port.path, zeros(port));
    const { arenaBytes } = this.memory();
    if (memoryLimit !== undefined && !(arenaBytes <= memoryLimit)) {
      throw new RangeError(
        `Cannot fit inputs and outputs, held in f64, in ${memoryLimit} bytes: the smallest ` +
          `memoryLimit that would work is ${arenaBytes}`,
      );
    }
    dump?.("traced", topologicalOrder(graph.outputs.values()).join("\n"));
  }

  write(path: string, { data }: { readonly data: HostData }, start = 0): void {
    this.#usable("written to");
    const { dtype, shape, data: before } = valueAt(this.#inputValues, path, "input");
    const value = dtype === "f16" ? f16Value : dtype === "bf16" ? bf16Value : Number;
    // Not in place: a donated input's numbers are those of the last run's output.
    const after = before.slice();
    after.set(Float64Array.from(data, (raw) => value(raw)), start);
    this.#inputValues.set(path, { dtype, shape, data: after });
  }

  // The interface's reads and runs may wait for a device; these do not.
  // deno-lint-ignore require-await
  async readInputs(paths: readonly string[]): Promise<ReadonlyMap<string, HostTensor>> {
    this.#usable("read");
    return new Map(
      paths.map((path) => [path, toHost(valueAt(this.#inputValues, path, "input"))]),
    );
  }

  // deno-lint-ignore require-await
  async run(outputs: readonly string[]): Promise<ReadonlyMap<string, HostTensor>> {
    this.#usable("run");
    const values = evaluateGraph(this.#graph.outputs.values(), this.#inputValues, this.#bind);
    for (const [path, node] of this.#graph.outputs) {
      const value = values.get(node);
      if (value === undefined) throw new TypeError(`${node} was not evaluated`);
      this.#outputValues.set(path, value);
    }
    for (const [input, output] of this.#donated) {
      this.#inputValues.set(input, valueAt(this.#outputValues, output, "output"));
    }
    return new Map(
      outputs.map((path) => [path, toHost(valueAt(this.#outputValues, path, "output"))]),
    );
  }

  memory(): MemoryReport {
    const peak = [...this.#inputValues, ...this.#outputValues]
      .map(([name, { data }]): LiveValue => ({ name, bytes: data.byteLength, scope: "" }))
      .sort((a, b) => b.bytes - a.bytes);
    const held = peak.reduce((total, { bytes }) => total + bytes, 0);
    const recomputed = recomputedIn(bindDims(this.#graph, this.#bind));
    return { totalBytes: held, arenaBytes: held, lowerBoundBytes: held, peak, recomputed };
  }

  steps(): readonly StepNote[] {
    return topologicalOrder(this.#graph.outputs.values())
      .filter((node) => node.op.name !== "input")
      .map((node) => ({ kernel: node.op.name, kind: "reference", nodes: [noteNode(node)] }));
  }

  explain(): undefined {
    return undefined;
  }

  describe(): string {
    return "reference: f64, one thread";
  }

  [Symbol.dispose](): void {
    this.#disposed = true;
    this.#inputValues.clear();
    this.#outputValues.clear();
  }

  #usable(attempt: string): void {
    if (this.#disposed) {
      throw new UnusableProgramError(`A disposed program cannot be ${attempt}`);
    }
  }
}

function ports(ends: ReadonlyMap<string, Node>, bind: DimBindings): HostPort[] {
  return [...ends].map(([path, { dtype, shape }]) => ({
    path,
    dtype,
    shape: shape.map((size) => bindDim(size, bind)),
  }));
}

function zeros({ dtype, shape }: HostPort): ReferenceTensor {
  return { dtype, shape, data: new Float64Array(staticSize(shape)) };
}

function valueAt(
  values: ReadonlyMap<string, ReferenceTensor>,
  path: string,
  kind: string,
): ReferenceTensor {
  const value = values.get(path);
  if (value === undefined) throw new RangeError(`The program has no ${kind} "${path}"`);
  return value;
}

function toHost({ dtype, shape, data }: ReferenceTensor): HostTensor {
  if (dtype === "f16" || dtype === "bf16") {
    return { dtype, shape, data: roundedBits(Float32Array.from(data), dtype) };
  }
  const host = hostData(dtype, data.length);
  host.set(data);
  return { dtype, shape, data: host };
}
