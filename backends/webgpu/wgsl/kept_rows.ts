/**
 * Rows that several passes read: where a lane has few elements of one, the passes over it are written out,
 * element by element, so that what a pass has loaded or computed stays in registers for those after it.
 */
import type { Accumulator, Expr, Statement } from "../../../compiler/loop_ir.ts";
import { sharedRewrite, withParts } from "../../../compiler/lower/expressions.ts";
import { constantValue } from "./fold.ts";
import { tripsOf } from "./item_space.ts";

/** Elements that a lane keeps, at most. */
const MOST_KEPT = 8;

type Store = Statement & { readonly kind: "store" };

/** One element of a row, as a lane comes to it. */
export interface KeptElement {
  /** The variable of loop IR that stands for its place: the same in all passes. */
  readonly variable: string;
  /** Lanes' distance from the row's start. */
  readonly offset: number;
  /** Whether some lanes have none. */
  readonly partial: boolean;
  /** What a reduction folds in, in the order of its accumulators. */
  readonly values: readonly Expr[];
  /** What a loop stores. */
  readonly stores: readonly Store[];
}

/** A pass over a row: a reduction, or a loop of stores. */
export interface KeptPass {
  readonly start: number;
  readonly end: number;
  readonly elements: readonly KeptElement[];
}

/** The passes that are to be written out, when there are several over the same places. */
export function keptPasses(
  body: readonly Statement[],
  lanes: number,
): ReadonlyMap<Statement, KeptPass> {
  const found = new Map<Statement, KeptPass>();
  const counts = new Map<string, number>();
  for (const statement of body) {
    const pass = passOf(statement, lanes);
    if (pass === undefined) continue;
    found.set(statement, pass);
    counts.set(placesOf(pass), (counts.get(placesOf(pass)) ?? 0) + 1);
  }
  return new Map([...found].filter(([, pass]) => (counts.get(placesOf(pass)) ?? 0) > 1));
}

/** The expressions of all elements of all passes. */
export function keptRoots(passes: Iterable<KeptPass>): Expr[] {
  return [...passes].flatMap(({ elements }) => elements.flatMap(rootsOfElement));
}

/** The expressions of one. */
export function rootsOfElement({ values, stores }: KeptElement): Expr[] {
  return [...values, ...stores.flatMap(({ index, value }) => [index, value])];
}

function placesOf({ start, end }: KeptPass): string {
  return `${start} ${end}`;
}

interface Pass {
  readonly variable: string;
  readonly body: readonly Statement[];
  readonly accumulators: readonly Accumulator[];
  readonly start: number;
  readonly trips: number;
}

function passOf(statement: Statement, lanes: number): KeptPass | undefined {
  const pass = plainPass(statement);
  if (pass === undefined || pass.trips > MOST_KEPT * lanes) return undefined;
  const { start, trips } = pass;
  const elements: KeptElement[] = [];
  for (let offset = 0; offset < trips; offset += lanes) {
    elements.push(elementOf(pass, offset, offset + lanes > trips));
  }
  return { start, end: start + trips, elements };
}

function plainPass(statement: Statement): Pass | undefined {
  if (statement.kind !== "loop" && statement.kind !== "reduce") return undefined;
  const [range, ...others] = statement.kind === "loop" ? [statement.range] : statement.ranges;
  const start = range && constantValue(range.start);
  const trips = range && tripsOf(range);
  if (range === undefined || others.length > 0 || start === undefined || !trips?.exact) {
    return undefined;
  }
  const { body } = statement;
  const isLoop = statement.kind === "loop";
  if (isLoop && !statement.vectorize) return undefined;
  if (!body.every(({ kind }) => kind === "let" || (isLoop && kind === "store"))) return undefined;
  // A second store would come before what its `let`s load, once they are put in place.
  if (body.filter(({ kind }) => kind === "store").length > 1) return undefined;
  const accumulators = isLoop ? [] : statement.accumulators;
  return { variable: range.variable, body, accumulators, start, trips: trips.trips };
}

/** The pass for one element: its variable has a name of its own, and `let`s are put in place. */
function elementOf(
  { variable, body, accumulators, start }: Pass,
  offset: number,
  partial: boolean,
) {
  const own = `column ${start + offset}`;
  const lets = new Map<string, Expr>([[variable, { kind: "var", type: "i32", name: own }]]);
  const place = sharedRewrite((expr, recur) =>
    expr.kind === "var" ? lets.get(expr.name) ?? expr : withParts(expr, recur)
  );
  const stores: Store[] = [];
  for (const statement of body) {
    if (statement.kind === "let") lets.set(statement.name, place(statement.value));
    if (statement.kind !== "store") continue;
    const [index, value] = [place(statement.index), place(statement.value)];
    stores.push({ ...statement, index, value });
  }
  const values = accumulators.map(({ value }) => place(value));
  return { variable: own, offset, partial, values, stores };
}
