/** Which form of attention is the faster one on a device, found by running both. */
import {
  ATTENTION_FORMS,
  type AttentionForm,
  type AttentionSizes,
  fasterForm,
} from "../../compiler/attention_costs.ts";
import { attentionGraph } from "../../compiler/attention_graph.ts";
import type { GraphModule } from "../../compiler/module.ts";
import { bindDims } from "../../compiler/passes/bind.ts";
import { openAttention } from "../../compiler/passes/choose_attention.ts";
import { lowerGraph, type LowerOptions } from "../../compiler/pipeline.ts";
import type { Program } from "../../compiler/program.ts";
import { assembleGpu } from "./assemble.ts";
import type { GpuCapabilities } from "./capabilities.ts";
import { hashOf, TILE_TABLES, type TuningStore } from "./tuning.ts";
import { withMemory } from "./target.ts";

/** Tells how long a program takes, in seconds. Undefined where that cannot be measured. */
export type ProgramTimer = (program: Program) => Promise<number | undefined>;

/** The form that was found for sizes; undefined where none was. */
export type FoundForms = (sizes: AttentionSizes) => AttentionForm | undefined;

/**
 * The faster forms of a graph's attention: as the store has them, and measured where it has none. Where
 * the options leave no choice nothing is measured.
 */
export async function tuneAttention(
  time: ProgramTimer,
  graph: GraphModule,
  options: LowerOptions,
  capabilities: GpuCapabilities,
  store: TuningStore,
): Promise<FoundForms> {
  const { attention = "auto", memoryLimit, bind = {}, target } = options;
  const found = new Map<string, AttentionForm>();
  const isOpen = attention === "auto" && memoryLimit === undefined;
  for (const sizes of isOpen ? openAttention(bindDims(graph, bind)) : []) {
    const form = await formOf(time, sizes, target, capabilities, store);
    if (form !== undefined) found.set(JSON.stringify(sizes), form);
  }
  return (sizes) => found.get(JSON.stringify(sizes));
}

async function formOf(
  time: ProgramTimer,
  sizes: AttentionSizes,
  target: LowerOptions["target"],
  capabilities: GpuCapabilities,
  store: TuningStore,
): Promise<AttentionForm | undefined> {
  const { adapter } = capabilities;
  const [fused, plain] = ATTENTION_FORMS.map((attention) => {
    const lowered = lowerGraph(attentionGraph(sizes), { target, attention });
    return withMemory(lowered, capabilities, false).program;
  });
  if (fused === undefined || plain === undefined) throw new RangeError("Attention has two forms");
  const code = [fused, plain].flatMap((program) =>
    assembleGpu(program, capabilities).modules.map(({ code }) => code)
  );
  const hash = await hashOf(JSON.stringify([sizes, TILE_TABLES, code]));
  const known = store.get(adapter, hash);
  if (known === "fused" || known === "plain") return known;
  const seconds = { fused: await time(fused), plain: await time(plain) };
  if (seconds.fused === undefined || seconds.plain === undefined) return undefined;
  const form = fasterForm({ fused: seconds.fused, plain: seconds.plain }, sizes);
  await store.add(adapter, new Map([[hash, form]]));
  return form;
}
