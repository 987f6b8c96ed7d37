/** Starts in fresh processes: how long until a program is ready, and until its first run has ended. */
import { Agreement, TOLERANCES } from "./agreement.ts";
import { Contender } from "./contender.ts";
import { type MeasureOptions, modelFor } from "./measure.ts";
import type { System } from "./systems.ts";
import type { CompileWork } from "./works.ts";

/** Fresh processes of each system. */
const STARTS = 5;
const QUICK_STARTS = 2;

/** The starts of one system. */
export interface ColdStarts {
  readonly system: System;
  readonly threads: number;
  readonly runtime: string;
  readonly setting: string;
  /** Milliseconds until the program was ready for its parameters. */
  readonly compile: readonly number[];
  /** Milliseconds until its first run had ended, parameters included. */
  readonly firstRun: readonly number[];
  readonly peakBytes: number;
}

/** Starts systems in turns, on the most threads; checks that their logits agree. */
export async function measureStarts(
  { name, forward }: CompileWork,
  options: MeasureOptions,
): Promise<ColdStarts[]> {
  const { systems, folder, progress, quick } = options;
  const starts = quick ? QUICK_STARTS : STARTS;
  const threads = Math.max(...options.threads);
  const measured = systems.map((system) => ({
    system,
    threads,
    runtime: "",
    setting: "",
    compile: [] as number[],
    firstRun: [] as number[],
    peakBytes: 0,
  }));
  await using _models = await modelFor(forward, measured, options);
  const agreement = new Agreement(TOLERANCES.forward);
  for (let start = 0; start < starts; start++) {
    for (const sum of measured) {
      const system = sum.system.name;
      progress(`${name}: ${system}, start ${start + 1} of ${starts}`);
      const [setting = ""] = sum.system.settings(forward, threads);
      await using contender = await Contender.launch({
        work: forward,
        system,
        threads,
        setting,
        folder,
      });
      const { startUp, ...ready } = contender.ready;
      if (startUp === undefined) throw new TypeError(`${system} does not say how it started`);
      const { milliseconds, peakBytes } = await contender.ask({ kind: "first" });
      sum.compile.push(startUp.compileMs);
      sum.firstRun.push(startUp.compileMs + startUp.parametersMs + milliseconds);
      sum.peakBytes = Math.max(sum.peakBytes, peakBytes);
      sum.runtime = ready.runtime;
      sum.setting = ready.setting;
      const { values } = await contender.ask({ kind: "check", steps: 1 });
      agreement.add(system, values);
    }
  }
  return measured;
}
