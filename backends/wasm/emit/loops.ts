/** Emits counted loops, one iteration at a time or several in the lanes of vectors. */
import type { LoopRange } from "../../../compiler/loop_ir.ts";
import type { Local } from "../encoder.ts";
import { type LoopBody, writtenBuffers } from "./analysis.ts";
import type { Emitter, Lanes } from "./emitter.ts";
import { constantDifference } from "./expression_table.ts";
import { hoistInvariants } from "./hoisting.ts";

/** A loop, the loops around it, and its body's statements for finding what can be moved out. */
export interface LoopShape {
  readonly range: LoopRange;
  /** How many loops are around it. */
  readonly level: number;
  readonly body: LoopBody;
}

/** How many iterations there are, where that is a constant. */
export function tripCount(emitter: Emitter, range: LoopRange): number | undefined {
  const { table } = emitter;
  const difference = constantDifference(table.linear(range.end), table.linear(range.start));
  return difference === undefined ? undefined : Math.max(0, difference);
}

/** Emits a loop whose `run` emits one iteration. */
export function emitScalarLoop(emitter: Emitter, loop: LoopShape, run: () => void): void {
  emitLoop(emitter, loop, undefined, [{ step: 1, run }]);
}

/**
 * Emits a loop in steps of `lanes.count` vectors, then of one vector, then of one iteration. `run` is
 * called with the emitter's lanes set for each.
 */
export function emitLaneLoop(
  emitter: Emitter,
  loop: LoopShape,
  lanes: Lanes,
  run: () => void,
): void {
  const stepOf = (count: number) => ({
    step: 4 * count,
    run: () => emitter.withLanes({ ...lanes, count }, run),
  });
  const vectors = lanes.count > 1 ? [stepOf(lanes.count), stepOf(1)] : [stepOf(1)];
  emitLoop(emitter, loop, lanes, [...vectors, { step: 1, run }]);
}

interface Step {
  /** Iterations at once. */
  readonly step: number;
  readonly run: () => void;
}

function emitLoop(
  emitter: Emitter,
  loop: LoopShape,
  lanes: Lanes | undefined,
  steps: readonly Step[],
): void {
  const { f } = emitter;
  const { range, body, level } = loop;
  const trip = tripCount(emitter, range);
  if (trip === 0) return;
  emitter.enter(() => {
    const variable = emitter.code.temporary("i32");
    emitter.pushScalar(range.start);
    f.set(variable);
    emitter.scalars.set(range.variable, variable);
    emitter.forgetLoads(writtenBuffers(body.statements));
    const hoist = (): void =>
      emitter.withLanes(lanes ?? emitter.lanes, () => hoistInvariants(emitter, body, level));
    if (trip !== undefined) {
      hoist();
      return emitKnown(emitter, variable, trip, steps);
    }
    const end = emitter.operand(range.end);
    f.get(variable);
    end();
    f.i32.lt_s();
    f.if(() =>
      emitter.enter(() => {
        hoist();
        for (const step of steps) emitWhileFits(emitter, variable, end, step);
      })
    );
  });
}

/** A known number of iterations: as many of the largest steps as fit, then of the next. */
function emitKnown(
  emitter: Emitter,
  variable: Local,
  trip: number,
  steps: readonly Step[],
): void {
  const { f } = emitter;
  let rest = trip;
  for (const step of steps) {
    const times = Math.floor(rest / step.step);
    rest -= times * step.step;
    if (times === 0) continue;
    if (times === 1) {
      emitStep(emitter, variable, step);
      continue;
    }
    const end = emitter.code.temporary("i32");
    f.get(variable);
    f.i32.const(times * step.step);
    f.i32.add();
    f.set(end);
    emitDoWhile(emitter, variable, end, step);
  }
}

function emitWhileFits(emitter: Emitter, variable: Local, end: () => void, step: Step): void {
  const { f } = emitter;
  emitter.enter(() => {
    const limit = emitter.code.temporary("i32");
    end();
    f.i32.const(step.step - 1);
    f.i32.sub();
    f.set(limit);
    f.get(variable);
    f.get(limit);
    f.i32.lt_s();
    f.if(() => emitDoWhile(emitter, variable, limit, step));
  });
}

function emitDoWhile(emitter: Emitter, variable: Local, limit: Local, step: Step): void {
  const { f } = emitter;
  f.loop((again) => {
    emitStep(emitter, variable, step);
    f.get(variable);
    f.get(limit);
    f.i32.lt_s();
    f.brIf(again);
  });
}

function emitStep(emitter: Emitter, variable: Local, step: Step): void {
  const { f } = emitter;
  emitter.enter(step.run);
  f.get(variable);
  f.i32.const(step.step);
  f.i32.add();
  f.set(variable);
}
