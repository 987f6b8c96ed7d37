/**
 * A forward pass whose steps are run and timed one by one, on one thread: which kernels the time goes
 * to.
 */
import type { StepNote } from "../../backends/backend.ts";
import { wasm } from "../../backends/mod.ts";
import { WasmExecutable } from "../../backends/wasm/runtime.ts";
import { inferenceGraph, vit } from "../../models/mod.ts";
import { imagesOf, parametersOf } from "../data.ts";
import type { KernelClass, MeasuredRun } from "../measured_run.ts";
import type { ForwardWork } from "../works.ts";

/** Compiles the model, sets its parameters, and runs it step by step. */
export async function startSteps(work: ForwardWork): Promise<MeasuredRun> {
  const executable = await wasm({ threads: 1 }).prepare(inferenceGraph(vit(work.config)), {
    bind: { batch: work.batch },
    donate: {},
  });
  if (!(executable instanceof WasmExecutable)) throw new TypeError("Its steps cannot be timed");
  for (const { path, values } of parametersOf(work.config)) {
    executable.write(`parameters/${path}`, { data: values });
  }
  const images = { data: imagesOf(work) };
  const classes = executable.steps().map(classOf);
  const times: Record<KernelClass, number> = { matmul: 0, attention: 0, rows: 0, other: 0 };
  return {
    setting: `${executable.describe()}, step by step`,
    classTimes: () => ({ ...times }),
    step() {
      executable.write("images", images);
      for (const [step, milliseconds] of executable.timeSteps().entries()) {
        times[classes[step] ?? "other"] += milliseconds;
      }
      return Promise.resolve(executable.readOutput("logits").data);
    },
  };
}

/** Ops that fold a row to a number. */
const FOLDS: ReadonlySet<string> = new Set(["sum", "max", "min"]);

function classOf({ kind, nodes }: StepNote): KernelClass {
  if (kind === "matmul") return "matmul";
  if (kind.startsWith("attention")) return "attention";
  return nodes.some(({ op }) => FOLDS.has(op)) ? "rows" : "other";
}
