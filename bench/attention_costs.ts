/**
 * Measures attention in both of its forms at many sizes, on one thread or on WebGPU, and fits the costs
 * that `backends/wasm/attention_costs.ts` or `backends/webgpu/attention_costs.ts` holds, which it prints.
 *
 *     deno run --allow-read bench/attention_costs.ts [--seconds 0.5] [--backend webgpu]
 */
import { parseArgs } from "node:util";
import type { Backend, Executable } from "../backends/backend.ts";
import { wasm } from "../backends/wasm/backend.ts";
import { webgpu } from "../backends/webgpu/backend.ts";
import { GpuExecutable } from "../backends/webgpu/runtime.ts";
import {
  ATTENTION_FORMS,
  type AttentionCost,
  type AttentionForm,
  attentionSeconds,
  type AttentionSizes,
  costsOf,
  type FormCost,
} from "../compiler/attention_costs.ts";
import { attentionGraph } from "../compiler/attention_graph.ts";
import { staticShape, staticSize } from "../graph/shape.ts";

const NOTHING: FormCost = { call: 0, product: 0, score: 0 };
const UNKNOWN = { fused: NOTHING, plain: NOTHING };

/** What is computed in one way: the products of few queries, and gradients of few entries, differ. */
const CLASSES: readonly AttentionCost[] = [
  { isTrained: false, queries: 1, ...UNKNOWN },
  { isTrained: false, queries: 3, ...UNKNOWN },
  { isTrained: false, ...UNKNOWN },
  { isTrained: true, entries: 3, ...UNKNOWN },
  { isTrained: true, queries: 3, ...UNKNOWN },
  { isTrained: true, ...UNKNOWN },
];

/** Seconds of each form, the least of all runs. */
interface Measured {
  readonly sizes: AttentionSizes;
  readonly seconds: Readonly<Record<AttentionForm, number>>;
}

/** Tokens and heads of ViTs at several resolutions, pooling's single query, and sizes in between. */
function sizesToMeasure(): AttentionSizes[] {
  const all: AttentionSizes[] = [];
  const add = (entries: number, queries: number, keys: number, depth: number) => {
    for (const isTrained of [false, true]) {
      all.push({ entries, queries, keys, depth, valueDepth: depth, isTrained });
    }
  };
  for (const queries of [1, 2, 3, 4, 6, 20]) {
    for (const keys of [50, 197, 577]) {
      for (const entries of [2, 12]) add(entries, queries, keys, 64);
    }
  }
  for (const tokens of [17, 50, 65, 101, 145, 197, 257]) {
    for (const entries of [1, 3, 6, 12]) add(entries, tokens, tokens, 64);
    for (const depth of [32, 80]) for (const entries of [2, 8]) add(entries, tokens, tokens, depth);
  }
  for (const tokens of [401, 577]) for (const entries of [1, 4]) add(entries, tokens, tokens, 64);
  return all;
}

async function prepared(
  backend: Backend,
  sizes: AttentionSizes,
  attention: AttentionForm,
): Promise<Executable> {
  const module = attentionGraph(sizes);
  const executable = await backend.prepare(module, { bind: {}, donate: {}, attention });
  for (const [path, node] of module.inputs) {
    const data = new Float32Array(staticSize(staticShape(node.shape)));
    executable.write(path, { data: data.map((_, at) => Math.sin(at * 1.7)) });
  }
  return executable;
}

/** Seconds of a run: on WebGPU by the device's clock, since to the host a result is late by milliseconds. */
async function secondsOf(executable: Executable): Promise<number> {
  if (executable instanceof GpuExecutable) {
    return (await executable.timeSteps()).reduce((sum, milliseconds) => sum + milliseconds, 0) /
      1000;
  }
  const began = performance.now();
  await executable.run([]);
  return (performance.now() - began) / 1000;
}

/** Runs both forms in turns, so that what else the machine does hits both. */
async function measure(
  backend: Backend,
  sizes: AttentionSizes,
  limit: number,
): Promise<Measured> {
  const forms = {
    fused: await prepared(backend, sizes, "fused"),
    plain: await prepared(backend, sizes, "plain"),
  };
  const seconds = { fused: Infinity, plain: Infinity };
  const start = performance.now();
  for (let round = 0; round < 5 || performance.now() - start < 1000 * limit; round++) {
    for (const form of ATTENTION_FORMS) {
      seconds[form] = Math.min(seconds[form], await secondsOf(forms[form]));
    }
  }
  for (const form of ATTENTION_FORMS) forms[form][Symbol.dispose]();
  return { sizes, seconds };
}

const TERMS = ["call", "product", "score"] as const;
/** Seconds that are nothing, even for each of a billion. */
const LEAST = 1e-15;
const ROUNDS = 30;
const STEPS = 300;

/**
 * The cost with the least sum of absolute relative errors, of those without negative terms: runs that
 * were disturbed throughout count for little. Squares are weighted again in each round, and solved one
 * term after the other.
 */
function fitted(measured: readonly Measured[], form: AttentionForm): FormCost {
  const rows = measured.map(({ sizes, seconds }) =>
    TERMS.map((term) => attentionSeconds({ ...NOTHING, [term]: 1 }, sizes) / seconds[form])
  );
  const terms = TERMS.map(() => 0);
  const residual = (row: readonly number[]) =>
    1 - row.reduce((sum, share, term) => sum + share * (terms[term] ?? 0), 0);
  for (let round = 0; round < ROUNDS; round++) {
    const weights = rows.map((row) => 1 / Math.max(Math.abs(residual(row)), 1e-3));
    for (let step = 0; step < STEPS; step++) {
      for (const term of TERMS.keys()) {
        let [slope, norm] = [0, 0];
        rows.forEach((row, at) => {
          const share = row[term] ?? 0;
          slope += (weights[at] ?? 0) * share * residual(row);
          norm += (weights[at] ?? 0) * share * share;
        });
        terms[term] = Math.max(0, (terms[term] ?? 0) + slope / norm);
      }
    }
  }
  const [call = 0, product = 0, score = 0] = terms.map((value) =>
    value < LEAST ? 0 : Number(value.toPrecision(3))
  );
  return { call, product, score };
}

/** What the costs say and what was measured, over all sizes of the class. */
function summary(measured: readonly Measured[], cost: AttentionCost): string {
  const mean = (of: (one: Measured) => number) =>
    measured.reduce((sum, one) => sum + of(one) / measured.length, 0);
  const percent = (of: (one: Measured) => number) => `${(100 * mean(of)).toFixed(1)} %`;
  const off = ATTENTION_FORMS.map((form) =>
    percent(({ sizes, seconds }) =>
      Math.abs(attentionSeconds(cost[form], sizes) / seconds[form] - 1)
    )
  );
  const lost = (taken: (one: Measured) => AttentionForm) =>
    percent((one) => one.seconds[taken(one)] / Math.min(...Object.values(one.seconds)) - 1);
  const chosen = ({ sizes }: Measured): AttentionForm =>
    attentionSeconds(cost.plain, sizes) < attentionSeconds(cost.fused, sizes) ? "plain" : "fused";
  return `off by ${off.join(" (fused), ")} (plain) on average; slower than the faster form by ` +
    `${lost(chosen)} as chosen, ${lost(() => "fused")} always fused, ` +
    `${lost(() => "plain")} always plain`;
}

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "0.5" },
    backend: { type: "string", default: "wasm" },
  },
});
const backend = values.backend === "webgpu" ? await webgpu() : wasm({ threads: 1 });
const measured: Measured[] = [];
for (const sizes of sizesToMeasure()) {
  const one = await measure(backend, sizes, Number(values.seconds));
  measured.push(one);
  const { fused, plain } = one.seconds;
  console.log(
    `${JSON.stringify(Object.values(sizes))}: fused ${(1e6 * fused).toFixed(1)} us, ` +
      `plain ${(1e6 * plain).toFixed(1)} us, ratio ${(plain / fused).toFixed(3)}`,
  );
}
for (const known of CLASSES) {
  const own = measured.filter(({ sizes }) => costsOf(CLASSES, sizes) === known);
  const cost = { ...known, fused: fitted(own, "fused"), plain: fitted(own, "plain") };
  console.log(`\n${JSON.stringify(cost)},\n// ${own.length} sizes; ${summary(own, cost)}`);
}
