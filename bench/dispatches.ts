/** What a dispatch costs the host, in systems that have as small a model to run. */
import { Agreement, TOLERANCES } from "./agreement.ts";
import {
  entriesOf,
  type Failure,
  fastestSetting,
  type MeasureOptions,
  modelFor,
  orFailure,
  type Ready,
  ROUNDS,
} from "./measure.ts";
import type { System } from "./systems.ts";
import { LEAD_IN } from "./timing.ts";
import type { DispatchWork } from "./works.ts";

/** What was measured of one system. */
export interface DispatchCost {
  readonly system: System;
  readonly threads: number;
  readonly runtime: string;
  readonly setting: string;
  readonly dispatches: number;
  /** Milliseconds of the host for each dispatch, of each run. */
  readonly times: readonly number[];
  readonly peakBytes: number;
}

/** All systems. */
export interface DispatchCosts {
  readonly work: DispatchWork;
  readonly costs: readonly DispatchCost[];
  readonly failures: readonly Failure[];
}

/**
 * Measures each system with its fastest setting, in turns. Peers may fail.
 *
 * @throws {MismatchError} When the results differ.
 * @throws {ContenderError} When ours fails.
 */
export async function measureDispatches(
  work: DispatchWork,
  options: MeasureOptions,
): Promise<DispatchCosts> {
  const { forward } = work;
  await using cleanup = new AsyncDisposableStack();
  const entries = entriesOf(forward, options);
  await using _models = await modelFor(forward, entries, options);
  const agreement = new Agreement(TOLERANCES.forward);
  const failures: Failure[] = [];
  const costs: DispatchCost[] = [];
  for (const entry of entries) {
    const { system, threads } = entry;
    const cost = await orFailure(
      entry,
      fastestSetting(forward, entry, agreement, options).then(async (ready) => {
        cleanup.use(ready.contender);
        return await costOf(ready, options);
      }),
    );
    if (typeof cost === "string") failures.push({ system, threads, message: cost });
    else costs.push(cost);
  }
  return { work, costs, failures };
}

async function costOf(
  { system, contender }: Ready,
  { milliseconds }: MeasureOptions,
): Promise<DispatchCost> {
  const { ready, start } = contender;
  const { peakBytes } = await contender.ask({
    kind: "round",
    duration: milliseconds / ROUNDS,
    leadIn: LEAD_IN,
  });
  const { times, dispatches } = await contender.ask({ kind: "host", duration: milliseconds });
  return {
    system,
    threads: start.threads,
    runtime: ready.runtime,
    setting: ready.setting,
    dispatches,
    times: times.map((time) => time / dispatches),
    peakBytes,
  };
}
