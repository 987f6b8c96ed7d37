/** Running graphs on a backend in tests, with values in f64 on both sides. */
import type { Backend } from "../../backends/backend.ts";
import type { AttentionForm } from "../../compiler/attention_costs.ts";
import type { FusionOptions } from "../../compiler/fusion_rules.ts";
import { type HostData, hostData } from "../../backends/host_array.ts";
import { bf16Bits, bf16Value, f16Bits, f16Value } from "../../backends/reference/storage.ts";
import { bytesPerElement, type DType } from "../../graph/dtype.ts";
import type { Node } from "../../graph/mod.ts";
import type { ReferenceTensor } from "../../graph/op.ts";
import type { DimBindings } from "../../graph/shape.ts";

/** A graph to run, with its inputs' values. */
export interface RunnableGraph {
  readonly inputs: ReadonlyMap<string, Node>;
  readonly outputs: ReadonlyMap<string, Node>;
  readonly values: ReadonlyMap<string, ReferenceTensor>;
  readonly bindings?: DimBindings;
  readonly fusion?: FusionOptions;
  readonly attention?: AttentionForm | "auto";
}

function toHost(dtype: DType, values: ArrayLike<number>): HostData {
  const data = hostData(dtype, values.length);
  const bits = dtype === "f16" ? f16Bits : dtype === "bf16" ? bf16Bits : undefined;
  for (let at = 0; at < values.length; at++) {
    const value = values[at] ?? NaN;
    data[at] = bits === undefined ? value : bits(value);
  }
  return data;
}

function fromHost(dtype: DType, data: HostData): Float64Array {
  if (bytesPerElement(dtype) === 4) return Float64Array.from(data);
  return Float64Array.from(data, dtype === "f16" ? f16Value : bf16Value);
}

/** Runs the graph once and gives all outputs by path. */
export async function runOn(
  backend: Backend,
  graph: RunnableGraph,
): Promise<Map<string, Float64Array>> {
  const { inputs, outputs } = graph;
  const bind = graph.bindings ?? {};
  const { fusion, attention } = graph;
  const options = { bind, donate: {}, fusion, attention };
  using executable = await backend.prepare({ inputs, outputs }, options);
  for (const [path, { dtype, data }] of graph.values) {
    executable.write(path, { data: toHost(dtype, data) });
  }
  const results = await executable.run([...outputs.keys()]);
  return new Map([...results].map(([path, { dtype, data }]) => [path, fromHost(dtype, data)]));
}
