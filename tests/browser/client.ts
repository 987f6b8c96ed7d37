/** What a page or one of its workers runs, bundled: the golden ViT forward, and a step of training. */
import { compile } from "../../backends/compile.ts";
import type { Backend } from "../../backends/backend.ts";
import { wasm } from "../../backends/wasm/backend.ts";
import { webgpu } from "../../backends/webgpu/backend.ts";
import type { VitOptions } from "../../models/config.ts";
import type { HostTensor } from "../../models/host_tensor.ts";
import { sgd } from "../../models/optimizers.ts";
import { decodeSafetensors } from "../../models/safetensors.ts";
import { inferenceGraph, trainingStep } from "../../models/training_step.ts";
import { vit } from "../../models/vit.ts";
import { namedTensors, valuesFrom } from "../../models/weights.ts";

/** What is to be run. */
export interface Task {
  readonly backend: "wasm" | "webgpu";
  readonly config: VitOptions;
  readonly batch: number;
  readonly learningRate: number;
  /** All there are when left out. */
  readonly threads?: number;
}

/** What came of it; numbers in lists, so that it can leave the page as JSON. */
export interface Result {
  readonly description: string;
  readonly logits: readonly number[];
  /** The logits of a second run. */
  readonly again: readonly number[];
  readonly loss: number;
  readonly gradientNorm: number;
  /** By path: parameters after the step, and their gradients. */
  readonly parameters: Readonly<Record<string, readonly number[]>>;
  readonly gradients: Readonly<Record<string, readonly number[]>>;
}

/** Runs the task with the weights, images and labels of a golden file. */
export async function run(task: Task, weights: URL): Promise<Result> {
  const bytes = await (await fetch(weights)).arrayBuffer();
  const { tensors } = decodeSafetensors(new Uint8Array(bytes));
  return { ...await infer(task, tensors), ...await train(task, tensors) };
}

type Tensors = ReadonlyMap<string, HostTensor>;

async function backendOf({ backend, threads }: Task): Promise<Backend> {
  if (backend === "webgpu") return await webgpu();
  return wasm(threads === undefined ? {} : { threads });
}

function parametersIn(tensors: Tensors): Tensors {
  const group = "parameters/";
  const inGroup = [...tensors].filter(([name]) => name.startsWith(group));
  return new Map(inGroup.map(([name, tensor]) => [name.slice(group.length), tensor]));
}

/** A tensor of the file, f64 there, as f32. */
function inputIn(tensors: Tensors, name: string): Float32Array<ArrayBuffer> {
  const tensor = tensors.get(`inputs/${name}`);
  if (tensor?.dtype !== "f32" && tensor?.dtype !== "f64") throw new TypeError(`No "${name}"`);
  return Float32Array.from(tensor.data);
}

async function infer(task: Task, tensors: Tensors) {
  const model = vit(task.config);
  const options = { backend: await backendOf(task), bind: { batch: task.batch } };
  using program = await compile(inferenceGraph(model), options);
  const parameters = valuesFrom(model.declarations, parametersIn(tensors), "golden");
  const { logits } = await program.run({ parameters, images: inputIn(tensors, "images") });
  const again = await program.run({});
  return {
    description: program.describe(),
    logits: [...logits.data],
    again: [...again.logits.data],
  };
}

/** One step of descent without momentum, whose running sum is then the gradient. */
async function train(task: Task, tensors: Tensors) {
  const model = vit(task.config);
  const { learningRate, batch } = task;
  const schedule = { kind: "constant", learningRate } as const;
  const optimizer = sgd({ momentum: 0, schedule });
  using program = await compile(trainingStep({ model, optimizer, labels: "soft" }), {
    backend: await backendOf(task),
    bind: { batch },
    donate: { state: "state" },
  });
  const { loss, gradientNorm } = await program.run({
    state: {
      parameters: valuesFrom(model.declarations, parametersIn(tensors), "golden"),
      optimizer: optimizer.initialState(model.declarations),
      step: 0,
      key: new Uint32Array(2),
    },
    images: inputIn(tensors, "images"),
    labels: inputIn(tensors, "labels"),
  });
  return {
    loss: loss.data[0] ?? NaN,
    gradientNorm: gradientNorm.data[0] ?? NaN,
    parameters: listsIn(await program.get("state/parameters")),
    gradients: listsIn(await program.get("state/optimizer/trace")),
  };
}

function listsIn(values: unknown): Record<string, number[]> {
  return Object.fromEntries([...namedTensors(values)].map(([path, { data }]) => [path, [...data]]));
}
