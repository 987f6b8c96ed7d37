/**
 * Attention whose queries and keys go through a norm on their way in (Dehghani et al. 2023, section 2:
 * QK-norm), and its gradients, as ops of the operands from before the norms. The compiler makes them
 * of attention and norms; what they mean is what those mean one after another.
 */
import type { DType } from "../dtype.ts";
import { ShapeError } from "../errors.ts";
import { makeNode, type Node } from "../node.ts";
import { type Attrs, defineOp, type OpRecord, type ReferenceTensor } from "../op.ts";
import { type Shape, type StaticShape, staticShape } from "../shape.ts";
import {
  attentionGradKeyRecord,
  attentionGradQueryRecord,
  attentionGradValueRecord,
  attentionLogSumExpRecord,
  attentionRecord,
} from "./attention.ts";
import type { ScaleAttrs } from "./attention_check.ts";
import { layerNormRecord } from "./norm.ts";
import {
  layerNormGradBiasRecord,
  layerNormGradInputRecord,
  layerNormGradScaleRecord,
} from "./norm_gradient.ts";
import { at, type OperandType, textsOf } from "./support.ts";

/** The norm of one operand's rows; `scale` and `bias` are vectors of its columns. */
export interface OperandNorm<T = Node> {
  readonly center: boolean;
  readonly epsilon: number;
  readonly scale: T | undefined;
  readonly bias: T | undefined;
}

/** The norms that queries and keys go through. */
export interface AttentionNorms<T = Node> {
  readonly query: OperandNorm<T> | undefined;
  readonly key: OperandNorm<T> | undefined;
}

/** What an attention op gives: a result of attention, or the cotangent of an operand. */
export type AttentionResult =
  | "out"
  | "logSumExp"
  | "query"
  | "key"
  | "value"
  | "queryScale"
  | "queryBias"
  | "keyScale"
  | "keyBias";

type Side = keyof AttentionNorms;
type NormName = "none" | "layer" | "rms";
type NormedAttrs =
  & ScaleAttrs
  & { readonly [Name in `${Side}Norm`]: NormName }
  & { readonly [Name in `${Side}Epsilon`]: number }
  & { readonly [Name in `${Side}Scale` | `${Side}Bias`]: boolean };

/** An op without norms: its operands start with q and k. */
interface PlainOp {
  readonly record: OpRecord<ScaleAttrs>;
  readonly operands: number;
}

const FORWARD: PlainOp = { record: attentionRecord, operands: 3 };
const LOG_SUM_EXP: PlainOp = { record: attentionLogSumExpRecord, operands: 2 };
const GRAD_QUERY: PlainOp = { record: attentionGradQueryRecord, operands: 6 };
const GRAD_KEY: PlainOp = { record: attentionGradKeyRecord, operands: 6 };
const GRAD_VALUE: PlainOp = { record: attentionGradValueRecord, operands: 6 };

/** The op that each result is made of, and what of a norm it then goes back through. */
const MADE_OF: {
  readonly [Result in AttentionResult]: {
    readonly plain: PlainOp;
    readonly through?: { readonly side: Side; readonly wanted: "input" | "scale" | "bias" };
  };
} = {
  out: { plain: FORWARD },
  logSumExp: { plain: LOG_SUM_EXP },
  query: { plain: GRAD_QUERY, through: { side: "query", wanted: "input" } },
  key: { plain: GRAD_KEY, through: { side: "key", wanted: "input" } },
  value: { plain: GRAD_VALUE },
  queryScale: { plain: GRAD_QUERY, through: { side: "query", wanted: "scale" } },
  queryBias: { plain: GRAD_QUERY, through: { side: "query", wanted: "bias" } },
  keyScale: { plain: GRAD_KEY, through: { side: "key", wanted: "scale" } },
  keyBias: { plain: GRAD_KEY, through: { side: "key", wanted: "bias" } },
};

/** An op's operands as those of the op without norms, and the norms. */
export interface AttentionOperands<T = Node> {
  readonly plain: readonly T[];
  readonly norms: AttentionNorms<T>;
}

function operandsOf<T>(
  operands: readonly T[],
  plain: number,
  attrs: Readonly<Record<string, unknown>>,
): AttentionOperands<T> {
  const vectors = operands.slice(plain);
  const norm = (side: Side): OperandNorm<T> | undefined => {
    const kind = attrs[`${side}Norm`];
    if (kind === undefined || kind === "none") return undefined;
    return {
      center: kind === "layer",
      epsilon: Number(attrs[`${side}Epsilon`]),
      scale: attrs[`${side}Scale`] === true ? vectors.shift() : undefined,
      bias: attrs[`${side}Bias`] === true ? vectors.shift() : undefined,
    };
  };
  return { plain: operands.slice(0, plain), norms: { query: norm("query"), key: norm("key") } };
}

function attrsOf(scale: number, norms: AttentionNorms): NormedAttrs {
  const name = (norm: OperandNorm | undefined): NormName =>
    norm === undefined ? "none" : norm.center ? "layer" : "rms";
  const { query, key } = norms;
  return {
    scale,
    queryNorm: name(query),
    queryEpsilon: query?.epsilon ?? 0,
    queryScale: query?.scale !== undefined,
    queryBias: query?.bias !== undefined,
    keyNorm: name(key),
    keyEpsilon: key?.epsilon ?? 0,
    keyScale: key?.scale !== undefined,
    keyBias: key?.bias !== undefined,
  };
}

/** The norm's vectors, those that it has. */
export function vectorsOf<T>(norm: OperandNorm<T> | undefined): T[] {
  return [norm?.scale, norm?.bias].filter((vector) => vector !== undefined);
}

/** How one op applies to operands of some kind: types, numbers in f64, or nodes. */
type Apply<T> = <A extends Attrs>(record: OpRecord<A>, operands: readonly T[], attrs: A) => T;

/** What the op is made of, one step after another. */
function steps<T extends { readonly shape: Shape }>(
  apply: Apply<T>,
  result: AttentionResult,
  operands: AttentionOperands<T>,
  { scale }: ScaleAttrs,
): T {
  const { plain, through } = MADE_OF[result];
  const ready = operands.plain.map((x, place) => {
    const norm = [operands.norms.query, operands.norms.key][place];
    if (norm === undefined) return x;
    const { center, epsilon } = norm;
    const has = { hasScale: norm.scale !== undefined, hasBias: norm.bias !== undefined };
    const attrs = { axis: x.shape.length - 1, epsilon, center, ...has };
    return apply(layerNormRecord, [x, ...vectorsOf(norm)], attrs);
  });
  const value = apply(plain.record, ready, { scale });
  const norm = through && operands.norms[through.side];
  if (norm === undefined) return value;
  const x = at(operands.plain, through?.side === "key" ? 1 : 0);
  const kind = { center: norm.center, epsilon: norm.epsilon };
  switch (through?.wanted) {
    case "scale":
      return apply(layerNormGradScaleRecord, [x, value], kind);
    case "bias":
      return apply(layerNormGradBiasRecord, [value], {});
    default: {
      const given = norm.scale === undefined ? [x, value] : [x, value, norm.scale];
      const hasScale = norm.scale !== undefined;
      return apply(layerNormGradInputRecord, given, { ...kind, hasScale });
    }
  }
}

/** A type whose dims are bound. */
interface StaticType {
  readonly dtype: DType;
  readonly shape: StaticShape;
}

function inferWith<A extends Attrs>(
  record: OpRecord<A>,
  operands: readonly StaticType[],
  attrs: A,
): StaticType {
  const { dtype, shape } = record.infer(operands, attrs);
  return { dtype, shape: staticShape(shape) };
}

function defineNormed(name: string, result: AttentionResult): OpRecord<NormedAttrs> {
  const { plain, through } = MADE_OF[result];
  const needed = through?.wanted === "input" ? undefined : through;
  return defineOp<NormedAttrs>({
    name,
    kind: "attention",
    doc: `${plain.record.name} of operands from before the norms of q and k` +
      (through === undefined
        ? "."
        : `: the cotangent of the ${through.side} norm's ${through.wanted}.`),
    infer: (inputs, attrs) => {
      const operands = operandsOf(inputs, plain.operands, attrs);
      const vectors = [operands.norms.query, operands.norms.key].flatMap(vectorsOf);
      if (inputs.length !== plain.operands + vectors.length) {
        throw new ShapeError(name, `did not expect ${inputs.length} operands`, textsOf(inputs));
      }
      if (
        needed !== undefined &&
        !attrs[`${needed.side}${needed.wanted === "scale" ? "Scale" : "Bias"}`]
      ) {
        throw new ShapeError(
          name,
          `the ${needed.side} norm has no ${needed.wanted}`,
          textsOf(inputs),
        );
      }
      const apply: Apply<OperandType> = (record, given, own) => record.infer(given, own);
      return steps(apply, result, operands, attrs);
    },
    vjp: "decompose",
    flops: (shapes, _output, attrs) => {
      let flops = 0;
      const apply: Apply<StaticType> = (record, given, own) => {
        const type = inferWith(record, given, own);
        flops += record.flops(given.map(({ shape }) => shape), type.shape, own);
        return type;
      };
      const types = shapes.map((shape): StaticType => ({ dtype: "f32", shape }));
      steps(apply, result, operandsOf(types, plain.operands, attrs), attrs);
      return flops;
    },
    reference: (inputs, _output, attrs) => {
      const apply: Apply<ReferenceTensor> = (record, given, own) => {
        const type = inferWith(record, given, own);
        return { ...type, data: record.reference(given, type, own) };
      };
      return steps(apply, result, operandsOf(inputs, plain.operands, attrs), attrs).data;
    },
    decompose: (node) =>
      steps<Node>(makeNode, result, attentionOperands(node), {
        scale: Number(node.attrs["scale"]),
      }),
  });
}

const NORMED: ReadonlyMap<AttentionResult, OpRecord<NormedAttrs>> = new Map(
  ([
    ["out", "normedAttention"],
    ["logSumExp", "normedAttentionLogSumExp"],
    ["query", "normedAttentionGradQuery"],
    ["key", "normedAttentionGradKey"],
    ["value", "normedAttentionGradValue"],
    ["queryScale", "normedAttentionGradQueryScale"],
    ["queryBias", "normedAttentionGradQueryBias"],
    ["keyScale", "normedAttentionGradKeyScale"],
    ["keyBias", "normedAttentionGradKeyBias"],
  ] as const).map(([result, name]) => [result, defineNormed(name, result)]),
);

const RESULTS: ReadonlyMap<string, AttentionResult> = new Map([
  ...[...NORMED].map(([result, { name }]) => [name, result] as const),
  ...(["out", "logSumExp", "query", "key", "value"] as const)
    .map((result) => [MADE_OF[result].plain.record.name, result] as const),
]);

/** Which result of attention or of its gradient the node is; undefined if it is none. */
export function attentionResult(node: Node): AttentionResult | undefined {
  return RESULTS.get(node.op.name);
}

/** The result that the node is, which must be one. */
function resultOf(node: Node): AttentionResult {
  const result = attentionResult(node);
  if (result === undefined) throw new TypeError(`${node} is no result of attention`);
  return result;
}

/** The operands and norms of a result of attention or of its gradient, whether it has norms or not. */
export function attentionOperands(node: Node): AttentionOperands {
  return operandsOf(node.inputs, MADE_OF[resultOf(node)].plain.operands, node.attrs);
}

/** The same result of operands from before the norms; without norms the op without them. */
export function attentionWithNorms(
  node: Node,
  { plain, norms }: AttentionOperands,
): Node {
  const result = resultOf(node);
  const scale = Number(node.attrs["scale"]);
  const record = NORMED.get(result);
  if (record === undefined) throw new TypeError(`${node} cannot have norms`);
  const { query, key } = norms;
  const vectors = [query, key].flatMap(vectorsOf);
  return makeNode(record, [...plain, ...vectors], attrsOf(scale, norms));
}

/** Another result of the gradient that a node with norms is a result of. */
export function otherGradient(node: Node, result: AttentionResult): Node {
  const record = NORMED.get(result);
  if (record === undefined) throw new TypeError(`There is no attention of normalised ${result}`);
  // Both are results of one gradient, whose attributes are the same.
  return makeNode(record, node.inputs, node.attrs as NormedAttrs);
}
