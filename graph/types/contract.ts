/** Shape rules of `matmul` and of `contract`, whose spec is taken apart here. */
import type { Dim, Shape } from "../shape.ts";
import type { Broadcast } from "./broadcast.ts";
import type { Unify, WideRank } from "./dims.ts";
import type { DimText, ShapeMismatch, ShapeOf, ShapeText } from "./mismatch.ts";

/** The shape of `[..., m, k] x [..., k, n]`: the dims in front broadcast, the last two are a matrix. */
export type MatMul<A extends Shape, B extends Shape, Op extends string = "matmul"> = A extends
  readonly [...infer LeadA extends Shape, infer M, infer K]
  ? B extends readonly [...infer LeadB extends Shape, infer L, infer N]
    ? Unify<K, L> extends undefined ? ShapeMismatch<
        `${Op}: inner dims ${DimText<K>} and ${DimText<L>} differ, in ${ShapeText<
          A
        >} and ${ShapeText<
          B
        >}`
      >
    : Broadcast<LeadA, LeadB, Op> extends infer Lead
      ? Lead extends ShapeMismatch ? Lead : [...ShapeOf<Lead>, M, N]
    : never
  : WideRank<B> extends true ? [...Dim[], M, Dim]
  : RankMismatch<B, Op>
  : WideRank<A> extends true ? B extends readonly [...Shape, unknown, infer N] ? [...Dim[], Dim, N]
    : WideRank<B> extends true ? Dim[]
    : RankMismatch<B, Op>
  : RankMismatch<A, Op>;

type RankMismatch<S, Op extends string> = ShapeMismatch<
  `${Op}: wanted at least 2 dims, got ${ShapeText<S>}`
>;

/**
 * The shape of a contraction such as `"b n d, d e -> b n e"`: names stand for the operands' axes;
 * those that both have and the result keeps are batch, those that one has are free, and those that
 * the result leaves out are summed over.
 */
export type Contract<
  Spec extends string,
  A extends Shape,
  B extends Shape,
  Op extends string = "contract",
> = string extends Spec ? Dim[]
  : ParsedSpec<Spec> extends infer Parsed
    ? Parsed extends ContractionNames<infer Left, infer Right, infer Out>
      ? RankProblem<Left, A> | RankProblem<Right, B> extends infer Problem
        ? [Problem] extends [never]
          ? BoundContraction<Spec, Out, Bindings<Left, A>, Bindings<Right, B>, Op>
        : ShapeMismatch<`${Op} "${Spec}": ${Problem & string}`>
      : never
    : ShapeMismatch<`${Op} "${Spec}": ${Parsed & string}`>
  : never;

/** The spec itself, or what is wrong with it whatever the operands are. */
export type ContractSpec<Spec extends string, Op extends string = "contract"> = string extends Spec
  ? Spec
  : ParsedSpec<Spec> extends infer Problem extends string
    ? ShapeMismatch<`${Op} "${Spec}": ${Problem}`>
  : Spec;

type Names = readonly string[];

/** A spec that has been taken apart. */
interface ContractionNames<Left extends Names, Right extends Names, Out extends Names> {
  readonly left: Left;
  readonly right: Right;
  readonly out: Out;
}

/** The names in the spec, or text that says what is wrong with it. */
type ParsedSpec<Spec extends string> = Spaced<Spec> extends
  `${infer Left},${infer Right}->${infer Out}`
  ? `${Right}${Out}` extends `${string}${"," | ">"}${string}` ? SpecForm
  : CheckedNames<Words<Left>, Words<Right>, Words<Out>>
  : SpecForm;

type SpecForm = 'wanted two operands and a result, as "b n d, d e -> b n e"';

type CheckedNames<Left extends Names, Right extends Names, Out extends Names> =
  | RepeatText<Left, "the first operand">
  | RepeatText<Right, "the second operand">
  | RepeatText<Out, "the result">
  | UnboundText<Exclude<Out[number], Left[number] | Right[number]>> extends infer Problem
  ? [Problem] extends [never] ? ContractionNames<Left, Right, Out> : Problem
  : never;

type RepeatText<List extends Names, Place extends string, Seen = never> = List extends
  readonly [infer Head extends string, ...infer Rest extends Names]
  ? Head extends Seen ? `${Head} stands twice in ${Place}` : RepeatText<Rest, Place, Seen | Head>
  : never;

type UnboundText<Name extends string> = Name extends string
  ? `${Name} of the result is in neither operand`
  : never;

/** The text with blanks for tabs and ends of lines. */
type Spaced<Text extends string> = Text extends `${infer Head}\n${infer Rest}`
  ? Spaced<`${Head} ${Rest}`>
  : Text extends `${infer Head}\t${infer Rest}` ? Spaced<`${Head} ${Rest}`>
  : Text extends `${infer Head}\r${infer Rest}` ? Spaced<`${Head} ${Rest}`>
  : Text;

type Words<Text extends string, Done extends Names = []> = Text extends
  `${infer Head} ${infer Rest}` ? Words<Rest, Head extends "" ? Done : [...Done, Head]>
  : Text extends "" ? Done
  : [...Done, Text];

type RankProblem<List extends Names, S extends Shape> = WideRank<S> extends true ? never
  : S["length"] extends List["length"] ? never
  : `${ShapeText<S>} has ${S["length"]} dims for the ${List["length"]} names "${Joined<List>}"`;

type Joined<List extends Names, Text extends string = ""> = List extends
  readonly [infer Head extends string, ...infer Rest extends Names]
  ? Joined<Rest, Text extends "" ? Head : `${Text} ${Head}`>
  : Text;

/** Each name's dim in one operand. */
type Bindings<List extends Names, S extends Shape> = {
  readonly [
    I in Extract<keyof List, `${number}`> as List[I] & string
  ]: WideRank<S> extends true ? Dim : S[I & keyof S];
};

type BoundContraction<Spec extends string, Out extends Names, Left, Right, Op extends string> =
  ClashText<Left, Right, keyof Left & keyof Right> extends infer Problem
    ? [Problem] extends [never] ? { -readonly [I in keyof Out]: Bound<Out[I], Left, Right> }
    : ShapeMismatch<`${Op} "${Spec}": ${Problem & string}`>
    : never;

type ClashText<Left, Right, Shared extends keyof Left & keyof Right> = {
  [Name in Shared]: Unify<Left[Name], Right[Name]> extends undefined
    ? `${Name & string} is ${DimText<Left[Name]>} in the first operand and ${DimText<
      Right[Name]
    >} in the second`
    : never;
}[Shared];

type Bound<Name, Left, Right> = Name extends keyof Left
  ? Name extends keyof Right ? Unify<Left[Name], Right[Name]> extends [infer D] ? D : never
  : Left[Name]
  : Name extends keyof Right ? Right[Name]
  : never;
