/**
 * Sums into places that are read from memory, cut by the places: each half goes over all that is added,
 * and adds zeros in the place of what is the other's.
 */
import { integerConstant } from "../../../compiler/index_expr.ts";
import type { Expr, Statement } from "../../../compiler/loop_ir.ts";
import { visitExpressions } from "../../../compiler/lower/expressions.ts";
import { integerBinary, variable } from "../../../compiler/lower/ranges.ts";
import { middleOf, replaceVariable } from "./halves.ts";
import { Intervals } from "./intervals.ts";

type Let = Statement & { readonly kind: "let" };
type Loop = Statement & { readonly kind: "loop" };

/** The halves of a loop. */
export interface LoopHalves {
  readonly name: string;
  readonly loops: readonly [Loop, Loop];
}

/**
 * A loop that finds a place and adds something there, cut by the places; undefined where it is none, or
 * there is but one place.
 */
export function halvesByPlace(loop: Loop): LoopHalves | undefined {
  const at = loop.body.findIndex(({ kind }) => kind !== "let");
  const lets = loop.body.slice(0, at).filter((statement) => statement.kind === "let");
  const effects = loop.body.slice(at);
  const places = placesAddedTo(effects);
  const place = lets.findLast(({ name }) => places?.every((index) => uses(index, name)));
  if (place === undefined || places === undefined || places.length === 0) return undefined;
  const [low, high] = rangeOf(lets, place.name);
  if (!(Number.isFinite(high - low) && high > low)) return undefined;
  const middle = low + middleOf(high - low + 1);
  const half = (isFirst: boolean): Loop => {
    const own = `${place.name}_${isFirst ? "low" : "high"}`;
    const nearest = isFirst ? integerConstant(middle - 1) : integerConstant(middle);
    const value = integerBinary(isFirst ? "min" : "max", variable(place.name), nearest);
    const isOwn: Expr = {
      kind: "binary",
      op: "equal",
      type: "bool",
      a: variable(own),
      b: variable(place.name),
    };
    const moved = replaceVariable(effects, place.name, () => variable(own));
    return { ...loop, body: [...lets, { kind: "let", name: own, value }, ...orZero(moved, isOwn)] };
  };
  return { name: `${place.name} to ${middle}`, loops: [half(true), half(false)] };
}

/** Whether nothing comes of a loop but sums in memory, to which it may add in two turns. */
export function onlyAdds({ body }: Loop): boolean {
  return placesAddedTo(body.filter(({ kind }) => kind !== "let")) !== undefined;
}

/** The places that statements add to; undefined where they do anything else. */
function placesAddedTo(statements: readonly Statement[]): Expr[] | undefined {
  const found: Expr[] = [];
  for (const statement of statements) {
    if (statement.kind === "accumulate") {
      found.push(statement.index);
    } else {
      const inside = statement.kind === "loop" ? placesAddedTo(statement.body) : undefined;
      if (inside === undefined) return undefined;
      found.push(...inside);
    }
  }
  return found;
}

function uses(expr: Expr, name: string): boolean {
  let found = false;
  visitExpressions([expr], (part) => found ||= part.kind === "var" && part.name === name);
  return found;
}

function rangeOf(lets: readonly Let[], name: string): readonly [number, number] {
  const intervals = new Intervals();
  for (const { name, value } of lets) intervals.define(name, value);
  return intervals.of(variable(name));
}

/** The statements, adding zero where a condition does not hold. */
function orZero(statements: readonly Statement[], condition: Expr): Statement[] {
  return statements.map((statement): Statement => {
    if (statement.kind === "loop") {
      return { ...statement, body: orZero(statement.body, condition) };
    }
    if (statement.kind !== "accumulate") return statement;
    const { type } = statement.value;
    const zero: Expr = { kind: "const", type, value: 0 };
    const value: Expr = { kind: "select", type, condition, a: statement.value, b: zero };
    return { ...statement, value };
  });
}
