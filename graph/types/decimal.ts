/**
 * Exact arithmetic on number literals at type level, by schoolbook rules on digit strings.
 *
 * Inside, numbers stand with their lowest digit first ("little end"), so that a carry moves the way a
 * template literal is taken apart. Every loop is a tail call, a step a digit. The arguments are whole
 * numbers >= 0; where one is `number`, or anything else, the result is `number`.
 */

type Digit = "0" | "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9";

/** Units of `a + b`. */
type Sum = [
  ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
  ["1", "2", "3", "4", "5", "6", "7", "8", "9", "0"],
  ["2", "3", "4", "5", "6", "7", "8", "9", "0", "1"],
  ["3", "4", "5", "6", "7", "8", "9", "0", "1", "2"],
  ["4", "5", "6", "7", "8", "9", "0", "1", "2", "3"],
  ["5", "6", "7", "8", "9", "0", "1", "2", "3", "4"],
  ["6", "7", "8", "9", "0", "1", "2", "3", "4", "5"],
  ["7", "8", "9", "0", "1", "2", "3", "4", "5", "6"],
  ["8", "9", "0", "1", "2", "3", "4", "5", "6", "7"],
  ["9", "0", "1", "2", "3", "4", "5", "6", "7", "8"],
];

/** Tens of `a + b`. */
type SumCarry = [
  ["0", "0", "0", "0", "0", "0", "0", "0", "0", "0"],
  ["0", "0", "0", "0", "0", "0", "0", "0", "0", "1"],
  ["0", "0", "0", "0", "0", "0", "0", "0", "1", "1"],
  ["0", "0", "0", "0", "0", "0", "0", "1", "1", "1"],
  ["0", "0", "0", "0", "0", "0", "1", "1", "1", "1"],
  ["0", "0", "0", "0", "0", "1", "1", "1", "1", "1"],
  ["0", "0", "0", "0", "1", "1", "1", "1", "1", "1"],
  ["0", "0", "0", "1", "1", "1", "1", "1", "1", "1"],
  ["0", "0", "1", "1", "1", "1", "1", "1", "1", "1"],
  ["0", "1", "1", "1", "1", "1", "1", "1", "1", "1"],
];

/** Units of `a * b`. */
type Times = [
  ["0", "0", "0", "0", "0", "0", "0", "0", "0", "0"],
  ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
  ["0", "2", "4", "6", "8", "0", "2", "4", "6", "8"],
  ["0", "3", "6", "9", "2", "5", "8", "1", "4", "7"],
  ["0", "4", "8", "2", "6", "0", "4", "8", "2", "6"],
  ["0", "5", "0", "5", "0", "5", "0", "5", "0", "5"],
  ["0", "6", "2", "8", "4", "0", "6", "2", "8", "4"],
  ["0", "7", "4", "1", "8", "5", "2", "9", "6", "3"],
  ["0", "8", "6", "4", "2", "0", "8", "6", "4", "2"],
  ["0", "9", "8", "7", "6", "5", "4", "3", "2", "1"],
];

/** Tens of `a * b`. */
type TimesCarry = [
  ["0", "0", "0", "0", "0", "0", "0", "0", "0", "0"],
  ["0", "0", "0", "0", "0", "0", "0", "0", "0", "0"],
  ["0", "0", "0", "0", "0", "1", "1", "1", "1", "1"],
  ["0", "0", "0", "0", "1", "1", "1", "2", "2", "2"],
  ["0", "0", "0", "1", "1", "2", "2", "2", "3", "3"],
  ["0", "0", "1", "1", "2", "2", "3", "3", "4", "4"],
  ["0", "0", "1", "1", "2", "3", "3", "4", "4", "5"],
  ["0", "0", "1", "2", "2", "3", "4", "4", "5", "6"],
  ["0", "0", "1", "2", "3", "4", "4", "5", "6", "7"],
  ["0", "0", "1", "2", "3", "4", "5", "6", "7", "8"],
];

/** `9 - a`. */
type Nines = ["9", "8", "7", "6", "5", "4", "3", "2", "1", "0"];

/** The text back to front. */
export type Reverse<Text extends string, Done extends string = ""> = Text extends
  `${infer Head}${infer Rest}` ? Reverse<Rest, `${Head}${Done}`> : Done;

/** `A + B + Carry`, all little end first. An empty text is zero. */
type AddDigits<
  A extends string,
  B extends string,
  Carry extends Digit = "0",
  Done extends string = "",
> = A extends `${infer X extends Digit}${infer RestA}`
  ? B extends `${infer Y extends Digit}${infer RestB}` ? AddDigits<
      RestA,
      RestB,
      Sum[SumCarry[X][Y]][SumCarry[Sum[X][Y]][Carry]],
      `${Done}${Sum[Sum[X][Y]][Carry]}`
    >
  : Carry extends "0" ? `${Done}${A}`
  : AddDigits<A, Carry, "0", Done>
  : Carry extends "0" ? `${Done}${B}`
  : B extends "" ? `${Done}${Carry}`
  : AddDigits<Carry, B, "0", Done>;

/** `A * B + Carry` for a single digit `B`; little end first. */
type TimesDigit<
  A extends string,
  B extends Digit,
  Carry extends Digit = "0",
  Done extends string = "",
> = A extends `${infer X extends Digit}${infer Rest}` ? TimesDigit<
    Rest,
    B,
    Sum[TimesCarry[X][B]][SumCarry[Times[X][B]][Carry]],
    `${Done}${Sum[Times[X][B]][Carry]}`
  >
  : Carry extends "0" ? Done
  : `${Done}${Carry}`;

/**
 * `A * B + 10^n * Done` by Horner's rule over the `n` digits of `B`: `A` and the result little end
 * first, `B` as written.
 */
type TimesDigits<A extends string, B extends string, Done extends string = ""> = B extends
  `${infer Y extends Digit}${infer Rest}` ? TimesDigits<
    A,
    Rest,
    Y extends "0" ? `0${Done}` : AddDigits<`0${Done}`, Y extends "1" ? A : TimesDigit<A, Y>>
  >
  : Done;

/** `A * B`; `A` and the result little end first, `B` as written. */
export type MultiplyText<A extends string, B extends string> = A extends "0" ? "0"
  : B extends "0" ? "0"
  : A extends "1" ? Reverse<B>
  : B extends "1" ? A
  : TimesDigits<A, B>;

/** The text without zeros in front, as written; `0` for zero. */
type TrimZeros<Text extends string> = Text extends `0${infer Rest}`
  ? Rest extends "" ? "0" : TrimZeros<Rest>
  : Text;

/**
 * `A - B` as written, or undefined below zero. `A` and `B` little end first. It adds the nine's
 * complement of `B` and one: without a carry out of the last digit, the difference is negative.
 */
type SubtractDigits<
  A extends string,
  B extends string,
  Carry extends Digit = "1",
  Done extends string = "",
> = A extends `${infer X extends Digit}${infer RestA}`
  ? B extends `${infer Y extends Digit}${infer RestB}` ? SubtractDigits<
      RestA,
      RestB,
      Sum[SumCarry[X][Nines[Y]]][SumCarry[Sum[X][Nines[Y]]][Carry]],
      `${Sum[Sum[X][Nines[Y]]][Carry]}${Done}`
    >
  : SubtractDigits<
    RestA,
    "",
    Sum[SumCarry[X]["9"]][SumCarry[Sum[X]["9"]][Carry]],
    `${Sum[Sum[X]["9"]][Carry]}${Done}`
  >
  : B extends "" ? Carry extends "1" ? TrimZeros<Done> : undefined
  : undefined;

/**
 * `[quotient, remainder]` as written, by long division: while the divisor can be taken from the
 * remainder, count; then bring down the next digit. The divisor is little end first and not zero.
 */
type DivideDigits<
  Digits extends string,
  Divisor extends string,
  Remainder extends string = "0",
  Quotient extends string = "",
  Count extends Digit = "0",
> = SubtractDigits<Reverse<Remainder>, Divisor> extends infer Less extends string
  ? DivideDigits<Digits, Divisor, Less, Quotient, Sum[Count]["1"]>
  : Digits extends `${infer Head}${infer Rest}` ? DivideDigits<
      Rest,
      Divisor,
      Remainder extends "0" ? Head : `${Remainder}${Head}`,
      `${Quotient}${Count}`
    >
  : [TrimZeros<`${Quotient}${Count}`>, Remainder];

/** `A / B` as written where that is exact, else undefined. Both as written. */
export type DivideText<A extends string, B extends string> = B extends "0" ? undefined
  : B extends "1" ? A
  : DivideDigits<A, Reverse<B>> extends [infer Quotient extends string, "0"] ? Quotient
  : undefined;

/** The number a text stands for. */
export type ToNumber<Text> = Text extends `${infer N extends number}` ? N : number;

/** How a whole number >= 0 is written; undefined for `number` and every other number. */
export type WholeText<N> = N extends number
  ? `${N}` extends `-${string}` ? undefined : `${N}` extends `${bigint}` ? `${N}` : undefined
  : undefined;

type Pair<A, B> = [WholeText<A>, WholeText<B>];

/** `A + B`. */
export type Add<A extends number, B extends number> = Pair<A, B> extends
  [infer X extends string, infer Y extends string]
  ? X extends "0" ? B : Y extends "0" ? A : ToNumber<Reverse<AddDigits<Reverse<X>, Reverse<Y>>>>
  : number;

/** `A - B`. */
export type Subtract<A extends number, B extends number> = Pair<A, B> extends
  [infer X extends string, infer Y extends string] ? Y extends "0" ? A
  : SubtractDigits<Reverse<X>, Reverse<Y>> extends infer Less extends string ? ToNumber<Less>
  : SubtractDigits<Reverse<Y>, Reverse<X>> extends infer More extends string ? ToNumber<`-${More}`>
  : number
  : number;

/** `A * B`. */
export type Multiply<A extends number, B extends number> = Pair<A, B> extends
  [infer X extends string, infer Y extends string] ? ToNumber<Reverse<MultiplyText<Reverse<X>, Y>>>
  : number;

/** `A / B` where that is exact; undefined where there is a remainder or `B` is zero. */
export type Divide<A extends number, B extends number> = Pair<A, B> extends
  [infer X extends string, infer Y extends string]
  ? DivideText<X, Y> extends infer Quotient extends string ? ToNumber<Quotient> : undefined
  : number;

/** How many of `0, Step, 2 * Step, ...` are below `Length`: `Length / Step`, rounded up. */
export type StepsIn<Length extends number, Step extends number> = Step extends 1 ? Length
  : Length extends 0 ? 0
  : Pair<Subtract<Length, 1>, Step> extends [infer X extends string, infer Y extends string]
    ? Y extends "0" ? number
    : DivideDigits<X, Reverse<Y>> extends [infer Quotient, string] ? Add<ToNumber<Quotient>, 1>
    : number
  : number;

/** Which of the two is greater; undefined where one is not known. */
export type Compare<A extends number, B extends number> = Pair<A, B> extends
  [infer X extends string, infer Y extends string] ? X extends Y ? "equal"
  : SubtractDigits<Reverse<X>, Reverse<Y>> extends string ? "greater"
  : "less"
  : undefined;
