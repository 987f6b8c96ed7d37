/** Folding values: one invocation's loop, and the meeting of the lanes that share a reduction. */
import type { Accumulator, ScalarType } from "../../../compiler/loop_ir.ts";
import type { Subgroups } from "../subgroups.ts";
import type { Code } from "./code.ts";
import type { Library } from "./library.ts";
import { literal } from "./literal.ts";
import type { Names } from "./names.ts";

/** The type in which an accumulator's value is held; a bool counts as a word in shared memory. */
function heldType({ op, type }: Accumulator): ScalarType {
  return op === "argmax" ? "f32" : type;
}

/** The variables of one accumulator in a function. */
export interface Fold {
  readonly accumulator: Accumulator;
  /** The value so far. */
  readonly value: string;
  /** argmax's place so far. */
  readonly place: string | undefined;
}

/** Declares an accumulator's variables with what an empty reduction gives. */
export function declareFold(
  code: Code,
  names: Names,
  library: Library,
  accumulator: Accumulator,
): Fold {
  const { name, op, type } = accumulator;
  if (op === "argmax") {
    const value = names.unique(`${name}_largest`);
    const place = names.unique(name);
    code.add(`var ${value}: f32 = -${library.use("infinity_f32")}();`, `var ${place}: i32 = 0;`);
    return { accumulator, value, place };
  }
  const value = names.unique(name);
  code.add(`var ${value}: ${type} = ${identity(library, op, type)};`);
  return { accumulator, value, place: undefined };
}

function identity(library: Library, op: "sum" | "max" | "min", type: ScalarType): string {
  if (op === "sum") return literal(type, 0);
  if (type === "f32") return `${op === "max" ? "-" : ""}${library.use("infinity_f32")}()`;
  const [least, greatest] = { i32: [-(2 ** 31), 2 ** 31 - 1], u32: [0, 2 ** 32 - 1], bool: [0, 1] }[
    type
  ] ?? [0, 0];
  return literal(type, op === "max" ? least ?? 0 : greatest ?? 0);
}

function combine(library: Library, op: "sum" | "max" | "min", type: ScalarType) {
  return (a: string, b: string): string => {
    if (type === "bool") return `(${a} ${op === "min" ? "&" : "|"} ${b})`;
    if (op === "sum") return `${a} + ${b}`;
    return type === "f32" ? `${library.use(`${op}_f32`)}(${a}, ${b})` : `${op}(${a}, ${b})`;
  };
}

/** Folds a value in; `place` is argmax's flat index. */
export function foldIn(
  code: Code,
  library: Library,
  fold: Fold,
  value: string,
  place: string,
): void {
  const { op, type } = fold.accumulator;
  if (op !== "argmax") {
    code.add(`${fold.value} = ${combine(library, op, type)(fold.value, value)};`);
    return;
  }
  // A strictly larger one wins, and the first NaN over everything.
  const isNan = library.use("is_nan");
  code.block(
    `if (${value} > ${fold.value} || (${isNan}(${value}) && !${isNan}(${fold.value})))`,
    () => code.add(`${fold.value} = ${value};`, `${fold.place} = ${place};`),
  );
}

/** The types of the words that a lane leaves for the others. */
export function sharedTypes(accumulator: Accumulator): ScalarType[] {
  const value = wordType(heldType(accumulator));
  return accumulator.op === "argmax" ? [value, "i32"] : [value];
}

function wordType(type: ScalarType): ScalarType {
  return type === "bool" ? "u32" : type;
}

/** Workgroup arrays in which lanes meet; reductions one after another share them. */
export class SharedArrays {
  readonly #names: Names;
  readonly #lengths: number;
  readonly #arrays = new Map<string, string[]>();

  /** @param length Elements of each. */
  constructor(names: Names, length: number) {
    this.#names = names;
    this.#lengths = length;
  }

  /** The array of this type for the `nth` accumulator of a reduction. */
  of(type: ScalarType, nth: number): string {
    const word = wordType(type);
    const known = this.#arrays.get(word) ?? [];
    this.#arrays.set(word, known);
    while (known.length <= nth) known.push(this.#names.unique(`shared_${word}`));
    return known[nth] ?? "";
  }

  /** Bytes of workgroup memory. */
  get bytes(): number {
    let arrays = 0;
    for (const names of this.#arrays.values()) arrays += names.length;
    return arrays * this.#lengths * 4;
  }

  /** Declarations for the module. */
  declarations(): string[] {
    return [...this.#arrays].flatMap(([type, names]) =>
      names.map((name) => `var<workgroup> ${name}: array<${type}, ${this.#lengths}>;`)
    );
  }
}

/** A workgroup's shape: items, each the work of some lanes. */
export interface LaneGrid {
  /** Items side by side along x, whose lanes are along y; where there is one, its lanes are along x. */
  readonly columns: number;
  readonly lanes: number;
  /** Items one after the other along x, the lanes of each a subgroup; one where there are columns. */
  readonly rows: number;
}

/** Whether subgroups fold this: of sums alone WGSL says enough, and the order is the device's own. */
export function foldsInSubgroups({ op, type }: Accumulator): boolean {
  return op === "sum" && type !== "bool";
}

/**
 * Lets the lanes of one item, which are neighbours along x, meet: first those of each subgroup, then in
 * workgroup memory those of all subgroups, where there may be several.
 */
export function meetInSubgroups(
  code: Code,
  shared: SharedArrays,
  folds: readonly Fold[],
  lanes: number,
  { minSize }: Subgroups,
): void {
  if (folds.length === 0) return;
  for (const { value } of folds) code.add(`${value} = subgroupAdd(${value});`);
  if (lanes <= minSize) return;
  const counts = new Map<string, number>();
  const arrays = folds.map(({ accumulator: { type } }) => {
    const nth = counts.get(type) ?? 0;
    counts.set(type, nth + 1);
    return shared.of(type, nth);
  });
  code.block("if (subgroup_lane == 0u)", () => {
    folds.forEach(({ value }, at) => code.add(`${arrays[at]}[lane / subgroup_size] = ${value};`));
  });
  code.add("workgroupBarrier();");
  folds.forEach(({ value }, at) => code.add(`${value} = ${arrays[at]}[0u];`));
  code.block(`for (var part = 1u; part * subgroup_size < ${lanes}u; part++)`, () => {
    folds.forEach(({ value }, at) => code.add(`${value} += ${arrays[at]}[part];`));
  });
  // The next reduction writes to the same arrays.
  code.add("workgroupBarrier();");
}

/** Lets the lanes of an item meet: afterwards each holds the value folded over all of them. */
export function meetLanes(
  code: Code,
  library: Library,
  shared: SharedArrays,
  folds: readonly Fold[],
  { columns, lanes }: Omit<LaneGrid, "rows">,
): void {
  const at = (lane: string) => columns === 1 ? lane : `(${lane}) * ${columns}u + column`;
  const arrays = new Map<string, number>();
  const nextOf = (type: ScalarType): string => {
    const word = wordType(type);
    const nth = arrays.get(word) ?? 0;
    arrays.set(word, nth + 1);
    return shared.of(type, nth);
  };
  const slots = folds.map((fold) => ({
    fold,
    values: nextOf(heldType(fold.accumulator)),
    places: fold.place === undefined ? undefined : nextOf("i32"),
  }));
  for (const { fold, values, places } of slots) {
    const isBool = heldType(fold.accumulator) === "bool";
    code.add(`${values}[${at("lane")}] = ${isBool ? `u32(${fold.value})` : fold.value};`);
    if (places !== undefined) code.add(`${places}[${at("lane")}] = ${fold.place};`);
  }
  code.add("workgroupBarrier();");
  code.block(`for (var half = ${lanes / 2}u; half > 0u; half >>= 1u)`, () => {
    code.block("if (lane < half)", () => {
      for (const { fold, values, places } of slots) {
        const [mine, other] = [`${values}[${at("lane")}]`, `${values}[${at("lane + half")}]`];
        const { op, type } = fold.accumulator;
        if (op === "argmax" && places !== undefined) {
          meetPlaces(code, library, {
            mine,
            other,
            myPlace: `${places}[${at("lane")}]`,
            otherPlace: `${places}[${at("lane + half")}]`,
          });
        } else if (op !== "argmax") {
          const joined = type === "bool" && op === "sum"
            ? `${mine} | ${other}`
            : combine(library, op, wordType(type))(mine, other);
          code.add(`${mine} = ${joined};`);
        }
      }
    });
    code.add("workgroupBarrier();");
  });
  for (const { fold, values, places } of slots) {
    const value = `${values}[${at("0u")}]`;
    code.add(
      `${fold.value} = ${heldType(fold.accumulator) === "bool" ? `${value} != 0u` : value};`,
    );
    if (places !== undefined) code.add(`${fold.place} = ${places}[${at("0u")}];`);
  }
  // The next reduction writes to the same arrays.
  code.add("workgroupBarrier();");
}

function meetPlaces(
  code: Code,
  library: Library,
  { mine, other, myPlace, otherPlace }: Readonly<
    Record<"mine" | "other" | "myPlace" | "otherPlace", string>
  >,
): void {
  const isNan = library.use("is_nan");
  const tie = `(${other} == ${mine} || (${isNan}(${other}) && ${isNan}(${mine})))`;
  const wins = `(!${isNan}(${mine}) && (${isNan}(${other}) || ${other} > ${mine}))`;
  code.block(
    `if (${wins} || (${tie} && ${otherPlace} < ${myPlace}))`,
    () => code.add(`${mine} = ${other};`, `${myPlace} = ${otherPlace};`),
  );
}
