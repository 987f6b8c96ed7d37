/** Memory through which an item's lanes hand values to each other: they wait there. */
import type { Expr, Statement } from "../../../compiler/loop_ir.ts";
import {
  ExpressionNumbers,
  rootsOf,
  visitExpressions,
} from "../../../compiler/lower/expressions.ts";
import type { BufferPlace } from "./buffers.ts";
import { type KeptPass, rootsOfElement } from "./kept_rows.ts";

/** Where a buffer lies: what lies in the same memory has the same region. */
type PlaceOf = (buffer: number) => BufferPlace | undefined;

/** Buffers that lanes write to where other lanes read, `passes` being those that are written out. */
export function exchangedBuffers(
  body: readonly Statement[],
  passes: ReadonlyMap<Statement, KeptPass>,
  placeOf: PlaceOf,
): Set<number> {
  const written = new Set<number>();
  const read = new Set<number>();
  const regionOf = (buffer: number) => placeOf(buffer)?.region ?? -1;
  const visit = (statements: readonly Statement[]): void => {
    for (const statement of statements) {
      visitExpressions(rootsOf(statement), (expr) => {
        if (expr.kind === "load") read.add(regionOf(expr.buffer));
      });
      if (statement.kind === "accumulate") read.add(regionOf(statement.buffer));
      if (statement.kind === "accumulate" || statement.kind === "store") {
        written.add(statement.buffer);
      }
      if (statement.kind === "loop" || statement.kind === "reduce") visit(statement.body);
    }
  };
  visit(body);
  return new Set([...written].filter((buffer) => {
    const region = regionOf(buffer);
    return read.has(region) && !staysInLanes(region, body, passes, placeOf);
  }));
}

/**
 * Whether lanes come to a region only in passes that are written out, each only to the elements that it
 * stores itself: they need not wait for each other.
 */
function staysInLanes(
  region: number,
  body: readonly Statement[],
  passes: ReadonlyMap<Statement, KeptPass>,
  placeOf: PlaceOf,
): boolean {
  const numbers = new ExpressionNumbers();
  /** By an element's variable, where a lane finds it. */
  const places = new Map<string, string>();
  const isOwn = (variable: string, buffer: number, index: Expr): boolean => {
    const place = placeOf(buffer);
    if (place?.region !== region) return true;
    const here = `${place.offset} ${numbers.of(index)}`;
    const known = places.get(variable) ?? here;
    places.set(variable, known);
    return known === here;
  };
  return body.every((statement) => {
    const pass = passes.get(statement);
    if (pass === undefined) return !touches([statement], region, placeOf);
    return pass.elements.every((element) => {
      const { variable, stores } = element;
      let own = stores.every(({ buffer, index }) => isOwn(variable, buffer, index));
      visitExpressions(rootsOfElement(element), (expr) => {
        if (expr.kind === "load") own &&= isOwn(variable, expr.buffer, expr.index);
      });
      return own;
    });
  });
}

function touches(body: readonly Statement[], region: number, placeOf: PlaceOf): boolean {
  const isHere = (buffer: number) => placeOf(buffer)?.region === region;
  return body.some((statement) => {
    let found = (statement.kind === "store" || statement.kind === "accumulate") &&
      isHere(statement.buffer);
    visitExpressions(rootsOf(statement), (expr) => {
      found ||= expr.kind === "load" && isHere(expr.buffer);
    });
    const isNest = statement.kind === "loop" || statement.kind === "reduce";
    return found || (isNest && touches(statement.body, region, placeOf));
  });
}

/** Whether statements write to one of these buffers. */
export function writesAny(body: readonly Statement[], buffers: ReadonlySet<number>): boolean {
  return body.some((statement) => {
    if (statement.kind === "store" || statement.kind === "accumulate") {
      return buffers.has(statement.buffer);
    }
    return (statement.kind === "loop" || statement.kind === "reduce") &&
      writesAny(statement.body, buffers);
  });
}
