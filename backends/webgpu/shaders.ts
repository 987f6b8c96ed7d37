/** The shaders of a program, for a device that need not be here. */
import type { AttentionForm } from "../../compiler/attention_costs.ts";
import type { FusionOptions } from "../../compiler/fusion_rules.ts";
import type { GraphModule } from "../../compiler/module.ts";
import { lowerGraph } from "../../compiler/pipeline.ts";
import type { DimBindings } from "../../graph/shape.ts";
import { type NodeNote, noteNode } from "../errors.ts";
import { assembleGpu } from "./assemble.ts";
import { type GpuCapabilities, gpuCapabilities } from "./capabilities.ts";
import { gpuTarget, withMemory } from "./target.ts";

/** What shaders are made for, and how the graph is compiled: as `compile` would. */
export interface ShaderOptions {
  /** What the device can do; by default a device that has the least there may be. */
  readonly capabilities?: GpuCapabilities;
  /** Sizes of the symbolic dims: `{ batch: 64 }`. */
  readonly bind?: DimBindings;
  /** Inputs, by path or its beginning, whose memory outputs take over. */
  readonly donate?: Readonly<Record<string, string>>;
  /** The most bytes that the program may take. */
  readonly memoryLimit?: number;
  /** The form of attention; by default the one that costs less. */
  readonly attention?: AttentionForm | "auto";
  /** Which fusion rules may fire; by default all. */
  readonly fusion?: FusionOptions;
}

/** A shader of a program. */
export interface GpuShader {
  /** Name of the kernel. */
  readonly kernel: string;
  /** The graph nodes in it, of the first step that runs it. */
  readonly nodes: readonly NodeNote[];
  /** WGSL, with the nodes and the user's lines in a comment on top. */
  readonly wgsl: string;
}

/**
 * The distinct shaders that a graph becomes on a GPU, in the order in which they first run: to read
 * them, or to compare them. No GPU takes part.
 *
 * ```ts ignore
 * const capabilities = gpuCapabilities({ f16: true, limits: { maxBufferSize: 2 ** 30 } });
 * for (const { wgsl } of webgpuShaders(graph, { capabilities, bind: { batch: 1 } })) console.log(wgsl);
 * ```
 *
 * @throws {RangeError} When a dim is unbound, a name does not exist, nothing fits in the memory limit, or
 *   the device's limits do not allow a kernel, however it is cut.
 */
export function webgpuShaders(graph: GraphModule, options: ShaderOptions = {}): GpuShader[] {
  const { capabilities = gpuCapabilities(), ...rest } = options;
  const lowered = lowerGraph(graph, { ...rest, target: gpuTarget(capabilities, rest) });
  const { program } = withMemory(lowered, capabilities, false);
  return assembleGpu(program, capabilities).modules.map(({ kernel, step, wgsl }) => ({
    kernel,
    nodes: (program.steps[step]?.nodes ?? []).map(noteNode),
    wgsl,
  }));
}
