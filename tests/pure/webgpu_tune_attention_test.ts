/** How tuning chooses attention's form, with times that a test makes up. */
import { gpuCapabilities } from "../../backends/webgpu/capabilities.ts";
import { gpuTarget } from "../../backends/webgpu/target.ts";
import { type ProgramTimer, tuneAttention } from "../../backends/webgpu/tune_attention.ts";
import { memoryTuning, type TuningStore } from "../../backends/webgpu/tuning.ts";
import type { AttentionForm } from "../../compiler/attention_costs.ts";
import { gradients } from "../../compiler/autodiff.ts";
import { lowerGraph, type LowerOptions } from "../../compiler/pipeline.ts";
import * as g from "../../graph/mod.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { moduleOf } from "../support/lowered.ts";

const capabilities = gpuCapabilities({ adapter: "made up" });

interface Wanted {
  readonly tokens: number | g.SymbolicDim;
  readonly isTrained?: boolean;
}

function attention({ tokens, isTrained = false }: Wanted): Record<string, g.Node> {
  const input = (name: string) => g.input(name, "f32", [2, tokens, 16]);
  const [q, k, v] = [input("q"), input("k"), input("v")];
  const y = g.attention(q, k, v);
  return isTrained ? { y, ...gradients(g.sum(g.mul(y, y)), { q, k, v }) } : { y };
}

/** To which the plain form takes this share of the other's time; with the forms that it was asked for. */
function timerFor(share: number | undefined): { time: ProgramTimer; asked: AttentionForm[] } {
  const asked: AttentionForm[] = [];
  const time: ProgramTimer = ({ kernels }) => {
    const isFused = kernels.some(({ kind }) => kind.startsWith("attention"));
    asked.push(isFused ? "fused" : "plain");
    return Promise.resolve(isFused ? 1 : share);
  };
  return { time, asked };
}

/** Whether the attention becomes one kernel, and why. */
async function lowered(
  outputs: Record<string, g.Node>,
  time: ProgramTimer,
  store: TuningStore,
  options: Omit<LowerOptions, "target"> = {},
) {
  const graph = moduleOf(outputs);
  const target = gpuTarget(capabilities, options);
  const all = { ...options, target };
  const attentionForm = await tuneAttention(time, graph, all, capabilities, store);
  const program = lowerGraph(graph, { ...options, target: { ...target, attentionForm } });
  const form: AttentionForm = program.kernels.some(({ kind }) => kind.startsWith("attention"))
    ? "fused"
    : "plain";
  const { detail } = program.explanation?.rules.find(({ rule }) => rule === "plain_attention") ??
    { detail: "" };
  return { form, why: detail };
}

Deno.test("webgpu: tuning finds attention's faster form, once for sizes and an adapter", async () => {
  const store = memoryTuning();
  const { time, asked } = timerFor(0.9);
  const first = await lowered(attention({ tokens: 20 }), time, store);
  assertEquals(first, { form: "plain", why: "it was measured on the device" });
  assertEquals(asked, ["fused", "plain"]);
  assertEquals(await lowered(attention({ tokens: 20 }), time, store), first);
  const bound = attention({ tokens: g.dim("tokens") });
  assertEquals(await lowered(bound, time, store, { bind: { tokens: 20 } }), first);
  assertEquals(asked.length, 2);
  await lowered(attention({ tokens: 21 }), time, store);
  assertEquals(asked.length, 4);
});

Deno.test("webgpu: attention that is trained becomes plain if that is worth keeping its scores", async () => {
  for (const [share, form] of [[0.9, "fused"], [0.7, "plain"], [1.1, "fused"]] as const) {
    const { time } = timerFor(share);
    const graph = attention({ tokens: 20, isTrained: true });
    assertEquals((await lowered(graph, time, memoryTuning())).form, form);
  }
});

Deno.test("webgpu: attention is not measured where the form is given, or the plain one too large", async () => {
  const { time, asked } = timerFor(0.1);
  const small = attention({ tokens: 20 });
  const store = memoryTuning();
  assertEquals((await lowered(small, time, store, { attention: "fused" })).form, "fused");
  assertEquals((await lowered(small, time, store, { memoryLimit: 2 ** 20 })).form, "fused");
  assertEquals((await lowered(attention({ tokens: 100 }), time, store)).form, "fused");
  assertEquals(asked, []);
});

Deno.test("webgpu: attention that cannot be timed is one kernel, and nothing is kept", async () => {
  const added: string[] = [];
  const store: TuningStore = {
    get: () => undefined,
    add: (_, found) => Promise.resolve(void added.push(...found.keys())),
  };
  const { time } = timerFor(undefined);
  const { form, why } = await lowered(attention({ tokens: 20 }), time, store);
  assertEquals(form, "fused");
  assert(why.includes("not measured"), why);
  assertEquals(added, []);
});
