/** Emits loop IR statements. */
import type { LoopRange, Statement } from "../../../compiler/loop_ir.ts";
import { scalarType } from "../../../compiler/lower/values.ts";
import { bytesPerElement } from "../../../graph/dtype.ts";
import { bodyWeight, contiguity, laneVariables, type LoopBody } from "./analysis.ts";
import type { Emitter, Lanes } from "./emitter.ts";
import { lanePointers } from "./lane_access.ts";
import { LaneFold, ScalarFold } from "./folds.ts";
import { emitLaneLoop, emitScalarLoop, type LoopShape, tripCount } from "./loops.ts";
import { extractLane, loadScalar, loadVector, storeScalar, storeVector } from "./memory_access.ts";
import { scalarBinary, valueType } from "./scalar_operations.ts";
import { vectorBinary } from "./vector_operations.ts";
import type { Push } from "../vector_code.ts";

type Loop = Statement & { readonly kind: "loop" };
type Reduce = Statement & { readonly kind: "reduce" };
type Write = Statement & { readonly kind: "store" | "accumulate" };

/** Bodies up to this weight are done four vectors at a time, so that the loop's own cost is small. */
const LIGHT = 12;
/** And up to this weight two. */
const MEDIUM = 30;

/** Emits statements that `level` loops surround. */
export function emitStatements(
  emitter: Emitter,
  statements: readonly Statement[],
  level: number,
): void {
  for (const statement of statements) emitStatement(emitter, statement, level);
}

function emitStatement(emitter: Emitter, statement: Statement, level: number): void {
  switch (statement.kind) {
    case "let":
      return emitLet(emitter, statement);
    case "store":
    case "accumulate":
      if (emitter.lanes === undefined) emitScalarWrite(emitter, statement);
      else emitVectorWrite(emitter, statement, emitter.lanes);
      return emitter.forgetLoads(new Set([statement.buffer]));
    case "loop":
      return emitLoop(emitter, statement, level);
    case "reduce":
      return emitReduce(emitter, statement, level);
  }
}

function emitLet(emitter: Emitter, { name, value }: Statement & { readonly kind: "let" }): void {
  const { lanes } = emitter;
  if (lanes !== undefined && emitter.isVarying(value)) {
    const vectors = Array.from({ length: lanes.count }, (_, u) => emitter.keepVector(value, u));
    emitter.vectors.set(name, vectors);
  } else {
    emitter.scalars.set(name, emitter.keepScalar(value));
  }
}

function emitScalarWrite(emitter: Emitter, statement: Write): void {
  const { code } = emitter;
  const { dtype } = emitter.memory.buffer(statement.buffer);
  const access = emitter.access(statement.buffer, statement.index);
  const { offset } = access;
  const type = valueType(scalarType(dtype));
  const at = emitter.addressOperand(statement.buffer, access);
  if (statement.kind === "store") {
    return storeScalar(code, dtype, at, offset, () => emitter.pushScalar(statement.value));
  }
  const value = emitter.operand(statement.value);
  const before = code.keep(() => loadScalar(code, dtype, at, offset), type);
  const sum = code.keep(() => addScalars(emitter, statement, before, value), type);
  storeScalar(code, dtype, at, offset, sum);
}

function addScalars(emitter: Emitter, { buffer }: Write, a: Push, b: Push): void {
  const type = scalarType(emitter.memory.buffer(buffer).dtype);
  scalarBinary(emitter.f, emitter.module, type === "bool" ? "or" : "add", type, a, b);
}

function emitVectorWrite(emitter: Emitter, statement: Write, lanes: Lanes): void {
  const { code } = emitter;
  const { buffer, index, value } = statement;
  const { dtype } = emitter.memory.buffer(buffer);
  const access = emitter.access(buffer, index);
  const type = scalarType(dtype);
  const contiguous = emitter.stride(access) === 1;
  const first = contiguous ? emitter.addressOperand(buffer, access) : undefined;
  for (let u = 0; u < lanes.count; u++) {
    if (first === undefined) {
      emitScatteredWrite(emitter, statement, u);
      continue;
    }
    const offset = access.offset + 4 * u * bytesPerElement(dtype);
    if (statement.kind === "store") {
      storeVector(code, dtype, first, offset, () => emitter.pushVector(value, u));
      continue;
    }
    const added = emitter.vectorOperand(value, u);
    const before = code.keep(() => loadVector(code, dtype, first, offset));
    const op = type === "bool" ? "or" : "add";
    const sum = code.keep(() => {
      vectorBinary(code, op, type, before, added);
    });
    storeVector(code, dtype, first, offset, sum);
  }
}

function emitScatteredWrite(emitter: Emitter, statement: Write, u: number): void {
  const { code } = emitter;
  const { dtype } = emitter.memory.buffer(statement.buffer);
  const type = scalarType(dtype);
  const value = emitter.vectorOperand(statement.value, u);
  const pointers = lanePointers(emitter, statement.buffer, statement.index, u);
  pointers.forEach(({ address, offset }, lane) => {
    const one = code.keep(() => extractLane(code, type, value, lane), valueType(type));
    if (statement.kind === "store") return storeScalar(code, dtype, address, offset, one);
    const before = code.keep(() => loadScalar(code, dtype, address, offset), valueType(type));
    const sum = code.keep(() => addScalars(emitter, statement, before, one), valueType(type));
    storeScalar(code, dtype, address, offset, sum);
  });
}

function emitLoop(emitter: Emitter, statement: Loop, level: number): void {
  const body: LoopBody = { statements: statement.body, accumulators: [] };
  const shape: LoopShape = { range: statement.range, level, body };
  const run = (): void => emitStatements(emitter, statement.body, level + 1);
  const lanes = statement.vectorize && emitter.lanes === undefined
    ? planLanes(emitter, shape, deepestReduction(statement.body))
    : undefined;
  if (lanes === undefined) emitScalarLoop(emitter, shape, run);
  else emitLaneLoop(emitter, shape, lanes, run);
}

/** A reduction inside of a loop's body. */
function deepestReduction(body: readonly Statement[]): Reduce | undefined {
  for (const statement of body) {
    if (statement.kind === "reduce") return statement;
    const inner = statement.kind === "loop" ? deepestReduction(statement.body) : undefined;
    if (inner !== undefined) return inner;
  }
  return undefined;
}

/** The lanes for a loop's iterations, or undefined where scalar code is the better or only way. */
function planLanes(
  emitter: Emitter,
  loop: LoopShape,
  inner: Reduce | undefined,
): Lanes | undefined {
  const { table } = emitter;
  const { range, body } = loop;
  const { variable } = range;
  const trip = tripCount(emitter, range);
  if (trip !== undefined && trip < 4) return undefined;
  const varying = laneVariables(table, variable, body);
  if (varying === undefined) return undefined;
  if (inner !== undefined && prefersReduction(emitter, variable, inner)) return undefined;
  const weight = bodyWeight(table, body, varying);
  const accumulators = inner?.accumulators ?? body.accumulators;
  let count = weight <= LIGHT ? 4 : weight <= MEDIUM ? 2 : 1;
  if (inner !== undefined) count = Math.max(count, 2);
  while (count > 1 && count * accumulators.length > 8) count /= 2;
  if (accumulators.some(({ op }) => op === "argmax")) count = 1;
  if (trip !== undefined) { while (count > 1 && 4 * count > trip) count /= 2; }
  return { variable, count, varying };
}

/** Whether a reduction inside a loop reads memory in order along its own iterations. */
function prefersReduction(emitter: Emitter, variable: string, reduce: Reduce): boolean {
  const { table, memory } = emitter;
  const body: LoopBody = { statements: reduce.body, accumulators: reduce.accumulators };
  const innermost = reduce.ranges.at(-1);
  if (innermost === undefined) return false;
  const own = contiguity(table, memory, body, innermost.variable);
  return own > contiguity(table, memory, body, variable);
}

function emitReduce(emitter: Emitter, statement: Reduce, level: number): void {
  const folds: Fold[] = [];
  const body: LoopBody = { statements: statement.body, accumulators: statement.accumulators };
  const innermost = statement.ranges.at(-1);
  const shape = innermost && {
    range: innermost,
    level: level + statement.ranges.length - 1,
    body,
  };
  const ownLanes = shape !== undefined && emitter.lanes === undefined
    ? planLanes(emitter, shape, undefined)
    : undefined;
  for (const accumulator of statement.accumulators) {
    folds.push(makeFold(emitter, accumulator, ownLanes));
  }
  const position = emitter.code.temporary("i32");
  for (const fold of folds) fold.start();
  emitter.f.i32.const(0);
  emitter.f.set(position);
  const needsPosition = statement.accumulators.some(({ op }) => op === "argmax");
  const run = (): void => {
    emitStatements(emitter, statement.body, level + statement.ranges.length);
    for (const fold of folds) fold.step(position);
    if (!needsPosition) return;
    const { f } = emitter;
    f.get(position);
    f.i32.const(
      ownLanes !== undefined && emitter.lanes !== undefined ? 4 * emitter.lanes.count : 1,
    );
    f.i32.add();
    f.set(position);
  };
  emitNest(emitter, statement.ranges, level, body, ownLanes, run);
  for (const fold of folds) fold.finish();
}

/** Loops around each other, the innermost one in lanes if there are any. */
function emitNest(
  emitter: Emitter,
  ranges: readonly LoopRange[],
  level: number,
  body: LoopBody,
  lanes: Lanes | undefined,
  run: () => void,
): void {
  const [range, ...inner] = ranges;
  if (range === undefined) return run();
  if (inner.length === 0) {
    const shape = { range, level, body };
    if (lanes === undefined) emitScalarLoop(emitter, shape, run);
    else emitLaneLoop(emitter, shape, lanes, run);
    return;
  }
  const nested: Statement = {
    kind: "reduce",
    ranges: inner,
    body: body.statements,
    accumulators: body.accumulators,
  };
  const shape = { range, level, body: { statements: [nested], accumulators: [] } };
  emitScalarLoop(emitter, shape, () => emitNest(emitter, inner, level + 1, body, lanes, run));
}

/** An accumulator while its reduction runs. */
interface Fold {
  start(): void;
  step(position: ReturnType<Emitter["keepScalar"]>): void;
  /** Makes the result a variable. */
  finish(): void;
}

function makeFold(
  emitter: Emitter,
  accumulator: Reduce["accumulators"][number],
  ownLanes: Lanes | undefined,
): Fold {
  const { name } = accumulator;
  const outer = emitter.lanes;
  if (outer !== undefined && emitter.isVarying(accumulator.value)) {
    const fold = new LaneFold(emitter, accumulator, outer.count);
    return {
      start: () => fold.start(),
      step: (position) => fold.step(position, false),
      finish: () => emitter.vectors.set(name, fold.finish()),
    };
  }
  const scalar = new ScalarFold(emitter, accumulator);
  const bind = (): void => {
    emitter.scalars.set(name, scalar.result);
  };
  if (ownLanes === undefined) {
    return { start: () => scalar.start(), step: (position) => scalar.step(position), finish: bind };
  }
  const wide = new LaneFold(emitter, accumulator, ownLanes.count);
  return {
    start() {
      scalar.start();
      wide.start();
    },
    step(position) {
      if (emitter.lanes === undefined) scalar.step(position);
      else wide.step(position, true);
    },
    finish() {
      wide.combineInto(scalar);
      bind();
    },
  };
}
