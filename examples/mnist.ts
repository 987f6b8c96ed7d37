/**
 * Trains a small Vision Transformer on MNIST: 60,000 handwritten digits of 28 x 28 pixels.
 *
 *     deno task demo
 *     deno task demo --epochs 2 --seed 7 --out runs/digits.safetensors
 *
 * Expected, within three minutes on two cores: a falling loss, about 98.2 % of the 10,000 test images right,
 * the weights as safetensors, and a few test digits with the model's answers. Ctrl-C leaves a checkpoint
 * from which `--resume` goes on bit for bit.
 */
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import {
  auto,
  type Backend,
  compile,
  GpuUnavailableError,
  reference,
  wasm,
  webgpu,
} from "@fovea/fovea/backends";
import {
  adam,
  CheckpointError,
  firstImages,
  type HostTensor,
  type ImageDataset,
  inferenceGraph,
  loadMnist,
  MNIST_CLASSES,
  MNIST_SIDE,
  parameterCount,
  predict,
  ResumeError,
  Trainer,
  trainingStep,
  tuningFile,
  TuningFileError,
  valuesFrom,
  type Vit,
  vit,
  writeSafetensors,
} from "@fovea/fovea/models";
import { brailleLines, duration, progressLine, sideBySide, StatusLine } from "./terminal.ts";

const HELP = `Trains a small Vision Transformer on MNIST.

  --epochs <n>     times through the training images (default 4)
  --seed <n>       of the initial weights and the order of the images (default 0)
  --threads <n>    threads to run on (default: the machine's, at most 8)
  --out <file>     where the weights go (default mnist_vit.safetensors)
  --resume         go on from the checkpoint that a run with the same options left beside --out
  --backend <name> wasm (default), webgpu, auto (the faster of the two here), or reference, which is
                   slow and computes in f64
  --no-tune        on WebGPU, divide work by its sizes alone, without measuring what is fastest
  --limit <n>      use only the first n training and test images
  --help           this text
`;

const BATCH = 64;
const EVALUATION_BATCH = 250;
/** Smoothing of the loss shown: the weight of all that came before. */
const SMOOTHING = 0.95;

const BACKENDS = ["wasm", "webgpu", "auto", "reference"] as const;
type BackendName = typeof BACKENDS[number];

/** What was asked for on the command line. */
interface Options {
  readonly epochs: number;
  readonly seed: number;
  readonly threads: number | undefined;
  readonly out: string;
  readonly resume: boolean;
  readonly backend: BackendName;
  readonly tune: boolean;
  readonly limit: number;
}

/** A command line that cannot be followed. */
class UsageError extends Error {}

function readOptions(args: readonly string[]): Options | undefined {
  const { values } = parseArgs({
    args: [...args],
    options: {
      epochs: { type: "string", default: "4" },
      seed: { type: "string", default: "0" },
      threads: { type: "string" },
      out: { type: "string", default: "mnist_vit.safetensors" },
      resume: { type: "boolean", default: false },
      backend: { type: "string", default: "wasm" },
      "no-tune": { type: "boolean", default: false },
      limit: { type: "string", default: "60000" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return undefined;
  const { threads, out, resume } = values;
  const backend = BACKENDS.find((name) => name === values.backend);
  if (backend === undefined) {
    throw new UsageError(`--backend is ${values.backend}, wanted ${BACKENDS.join(", ")}`);
  }
  return {
    epochs: wholeNumber("epochs", values.epochs, 1),
    seed: wholeNumber("seed", values.seed, 0),
    threads: threads === undefined ? undefined : wholeNumber("threads", threads, 1),
    limit: wholeNumber("limit", values.limit, BATCH),
    out,
    resume,
    backend,
    tune: !values["no-tune"],
  };
}

function wholeNumber(name: string, text: string, least: number): number {
  const value = Number(text);
  if (text.trim() !== "" && Number.isSafeInteger(value) && value >= least) return value;
  throw new UsageError(`--${name} is ${text}, wanted a whole number >= ${least}`);
}

function declareModel(): Vit {
  return vit({
    imageSize: MNIST_SIDE,
    patchSize: 7,
    channels: 1,
    width: 64,
    depth: 4,
    mlpWidth: 128,
    heads: 4,
    classes: MNIST_CLASSES,
  });
}

function declareOptimizer(totalSteps: number) {
  const warmupSteps = Math.min(200, Math.floor(totalSteps / 10));
  return adam({
    schedule: { kind: "cosine", learningRate: 2e-3, warmupSteps, totalSteps },
    clipNorm: 1,
    weightDecay: 0.05,
  });
}

/** Trains to the end, or until asked to stop; tells whether the end was reached. */
async function train<P>(
  trainer: Trainer<P>,
  run: { epochs: number; checkpoint: string; stop: AbortSignal },
): Promise<boolean> {
  const status = new StatusLine();
  const total = run.epochs * trainer.stepsPerEpoch;
  const [firstStep, start] = [trainer.step, performance.now()];
  let smooth: number | undefined;
  const nextStep = () => trainer.step < total && !run.stop.aborted ? trainer.next() : undefined;
  let running = nextStep();
  while (running !== undefined) {
    const endsEpoch = trainer.step % trainer.stepsPerEpoch === 0;
    // The device has the next step before this one's report is here.
    const ahead = endsEpoch ? undefined : nextStep();
    // When this step fails nobody awaits that one, which fails too.
    ahead?.catch(() => {});
    const { step, loss } = await running;
    smooth = smooth === undefined ? loss : SMOOTHING * smooth + (1 - SMOOTHING) * loss;
    const line = progressLine({
      epoch: Math.ceil(step / trainer.stepsPerEpoch),
      epochs: run.epochs,
      done: step,
      total,
      loss: smooth,
      imagesPerSecond: (step - firstStep) * BATCH / ((performance.now() - start) / 1000),
      imagesLeft: (total - step) * BATCH,
    });
    status.show(line, step / total);
    if (endsEpoch) await trainer.save(run.checkpoint);
    running = endsEpoch ? nextStep() : ahead;
  }
  status.end();
  return trainer.step >= total;
}

/** Says how many test images are right, and draws the first few and one that is wrong. */
async function judge(
  model: Vit,
  parameters: ReadonlyMap<string, HostTensor>,
  test: ImageDataset,
  backend: Backend,
): Promise<void> {
  const bind = { batch: Math.min(EVALUATION_BATCH, test.count) };
  using program = await compile(inferenceGraph(model), { backend, bind });
  program.set({ parameters: valuesFrom(model.declarations, parameters, "the trained model") });
  const { classes } = await predict(program, test, { ...model, batchSize: bind.batch });
  const wrong = [...classes.keys()].filter((index) => classes[index] !== test.labels[index]);
  const right = test.count - wrong.length;
  const share = (100 * right / test.count).toFixed(2);
  console.log(`accuracy: ${share} % (${right} of ${test.count} test images)`);
  const shown = [0, 1, 2, 3, 4, ...wrong.filter((index) => index > 4).slice(0, 1)];
  const pictures = shown.map((index) => ({
    lines: brailleLines(pixelsOf(test, index), MNIST_SIDE),
    text: `-> ${classes[index]}` +
      (classes[index] === test.labels[index] ? "" : ` (is ${test.labels[index]})`),
  }));
  console.log(`${sideBySide(pictures.slice(0, 3))}\n\n${sideBySide(pictures.slice(3))}`);
}

function pixelsOf({ images }: ImageDataset, index: number): Uint8Array {
  return Uint8Array.from(images.subarray(index * MNIST_SIDE ** 2, (index + 1) * MNIST_SIDE ** 2));
}

/** Aborts at the first Ctrl-C, so that the run can leave a checkpoint; a second one ends it at once. */
function stopOnInterrupt(): AbortSignal {
  const controller = new AbortController();
  Deno.addSignalListener("SIGINT", () => {
    if (controller.signal.aborted) Deno.exit(INTERRUPTED);
    controller.abort();
  });
  return controller.signal;
}

const INTERRUPTED = 130;

/** Where what was measured on WebGPU is kept, beside the weights. */
const TUNING = "webgpu_tuning.json";

async function makeBackend({ backend, threads, tune, out }: Options): Promise<Backend> {
  switch (backend) {
    case "wasm":
      return wasm(threads === undefined ? {} : { threads });
    case "webgpu":
      return await webgpu(tune ? { tuning: await tuningFile(join(dirname(out), TUNING)) } : {});
    case "auto":
      return auto(threads === undefined ? {} : { wasm: { threads } });
    case "reference":
      return reference();
  }
}

async function run(options: Options): Promise<number> {
  const { epochs, seed, out, limit } = options;
  const stop = stopOnInterrupt();
  const backend = await makeBackend(options);
  const mnist = await loadMnist();
  const [data, test] = [firstImages(mnist.train, limit), firstImages(mnist.test, limit)];
  const model = declareModel();
  const optimizer = declareOptimizer(epochs * Math.floor(data.count / BATCH));
  const start = performance.now();
  const step = trainingStep({ model, optimizer });
  using program = await compile(step, {
    backend,
    bind: { batch: BATCH },
    donate: { state: "state" },
  });
  const compiled = Math.round(performance.now() - start);
  console.log(
    `a ViT of ${parameterCount(model.config)} parameters, ${data.count} images, ` +
      `${program.describe()}, compiled in ${compiled} ms`,
  );
  const trainer = new Trainer({ model, optimizer, program, data, batchSize: BATCH, seed });
  const checkpoint = `${out.replace(/\.safetensors$/, "")}.checkpoint.safetensors`;
  if (options.resume) {
    await trainer.resume(checkpoint);
    console.log(`going on after step ${trainer.step} of ${checkpoint}`);
  }
  if (!await train(trainer, { epochs, checkpoint, stop })) {
    await trainer.save(checkpoint);
    console.log(`stopped after step ${trainer.step}; --resume goes on from ${checkpoint}`);
    return INTERRUPTED;
  }
  const parameters = await trainer.parameters();
  await writeSafetensors(out, parameters);
  const seconds = (performance.now() - start) / 1000;
  console.log(`trained in ${duration(seconds)}; the weights are in ${out}`);
  await judge(model, parameters, test, backend);
  return 0;
}

/** Runs the demo with the arguments; returns the exit code. */
export async function main(args: readonly string[]): Promise<number> {
  try {
    const options = readOptions(args);
    if (options !== undefined) return await run(options);
    console.log(HELP);
    return 0;
  } catch (error) {
    // Messages for the user, not traces of this script: what was asked for, and files of other runs.
    const isUsers = error instanceof UsageError || error instanceof ResumeError ||
      error instanceof CheckpointError || error instanceof Deno.errors.NotFound ||
      error instanceof GpuUnavailableError || error instanceof TuningFileError ||
      (error instanceof TypeError && "code" in error);
    if (!isUsers) throw error;
    console.error(error.message);
    return 2;
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));
