/** A ViT's forward pass in Fovea. */
import { compile } from "../../backends/mod.ts";
import type { HostInputs } from "../../backends/host_tree.ts";
import type { Tensor } from "../../graph/mod.ts";
import { inferenceGraph, type InferenceInput, vit, type VitParameters } from "../../models/mod.ts";
import { imagesOf, type Parameter, parametersOf } from "../data.ts";
import type { MeasuredRun } from "../measured_run.ts";
import type { ForwardWork } from "../works.ts";
import { backendOf, type FoveaSetting } from "./backend.ts";

type Inputs = HostInputs<InferenceInput<VitParameters<Tensor<"f32">>>>;

/** Traces and compiles the model and sets its parameters, one after the other. */
export async function startForward(
  work: ForwardWork,
  how: FoveaSetting,
): Promise<MeasuredRun> {
  const start = performance.now();
  const model = vit(work.config);
  const program = await compile(inferenceGraph(model), {
    backend: await backendOf(work, how),
    bind: { batch: work.batch },
  });
  const compileMs = performance.now() - start;
  let parametersMs = 0;
  for (const parameter of parametersOf(work.config, reusedMemory())) {
    const before = performance.now();
    program.set(asInputs(parameter));
    parametersMs += performance.now() - before;
  }
  const images = imagesOf(work);
  return {
    setting: `${program.describe()}; ${how.setting}`,
    startUp: { compileMs, parametersMs },
    lowerBoundBytes: program.memory().lowerBoundBytes,
    step: async () => (await program.run({ images })).logits.data,
  };
}

/** Gives the same memory again and again: as whoever reads weights from a file would have it. */
function reusedMemory(): (size: number) => Float32Array<ArrayBuffer> {
  let memory = new Float32Array(0);
  return (size) => {
    if (memory.length < size) memory = new Float32Array(size);
    return memory.subarray(0, size);
  };
}

/** The parameter alone in the inputs' structure, of which any part may be left out. */
function asInputs({ path, values }: Parameter): Inputs {
  const names = ["parameters", ...path.split("/")];
  const nested = names.reduceRight<unknown>((value, name) => ({ [name]: value }), values);
  // Lists are read by their indices, as this record's are.
  return nested as Inputs;
}
