/** Graphs of attention whose queries and keys are normalised, in many forms. */
import { gradients } from "../../compiler/autodiff.ts";
import * as g from "../../graph/mod.ts";
import type { Node } from "../../graph/mod.ts";
import { vit } from "../../models/mod.ts";
import fc from "./fast_check.ts";

/** Which norm, and which vectors it has. */
export interface NormChoice {
  readonly center: boolean;
  readonly scale: boolean;
  readonly bias: boolean;
}

/** What a graph is made from. */
export interface QkNormForm {
  /** Axes in front of the tokens, the last of which are heads. */
  readonly batch: readonly number[];
  readonly queries: number;
  readonly keys: number;
  readonly depth: number;
  readonly valueDepth: number;
  /** Keys and values come from the tokens that the queries come from. */
  readonly isSelf: boolean;
  readonly query: NormChoice | undefined;
  readonly key: NormChoice | undefined;
  /** Whether the norm's rows are [.., tokens, heads, depth], rearranged afterwards. */
  readonly headsInside: boolean;
}

const choice = fc.record({ center: fc.boolean(), scale: fc.boolean(), bias: fc.boolean() });

/** Graphs in which at least one operand is normalised. */
export const qkNormForms: fc.Arbitrary<QkNormForm> = fc.record({
  batch: fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 3 }),
  queries: fc.integer({ min: 1, max: 9 }),
  keys: fc.integer({ min: 1, max: 9 }),
  // Of few columns, a norm leaves little of what flows through it.
  depth: fc.integer({ min: 5, max: 18 }),
  valueDepth: fc.integer({ min: 1, max: 9 }),
  isSelf: fc.boolean(),
  query: fc.option(choice, { nil: undefined }),
  key: fc.option(choice, { nil: undefined }),
  headsInside: fc.boolean(),
}).filter(({ query, key }) => query !== undefined || key !== undefined);

/** A graph, and how many norms are in it. */
export interface QkNormGraph {
  readonly inputs: Readonly<Record<string, Node>>;
  readonly y: Node;
  readonly norms: number;
}

/** The graph of projections, norms and attention. */
export function qkNormGraph(form: QkNormForm): QkNormGraph {
  const { batch, queries, depth, valueDepth, headsInside } = form;
  const keys = form.isSelf ? queries : form.keys;
  const inputs: Record<string, Node> = {};
  const input = (name: string, shape: readonly number[]) =>
    inputs[name] ??= g.input(name, "f32", [...shape]);
  const heads = batch.at(-1) ?? 1;
  const outer = batch.slice(0, -1);
  const rank = outer.length + 3;
  /** [.., heads, tokens, columns] of [.., tokens, heads, columns], and back. */
  const swapped = (x: Node) => g.transpose(x, [...outer.keys(), rank - 2, rank - 3, rank - 1]);
  const letters = outer.map((_, axis) => "abcd"[axis]).join(" ");
  const pattern: string = `${letters} n w, w h e -> ${letters} n h e`;
  const project = (tokens: Node, name: string, columns: number) =>
    g.contract(pattern, tokens, input(name, [6, heads, columns]));
  const normed = (x: Node, name: string, norm: NormChoice | undefined) => {
    if (norm === undefined) return x;
    const scale = norm.scale ? input(`${name}/scale`, [depth]) : undefined;
    const bias = norm.bias ? input(`${name}/bias`, [depth]) : undefined;
    return g.layerNorm(x, { scale, bias, center: norm.center, epsilon: 1e-2 });
  };
  const operand = (tokens: Node, name: string, norm: NormChoice | undefined) => {
    const x = project(tokens, name, depth);
    return headsInside ? swapped(normed(x, name, norm)) : normed(swapped(x), name, norm);
  };
  const tokens = input("tokens", [...outer, queries, 6]);
  const others = form.isSelf ? tokens : input("others", [...outer, keys, 6]);
  const y = g.attention(
    operand(tokens, "query", form.query),
    operand(others, "key", form.key),
    swapped(project(others, "value", valueDepth)),
  );
  return { inputs, y, norms: [form.query, form.key].filter((norm) => norm !== undefined).length };
}

/** The graph's result and the gradients of all its inputs, of a loss that weighs every element. */
export function withGradients({ inputs, y }: QkNormGraph): Record<string, Node> {
  return { y, ...gradients(g.sum(g.sin(y)), inputs) };
}

/** Loss and gradients of ViT-22B's blocks (Dehghani et al. 2023), small. */
export function trainedBlocks(batch: number, imageSize: number): Record<string, Node> {
  const model = vit({
    imageSize,
    patchSize: 4,
    channels: 3,
    width: 16,
    depth: 2,
    mlpWidth: 24,
    heads: 2,
    classes: 3,
    block: "parallel",
    qkNorm: "layer",
    norm: "layer",
    qkvBias: false,
    pool: "map",
  });
  const specs = {
    parameters: model.parameterSpecs,
    images: g.spec("f32", [batch, imageSize, imageSize, 3]),
  };
  const graph = g.trace(specs, ({ parameters, images }) => {
    const { logits } = model.apply(parameters, images);
    const loss = g.mean(g.softmaxCrossEntropy(logits, g.full(1 / 3, [batch, 3])));
    return { loss, slopes: gradients(loss, parameters) };
  });
  return Object.fromEntries(graph.outputs);
}
