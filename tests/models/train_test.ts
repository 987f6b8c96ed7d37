import { type Backend, compile, type HostTensor, reference, wasm } from "../../backends/mod.ts";
import { flattenTree, mapTree } from "../../graph/mod.ts";
import type { VitOptions } from "../../models/config.ts";
import { Batches, batchOf, checkDataset, type ImageDataset } from "../../models/dataset.ts";
import { evaluate, predict } from "../../models/evaluate.ts";
import { adam, sgd } from "../../models/optimizers.ts";
import { isDeclaration } from "../../models/parameters.ts";
import { hostKey } from "../../models/random_words.ts";
import { DivergenceError, ResumeError, Trainer } from "../../models/train.ts";
import { inferenceGraph, trainingStep } from "../../models/training_step.ts";
import { vit } from "../../models/vit.ts";
import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertRejects,
  assertThrows,
} from "../support/assert.ts";
import { gpuTest } from "../support/gpu.ts";
import { limitedGpu } from "../support/limited_gpu.ts";
import golden from "../golden/vit_small.json" with { type: "json" };
import { distance, goldenConfig, goldenTensors, norm, numbersOf } from "./golden_vit.ts";

function isHostTensor(value: unknown): value is HostTensor<"f32"> {
  return typeof value === "object" && value !== null && "data" in value;
}

const backend = reference();
const schedule = { kind: "constant", learningRate: 0.01 } as const;
const tiny: VitOptions = {
  imageSize: 4,
  patchSize: 2,
  channels: 1,
  width: 8,
  depth: 1,
  mlpWidth: 16,
  heads: 2,
  classes: 2,
};

/** Images whose left half (class 0) or right half (class 1) is bright, each a little different. */
function halves(count: number): ImageDataset {
  const labels = Uint8Array.from({ length: count }, (_, index) => index % 2);
  const images = Uint8Array.from({ length: count * 16 }, (_, at) => {
    const isRight = at % 4 >= 2;
    return (isRight === (labels[at >> 4] === 1) ? 200 : 20) + (at * 7919) % 50;
  });
  return { images, labels, count };
}

Deno.test("one step of the small ViT: the goldens' loss, gradient norm, and SGD's parameters", async () => {
  const tensors = await goldenTensors();
  const model = vit(goldenConfig("tanh"));
  const optimizer = sgd({ schedule: { ...schedule, learningRate: 0.5 } });
  const graph = trainingStep({ model, optimizer, loss: "sigmoid", labels: "soft" });
  using program = await compile(graph, {
    backend,
    bind: { batch: golden.config.batch },
    donate: { state: "state" },
  });
  const values = (path: string) => Float32Array.from(numbersOf(tensors, path));
  const parameters = mapTree(
    model.declarations,
    isDeclaration,
    (_, path) => values(`parameters/${path}`),
  );
  const trace = mapTree(model.declarations, isDeclaration, ({ size }) => new Float32Array(size));
  const state = { parameters, optimizer: { trace }, step: 41, key: Uint32Array.of(0, 1) };
  const given = { images: values("inputs/images"), labels: values("inputs/labels") };
  const { loss, gradientNorm, learningRate } = await program.run({ state, ...given });
  const facts = golden.results["tanh/sigmoid"];
  assertAlmostEquals(loss.data[0] ?? NaN, facts.loss, 1e-6 * facts.loss);
  assertAlmostEquals(gradientNorm.data[0] ?? NaN, facts.gradientNorm, 1e-6 * facts.gradientNorm);
  assertEquals(learningRate.data[0], 0.5);
  assertEquals((await program.get("state/step")).data, Int32Array.of(42));
  assertEquals((await program.get("state/key")).data, Uint32Array.of(0, 1));
  for (
    const [path, { shape, data }] of flattenTree(
      await program.get("state/parameters"),
      isHostTensor,
    )
  ) {
    const before = numbersOf(tensors, `parameters/${path}`);
    const gradient = numbersOf(tensors, `gradients/tanh/sigmoid/${path}`);
    const wanted = before.map((value, at) => value - 0.5 * (gradient[at] ?? NaN));
    assertEquals(shape, tensors.get(`parameters/${path}`)?.shape);
    assert(distance(data, wanted) < 1e-6 * norm(wanted), path);
  }
});

async function tinyTrainer(
  seed: number,
  { backend = reference(), batch = 4, ...options }: Partial<VitOptions> & {
    backend?: Backend;
    batch?: number;
  } = {},
) {
  const model = vit({ ...tiny, ...options });
  const optimizer = adam({ schedule, clipNorm: 1, weightDecay: 0.01 });
  const program = await compile(trainingStep({ model, optimizer, labelSmoothing: 0.1 }), {
    backend,
    bind: { batch },
    donate: { state: "state" },
  });
  const data = halves(2 * batch + 2);
  const trainer = new Trainer({ model, optimizer, program, data, batchSize: batch, seed });
  return { model, program, trainer };
}

Deno.test("a tiny ViT learns to tell halves apart, with dropout, and is evaluated", async () => {
  const { model, program, trainer } = await tinyTrainer(0, { dropout: 0.1 });
  using _ = program;
  const first = await trainer.next();
  assertAlmostEquals(first.loss, Math.log(2), 1e-6);
  assertEquals([first.step, first.learningRate], [1, Math.fround(0.01)]);
  while (trainer.step < 40) await trainer.next();
  const last = await trainer.next();
  assertEquals(last.accuracy, 1);
  // The loss of certainty, smoothed by 0.1 over two classes, cannot fall below the labels' entropy.
  assert(last.loss > 0.19 && last.loss < 0.35, `loss ${last.loss}`);
  using inference = await compile(inferenceGraph(model), { backend, bind: { batch: 3 } });
  inference.set({ parameters: await program.get("state/parameters") });
  const form = { ...model, batchSize: 3 };
  assertEquals(await evaluate(inference, halves(10), form), { count: 10, right: 10, accuracy: 1 });
  const { classes, logits } = await predict(inference, halves(4), form);
  assertEquals([...classes], [0, 1, 0, 1]);
  assert((logits[2] ?? NaN) < (logits[3] ?? NaN) && logits.length === 8);
});

gpuTest(
  "training on WebGPU goes as on WASM: the same batches, random bits and losses",
  async (gpu) => {
    const form = { dropout: 0.1 };
    const one = await tinyTrainer(3, { ...form, backend: wasm({ threads: 1 }) });
    using _one = one.program;
    const two = await tinyTrainer(3, { ...form, backend: gpu });
    using _two = two.program;
    for (let step = 0; step < 30; step++) {
      const [expected, found] = [await one.trainer.next(), await two.trainer.next()];
      assertEquals([found.step, found.accuracy], [expected.step, expected.accuracy]);
      assertAlmostEquals(found.loss, expected.loss, 1e-4 * expected.loss);
    }
    assertEquals(await two.program.get("state/key"), await one.program.get("state/key"));
  },
);

gpuTest("a wider model's residuals with dropout are trained on WebGPU as on WASM", async (gpu) => {
  const form = { width: 64, depth: 2, dropout: 0.1 };
  const one = await tinyTrainer(3, { ...form, backend: wasm({ threads: 1 }) });
  using _one = one.program;
  const two = await tinyTrainer(3, { ...form, backend: gpu });
  using _two = two.program;
  for (let step = 0; step < 20; step++) {
    const [expected, found] = [await one.trainer.next(), await two.trainer.next()];
    assertAlmostEquals(found.loss, expected.loss, 1e-5 * expected.loss);
  }
});

const SMALL_LIMITS = {
  "bindings of 1 MiB": {
    form: { width: 64, mlpWidth: 1024, batch: 96 },
    limits: { maxStorageBufferBindingSize: 2 ** 20, maxBufferSize: 3 * 2 ** 19 },
    steps: 3,
  },
  "four bindings of 1 KiB": {
    form: {},
    limits: { maxStorageBufferBindingSize: 2 ** 10, maxStorageBuffersPerShaderStage: 4 },
    steps: 10,
  },
} as const;

for (const [name, { form, limits, steps }] of Object.entries(SMALL_LIMITS)) {
  gpuTest(`training on WebGPU with ${name}, less than its tensors, goes as on WASM`, async () => {
    const one = await tinyTrainer(3, { ...form, backend: wasm({ threads: 1 }) });
    using _one = one.program;
    const two = await tinyTrainer(3, { ...form, backend: await limitedGpu(limits) });
    using _two = two.program;
    for (let step = 0; step < steps; step++) {
      const [expected, found] = [await one.trainer.next(), await two.trainer.next()];
      assertEquals([found.step, found.accuracy], [expected.step, expected.accuracy]);
      assertAlmostEquals(found.loss, expected.loss, 1e-4 * expected.loss);
      assertAlmostEquals(found.gradientNorm, expected.gradientNorm, 1e-4 * expected.gradientNorm);
    }
  });
}

Deno.test("a run that is saved goes on elsewhere to the same bits, on another number of threads", async () => {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/run.safetensors`;
  try {
    const one = await tinyTrainer(5, { dropout: 0.2, backend: wasm({ threads: 2 }) });
    using _one = one.program;
    for (let step = 0; step < 3; step++) await one.trainer.next();
    await one.trainer.save(path);
    const two = await tinyTrainer(5, { dropout: 0.2, backend: wasm({ threads: 1 }) });
    using _two = two.program;
    await two.trainer.resume(path);
    assertEquals(two.trainer.step, 3);
    assertEquals(await two.trainer.parameters(), await one.trainer.parameters());
    for (let step = 3; step < 8; step++) {
      assertEquals(await two.trainer.next(), await one.trainer.next());
    }
    assertEquals(await two.program.get("state"), await one.program.get("state"));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a checkpoint of another run is refused, and changes nothing", async () => {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/run.safetensors`;
  try {
    const { trainer, program } = await tinyTrainer(5);
    using _ = program;
    await trainer.next();
    await trainer.save(path);
    const other = await tinyTrainer(6);
    using _other = other.program;
    await assertRejects(
      () => other.trainer.resume(path),
      ResumeError,
      "seed is 5 there and 6 here",
    );
    const wider = await tinyTrainer(5, { mlpWidth: 17 });
    using _wider = wider.program;
    const before = await wider.trainer.parameters();
    await assertRejects(
      () => wider.trainer.resume(path),
      ResumeError,
      "model.mlpWidth is 16 there and 17 here",
    );
    assertEquals([other.trainer.step, wider.trainer.step], [0, 0]);
    assertEquals(await wider.trainer.parameters(), before);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a loss that is not finite stops the run, and says when", async () => {
  const { program, trainer } = await tinyTrainer(0);
  using _ = program;
  await trainer.next();
  const { head, ...rest } = await program.get("state/parameters");
  const bias = Float32Array.of(Infinity, 0);
  program.set({ state: { parameters: { ...rest, head: { ...head, bias } } } });
  const error = await assertRejects(() => trainer.next(), DivergenceError, "The loss of step 2 is");
  assertEquals(error.report.step, 2);
});

Deno.test("each epoch sees every image once, in an order of its own that the seed decides", () => {
  const data: ImageDataset = {
    images: Float32Array.from({ length: 6 }, (_, index) => index),
    labels: Uint8Array.of(0, 1, 0, 1, 0, 1),
    count: 6,
  };
  const seen = (seed: number, steps: readonly number[]) => {
    const batches = new Batches(data, 2, hostKey(seed));
    assertEquals(batches.perEpoch, 3);
    return steps.map((step) => [...batches.at(step).images]);
  };
  const [a = [], b = [], c = [], ...second] = seen(1, [0, 1, 2, 3, 4, 5]);
  assertEquals([...a, ...b, ...c].sort(), [0, 1, 2, 3, 4, 5]);
  assert(String([a, b, c]) !== String(second));
  assertEquals(seen(1, [5, 0]), [second[2], a]);
  assert(String(seen(2, [0, 1, 2])) !== String([a, b, c]));
});

Deno.test("bytes become numbers from -1 to 1; floats stay as they are", () => {
  const labels = Uint8Array.of(1, 0);
  const bytes = { images: Uint8Array.of(0, 255, 51, 102), labels, count: 2 };
  assertEquals(batchOf(bytes, [1, 0]), {
    images: Float32Array.of(51 / 127.5 - 1, 102 / 127.5 - 1, -1, 1),
    labels: Int32Array.of(0, 1),
  });
  const floats = { images: Float32Array.of(7, 8, -9, 3), labels, count: 2 };
  assertEquals(batchOf(floats, [0]).images, Float32Array.of(7, 8));
});

Deno.test("a data set that does not fit is refused", () => {
  const form = { imageShape: [4, 4, 1], classes: 2 } as const;
  const good = halves(4);
  checkDataset(good, form);
  const cases: [ImageDataset, string][] = [
    [{ ...good, count: 5 }, "has 64 pixels, wanted 80: 5 images of 4 x 4 x 1"],
    [{ ...good, labels: good.labels.slice(1) }, "has 3 labels, wanted 4"],
    [{ ...good, labels: Uint8Array.of(0, 1, 2, 0) }, "Label 2 of the data set is 2, wanted 0 to 1"],
  ];
  for (const [data, message] of cases) {
    assertThrows(() => checkDataset(data, form), RangeError, message);
  }
  assertThrows(() => new Batches(good, 5, hostKey(0)), RangeError, "batchSize is 5, wanted 1 to 4");
});
