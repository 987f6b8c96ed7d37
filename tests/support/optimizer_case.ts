/** A small ViT's training step, whose parameters have many shapes, and what runs of it give. */
import type { HostData } from "../../backends/host_array.ts";
import type { Program } from "../../compiler/program.ts";
import type { Optimizer } from "../../models/optimizers.ts";
import { trainingStep } from "../../models/training_step.ts";
import { vit } from "../../models/vit.ts";

/** Widths that are no multiple of a block or a vector, and parameters of one block and of several. */
const MODEL = {
  imageSize: 8,
  patchSize: 4,
  channels: 3,
  width: 36,
  depth: 3,
  mlpWidth: 150,
  heads: 3,
  classes: 7,
};
const BATCH = 2;

/** The whole training step with an optimizer. */
export function smallTrainingStep(optimizer: Optimizer) {
  const graph = trainingStep({ model: vit(MODEL), optimizer });
  return { graph, bind: { batch: BATCH }, donate: { state: "state" } };
}

/** Numbers for an input: small, different at every place, variances not negative. */
export function inputNumbers(path: string, dtype: string, length: number): HostData {
  const wave = (at: number) => Math.sin(at * 1.7 + path.length) * 0.2;
  if (dtype === "f32") {
    return Float32Array.from(
      { length },
      (_, at) => path.includes("/nu") ? wave(at) ** 2 : wave(at),
    );
  }
  return dtype === "i32"
    ? Int32Array.from({ length }, (_, at) => at % 7)
    : Uint32Array.from({ length }, (_, at) => at);
}

/** The steps that write the new values of parameters, by number, with how many members they have. */
export function updateSteps(program: Program): { step: number; members: number }[] {
  const parameters = new Set(
    program.outputs.filter(({ path }) => path.startsWith("state/parameters/"))
      .map(({ buffer }) => program.buffers[buffer]?.offset),
  );
  return program.steps.flatMap(({ kernel, members }, step) => {
    const bound = program.kernels[kernel]?.buffers.filter(({ access }) => access !== "scratch");
    const writes = members.some(({ buffers }) =>
      buffers.some((buffer, at) =>
        bound?.[at]?.access === "write" && parameters.has(program.buffers[buffer]?.offset)
      )
    );
    return writes ? [{ step, members: members.length }] : [];
  });
}
