/**
 * A loop kernel as a space of independent items, each a run of the kernel's inner body. The compiler
 * groups rows and columns in blocks, as threads of a CPU want them; a GPU wants every one by itself.
 */
import type { Expr, LoopRange, Statement } from "../../../compiler/loop_ir.ts";
import {
  ExpressionNumbers,
  partsOf,
  rootsOf,
  visitExpressions,
} from "../../../compiler/lower/expressions.ts";
import type { PlainLoopKernel } from "../../../compiler/sizes.ts";
import { constantValue } from "./fold.ts";

/** One axis of the space: a variable, and what is computed once it is known. */
export interface ItemAxis {
  readonly variable: string;
  readonly extent: number;
  /** Where the variable starts; from 0 when absent. */
  readonly start: Expr | undefined;
  /** Where it ends before `start + extent`, if it may. */
  readonly end: Expr | undefined;
  readonly lets: readonly Statement[];
}

/** The items, outermost axis first, and what each of them does. */
export interface ItemSpace {
  readonly axes: readonly ItemAxis[];
  readonly body: readonly Statement[];
  /** Whether neighbouring items are neighbours in memory: the last axis was a vector loop. */
  readonly sideBySide: boolean;
}

type Loop = Statement & { readonly kind: "loop" };

/** How often a range runs at most, where that is known. */
export function tripsOf(
  range: LoopRange,
): { readonly trips: number; readonly exact: boolean } | undefined {
  const [start, end] = [constantValue(range.start), constantValue(range.end)];
  if (start !== undefined && end !== undefined) {
    return { trips: Math.max(0, end - start), exact: true };
  }
  const block = blockOf(range);
  return block && { trips: block.size, exact: block.total === undefined };
}

/** A range of the form `unit * size .. min(unit * size + size, total)`. */
interface Block {
  readonly unit: Expr;
  readonly size: number;
  /** Where the last block ends, when it may be shorter. */
  readonly total: number | undefined;
}

function blockOf({ start, end }: LoopRange): Block | undefined {
  const numbers = new ExpressionNumbers();
  if (start.kind !== "binary" || start.op !== "mul") return undefined;
  const size = constantValue(start.b);
  if (size === undefined) return undefined;
  const isEnd = (expr: Expr) =>
    expr.kind === "binary" && expr.op === "add" &&
    numbers.of(expr.a) === numbers.of(start) &&
    constantValue(expr.b) === size;
  if (isEnd(end)) return { unit: start.a, size, total: undefined };
  if (end.kind !== "binary" || end.op !== "min" || !isEnd(end.a)) return undefined;
  const total = constantValue(end.b);
  return total === undefined ? undefined : { unit: start.a, size, total };
}

/** Whether a loop's iterations may run at once. */
export function isIndependent(loop: Loop, kernel: PlainLoopKernel): boolean {
  if (loop.vectorize) return true;
  let independent = true;
  const written = new Set<number>();
  const loaded = new Set<number>();
  const visit = (body: readonly Statement[]): void => {
    for (const statement of body) {
      visitExpressions(rootsOf(statement), (expr) => {
        if (expr.kind === "load") loaded.add(expr.buffer);
      });
      if (statement.kind === "accumulate") independent = false;
      if (statement.kind === "store") {
        written.add(statement.buffer);
        independent &&= uses([statement.index], loop.range.variable, loop.body);
      }
      if (statement.kind === "loop" || statement.kind === "reduce") visit(statement.body);
    }
  };
  visit(loop.body);
  const shared = [...written].some((buffer) =>
    loaded.has(buffer) && kernel.buffers[buffer]?.access !== "update"
  );
  return independent && !shared;
}

/** Whether an expression depends on the variable, also through the body's `let`s. */
function uses(roots: readonly Expr[], variable: string, body: readonly Statement[]): boolean {
  const lets = new Map<string, Expr>();
  const collect = (statements: readonly Statement[]): void => {
    for (const statement of statements) {
      if (statement.kind === "let") lets.set(statement.name, statement.value);
      if (statement.kind === "loop") {
        collect(statement.body);
        lets.set(statement.range.variable, statement.range.start);
      }
    }
  };
  collect(body);
  const seen = new Set<Expr>();
  const reaches = (expr: Expr): boolean => {
    if (seen.has(expr)) return false;
    seen.add(expr);
    if (expr.kind === "var") {
      if (expr.name === variable) return true;
      const value = lets.get(expr.name);
      return value !== undefined && reaches(value);
    }
    return partsOf(expr).some(reaches);
  };
  return roots.some(reaches);
}

/** Splits the kernel into items as far down as one loop follows another. */
export function itemSpace(kernel: PlainLoopKernel): ItemSpace {
  const { parallel } = kernel;
  const axes: ItemAxis[] = [];
  let { lets, rest } = leadingLets(kernel.body);
  let axis: Omit<ItemAxis, "lets"> = { ...parallel, start: undefined, end: undefined };
  let sideBySide = false;
  for (;;) {
    const [only] = rest;
    if (rest.length !== 1 || only?.kind !== "loop" || !isIndependent(only, kernel)) break;
    const trips = tripsOf(only.range);
    if (trips === undefined) break;
    const whole = axes.length === 0 ? wholeAxis(kernel, lets, only) : undefined;
    if (whole === undefined) {
      axes.push({ ...axis, lets });
      const start = constantValue(only.range.start) === 0 ? undefined : only.range.start;
      const end = trips.exact ? undefined : only.range.end;
      axis = { variable: only.range.variable, extent: trips.trips, start, end };
    } else {
      axis = whole;
    }
    sideBySide = only.vectorize;
    ({ lets, rest } = leadingLets(only.body));
  }
  axes.push({ ...axis, lets });
  return { axes, body: rest, sideBySide };
}

function leadingLets(body: readonly Statement[]) {
  const at = body.findIndex(({ kind }) => kind !== "let");
  const split = at < 0 ? body.length : at;
  return { lets: body.slice(0, split), rest: body.slice(split) };
}

/** The loop's axis alone, when the parallel variable does nothing but number its blocks. */
function wholeAxis(
  { parallel }: PlainLoopKernel,
  lets: readonly Statement[],
  loop: Loop,
): Omit<ItemAxis, "lets"> | undefined {
  const block = blockOf(loop.range);
  if (lets.length > 0 || block?.unit.kind !== "var" || block.unit.name !== parallel.variable) {
    return undefined;
  }
  const extent = block.total ?? parallel.extent * block.size;
  if (Math.ceil(extent / block.size) !== parallel.extent) return undefined;
  if (mentions(loop.body, parallel.variable)) return undefined;
  return { variable: loop.range.variable, extent, start: undefined, end: undefined };
}

function mentions(body: readonly Statement[], variable: string): boolean {
  let found = false;
  const visit = (statements: readonly Statement[]): void => {
    for (const statement of statements) {
      visitExpressions(rootsOf(statement), (expr) => {
        found ||= expr.kind === "var" && expr.name === variable;
      });
      if (statement.kind === "loop" || statement.kind === "reduce") visit(statement.body);
    }
  };
  visit(body);
  return found;
}

/** The loops from this one inwards that can be shared out as one, and what the innermost does. */
export function independentNest(loop: Loop, kernel: PlainLoopKernel) {
  const ranges = [loop.range];
  let body = loop.body;
  for (;;) {
    const [only] = body;
    const exact = ranges.every((range) => tripsOf(range)?.exact === true);
    if (body.length !== 1 || only?.kind !== "loop" || !exact) break;
    if (!isIndependent(only, kernel) || tripsOf(only.range)?.exact !== true) break;
    ranges.push(only.range);
    body = only.body;
  }
  return { ranges, body };
}
