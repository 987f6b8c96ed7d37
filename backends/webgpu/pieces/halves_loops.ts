/**
 * Kernels of loops cut in two: by their items, by the length of a reduction, by places that are read from
 * memory, or between statements.
 */
import { integerConstant } from "../../../compiler/index_expr.ts";
import type { Accumulator, Expr, LoopRange, Statement } from "../../../compiler/loop_ir.ts";
import { rootsOf, visitExpressions } from "../../../compiler/lower/expressions.ts";
import { integerBinary, variable } from "../../../compiler/lower/ranges.ts";
import type { PlainLoopKernel } from "../../../compiler/sizes.ts";
import { constantValue } from "../wgsl/fold.ts";
import { isIndependent, tripsOf } from "../wgsl/item_space.ts";
import {
  type Halves,
  type HandedBuffer,
  middleOf,
  movedBy,
  replaceVariable,
  withHanded,
} from "./halves.ts";
import { halvesByPlace, onlyAdds } from "./halves_places.ts";

type Reduce = Statement & { readonly kind: "reduce" };

/**
 * All ways to cut the kernel.
 *
 * @param own How many of its buffers are the program's, which may share memory.
 */
export function halvesOfLoops(whole: PlainLoopKernel, own: number): Halves[] {
  const kernel = { ...whole, body: withKnownLets(whole.body) };
  const items = itemsOf(kernel);
  return [
    ...halvesByUnits(kernel),
    ...items.loops.flatMap((_, depth) => halvesByLoop(kernel, items, depth)),
    ...halvesOfReduction(kernel, items),
    ...halvesOfPlaces(kernel, items),
    ...halvesBetween(kernel, items, own),
  ];
}

/** The statements with numbers for what a `let` gives but one: loops by blocks then have known bounds. */
function withKnownLets(statements: readonly Statement[]): Statement[] {
  const [first, ...rest] = statements;
  if (first === undefined) return [];
  if (first.kind === "let") {
    const value = first.value.type === "i32" ? constantValue(first.value) : undefined;
    return value === undefined
      ? [first, ...withKnownLets(rest)]
      : withKnownLets(replaceVariable(rest, first.name, () => integerConstant(value)));
  }
  const inner = first.kind === "loop" ? { ...first, body: withKnownLets(first.body) } : first;
  return [inner, ...withKnownLets(rest)];
}

/** The loops that a kernel's items are numbered by, and what an item does. */
interface Items {
  readonly loops: readonly ItemLoop[];
  /** Number of an item, and how many there are at most. */
  readonly index: Expr;
  readonly count: number;
  readonly lets: readonly Statement[];
  /** What follows the `let`s. */
  readonly rest: readonly Statement[];
}

interface ItemLoop {
  readonly lets: readonly Statement[];
  readonly loop: Statement & { readonly kind: "loop" };
}

function itemsOf(kernel: PlainLoopKernel): Items {
  const { parallel } = kernel;
  const loops: ItemLoop[] = [];
  let [lets, rest] = leadingLets(kernel.body);
  let index = variable(parallel.variable);
  let count = parallel.extent;
  for (;;) {
    const [loop] = rest;
    if (rest.length !== 1 || loop?.kind !== "loop" || !isIndependent(loop, kernel)) break;
    const trips = tripsOf(loop.range)?.trips;
    if (trips === undefined) break;
    loops.push({ lets, loop });
    const place = integerBinary("sub", variable(loop.range.variable), loop.range.start);
    index = integerBinary("add", integerBinary("mul", index, integerConstant(trips)), place);
    count *= trips;
    [lets, rest] = leadingLets(loop.body);
  }
  return { loops, index, count, lets, rest };
}

function leadingLets(body: readonly Statement[]): [Statement[], Statement[]] {
  const at = body.findIndex(({ kind }) => kind !== "let");
  const split = at < 0 ? body.length : at;
  return [body.slice(0, split), body.slice(split)];
}

/** The kernel with another body for its items, or with another loop at some depth. */
function rebuilt(
  kernel: PlainLoopKernel,
  { loops }: Items,
  innermost: readonly Statement[],
): PlainLoopKernel {
  const body = loops.reduceRight<readonly Statement[]>(
    (inner, { lets, loop }) => [...lets, { ...loop, body: inner }],
    innermost,
  );
  return { ...kernel, body };
}

function halvesByUnits(kernel: PlainLoopKernel): Halves[] {
  const { parallel, body } = kernel;
  if (parallel.extent < 2) return [];
  const middle = middleOf(parallel.extent);
  const piece = (start: number, extent: number): PlainLoopKernel => ({
    ...kernel,
    parallel: { ...parallel, extent },
    body: replaceVariable(body, parallel.variable, movedBy(start, extent)),
  });
  return [{
    name: `${parallel.variable} to ${middle}`,
    kernels: [piece(0, middle), piece(middle, parallel.extent - middle)],
    handed: [],
  }];
}

function halvesByLoop(kernel: PlainLoopKernel, items: Items, depth: number): Halves[] {
  const range = items.loops[depth]?.loop.range;
  const halves = range && halvesOfRange(range);
  if (halves === undefined) return [];
  const piece = (half: LoopRange) => {
    const loops = items.loops.map((one, at) =>
      at === depth ? { ...one, loop: { ...one.loop, range: half } } : one
    );
    return rebuilt(kernel, { ...items, loops }, [...items.lets, ...items.rest]);
  };
  const [first, second] = halves.ranges;
  return [{ name: halves.name, kernels: [piece(first), piece(second)], handed: [] }];
}

function halvesOfRange(range: LoopRange) {
  const [start, end] = [constantValue(range.start), constantValue(range.end)];
  if (start === undefined || end === undefined || end - start < 2) return undefined;
  const middle = start + middleOf(end - start);
  const ranges: readonly [LoopRange, LoopRange] = [
    { ...range, end: integerConstant(middle) },
    { ...range, start: integerConstant(middle) },
  ];
  return { name: `${range.variable} to ${middle}`, ranges };
}

/** An item's first reduction, if nothing is stored before it. */
function firstReduction({ rest }: Items): Reduce | undefined {
  const [reduce] = rest;
  return reduce?.kind === "reduce" ? reduce : undefined;
}

/** Memory for an item's sums, with statements that store them and expressions that load them. */
function handedSums(
  kernel: PlainLoopKernel,
  { index, count }: Items,
  sums: readonly Accumulator[],
) {
  const first = kernel.buffers.length;
  const handed = sums.flatMap(({ name, type }): HandedBuffer[] =>
    type === "bool" ? [] : [{ name: `partial_${name}`, dtype: type, elements: count }]
  );
  const stores = sums.map(({ name, type }, at): Statement => ({
    kind: "store",
    buffer: first + at,
    index,
    value: { kind: "var", type, name },
  }));
  const loads = sums.map(({ type }, at): Expr => ({
    kind: "load",
    type,
    buffer: first + at,
    index,
  }));
  return { handed, stores, loads };
}

/** The first half of a reduction goes to memory, from where the second half goes on. */
function halvesOfReduction(kernel: PlainLoopKernel, items: Items): Halves[] {
  const reduce = firstReduction(items);
  if (reduce === undefined) return [];
  const sums = reduce.accumulators;
  if (sums.some(({ op, type }) => op === "argmax" || type === "bool")) return [];
  const { handed, stores, loads } = handedSums(kernel, items, sums);
  const named = (name: string) => `${name}_more`;
  return reduce.ranges.flatMap((range, at): Halves[] => {
    const halves = halvesOfRange(range);
    if (halves === undefined) return [];
    const half = (own: LoopRange, accumulators: readonly Accumulator[]): Statement => ({
      ...reduce,
      accumulators,
      ranges: reduce.ranges.map((whole, index) => index === at ? own : whole),
    });
    const [first, second] = halves.ranges;
    const totals = sums.map(({ name, type, op }, index): Statement => ({
      kind: "let",
      name,
      value: {
        kind: "binary",
        op: op === "max" || op === "min" ? op : "add",
        type,
        a: loads[index] ?? integerConstant(0),
        b: { kind: "var", type, name: named(name) },
      },
    }));
    const more = sums.map((sum) => ({ ...sum, name: named(sum.name) }));
    return [{
      name: halves.name,
      kernels: [
        rebuilt(
          { ...kernel, buffers: withHanded(kernel.buffers, handed, "write") },
          items,
          [...items.lets, half(first, sums), ...stores],
        ),
        rebuilt(
          { ...kernel, buffers: withHanded(kernel.buffers, handed, "read") },
          items,
          [...items.lets, half(second, more), ...totals, ...items.rest.slice(1)],
        ),
      ],
      handed,
    }];
  });
}

/** Sums at places that are read from memory: at half of the places, or of half of what is added, in order. */
function halvesOfPlaces(kernel: PlainLoopKernel, items: Items): Halves[] {
  const [loop, more] = items.rest;
  if (loop?.kind !== "loop" || more !== undefined || !onlyAdds(loop)) return [];
  const byRange = halvesOfRange(loop.range);
  const found = [
    halvesByPlace(loop),
    byRange && { name: byRange.name, loops: byRange.ranges.map((range) => ({ ...loop, range })) },
  ];
  return found.flatMap((halves): Halves[] => {
    if (halves === undefined) return [];
    const { name, loops } = halves;
    const kernels = loops.map((half) => rebuilt(kernel, items, [...items.lets, half]));
    return [{ name, kernels, handed: [] }];
  });
}

/** What an item does first, and then the rest: each may be cut further where the two together cannot. */
function halvesBetween(kernel: PlainLoopKernel, items: Items, own: number): Halves[] {
  const [first, ...rest] = items.rest;
  if (first === undefined || rest.every(({ kind }) => kind === "let")) return [];
  if (first.kind === "reduce") {
    const sums = first.accumulators;
    if (sums.some(({ type }) => type === "bool")) return [];
    // Sums alone, or what is left of them when they were cut off before, cannot be cut between.
    if (rest.every(({ kind }) => kind === "let" || kind === "store")) return [];
    const { handed, stores, loads } = handedSums(kernel, items, sums);
    const lets = sums.map(({ name }, at): Statement => ({
      kind: "let",
      name,
      value: loads[at] ?? integerConstant(0),
    }));
    return [{
      name: `up to ${sums.map(({ name }) => name).join(", ")}`,
      kernels: [
        rebuilt(
          { ...kernel, buffers: withHanded(kernel.buffers, handed, "write") },
          items,
          [...items.lets, first, ...stores],
        ),
        rebuilt(
          { ...kernel, buffers: withHanded(kernel.buffers, handed, "read") },
          items,
          [...items.lets, ...lets, ...rest],
        ),
      ],
      handed,
      last: true,
    }];
  }
  // The rest reads again what the `let`s read: by then it may be what was stored.
  if (items.lets.some((statement) => readsAny(statement, own))) return [];
  return [{
    name: "the first results",
    kernels: [
      rebuilt(kernel, items, [...items.lets, first]),
      rebuilt(kernel, items, [...items.lets, ...rest]),
    ],
    handed: [],
    last: true,
  }];
}

/** Whether a statement loads one of the first `own` buffers. */
function readsAny(statement: Statement, own: number): boolean {
  let found = false;
  visitExpressions(rootsOf(statement), (expr) => {
    found ||= expr.kind === "load" && expr.buffer < own;
  });
  return found;
}
