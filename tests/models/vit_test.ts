import { type Backend, compile, wasm } from "../../backends/mod.ts";
import { evaluate, evaluateGraph } from "../../backends/reference/evaluate.ts";
import { gradients } from "../../compiler/autodiff.ts";
import {
  dim,
  flattenTree,
  isTensor,
  type Node,
  randomKey,
  ShapeError,
  spec,
  topologicalOrder,
  trace,
} from "../../graph/mod.ts";
import type { VitOptions } from "../../models/config.ts";
import { normal } from "../../models/initializers.ts";
import { classificationLoss } from "../../models/losses.ts";
import { initialize, isDeclaration } from "../../models/parameters.ts";
import { hostFoldIn, hostKey, hostWords } from "../../models/random_words.ts";
import { parameterCount, vitVariant } from "../../models/variants.ts";
import { imageSpec } from "../../models/image_model.ts";
import type { HostTensor } from "../../models/host_tensor.ts";
import { namedTensors, valuesFrom } from "../../models/weights.ts";
import { vit } from "../../models/vit.ts";
import { above4GiB } from "../support/above_4_gib.ts";
import { assert, assertEquals, assertNotEquals, assertThrows } from "../support/assert.ts";
import { gpuTest } from "../support/gpu.ts";
import { limitedGpu } from "../support/limited_gpu.ts";
import golden from "../golden/vit_small.json" with { type: "json" };
import { distance, goldenConfig, goldenTensors, inputOf, norm, numbersOf } from "./golden_vit.ts";

const GELUS = ["tanh", "erf"] as const;
const LOSSES = ["softmax", "sigmoid"] as const;
const BATCH = { batch: golden.config.batch };

/** A graph's constants are f32, such as the epsilon in the gradient of a norm. */
const GRADIENT_TOLERANCE = 1e-7;

/** The golden file's names of what we name otherwise. */
const TAP_NAMES: [RegExp, string][] = [[/after_attention$/, "+attention"], [/output$/, "+mlp"]];
/** Inside our attention op. */
const HIDDEN_TAPS = /attention\/(logits|weights)$/;

function traceGolden(gelu: "tanh" | "erf") {
  const model = vit(goldenConfig(gelu));
  return trace({
    parameters: model.parameterSpecs,
    inputs: { images: imageSpec(model), labels: spec("f32", [dim("batch"), model.classes]) },
  }, ({ parameters, inputs }) => {
    const { logits, taps } = model.apply(parameters, inputs.images);
    const judged = (name: "softmax" | "sigmoid") => {
      const loss = classificationLoss(name, logits, inputs.labels);
      return { loss, gradients: gradients(loss, { parameters, images: inputs.images }) };
    };
    const losses = { softmax: judged("softmax"), sigmoid: judged("sigmoid") };
    return { logits, taps: Object.fromEntries(taps), losses };
  });
}

async function evaluateGolden(gelu: "tanh" | "erf") {
  const tensors = await goldenTensors();
  const graph = traceGolden(gelu);
  const inputs = new Map([...graph.inputs.keys()].map((path) => [path, inputOf(tensors, path)]));
  const values = evaluateGraph(graph.outputs.values(), inputs, BATCH);
  const relativeError = (node: Node | undefined, name: string, size?: number) => {
    const value = node === undefined ? undefined : values.get(node);
    if (value === undefined) throw new Error(`We have no "${name}"`);
    const wanted = numbersOf(tensors, name);
    return distance(value.data, wanted) / (size ?? norm(wanted));
  };
  return { ...graph.outputTree, relativeError };
}

Deno.test("the small ViT's intermediates are JAX's", async () => {
  for (const gelu of GELUS) {
    const { logits, taps, relativeError } = await evaluateGolden(gelu);
    assert(relativeError(logits, `outputs/${gelu}/logits`) < 1e-13);
    const names = Object.keys(golden.taps).filter((name) => !HIDDEN_TAPS.test(name));
    assertEquals(names.length, 6 + 11 * golden.config.depth);
    for (const name of names) {
      const ours = TAP_NAMES.reduce((text, [theirs, own]) => text.replace(theirs, own), name);
      const error = relativeError(taps[ours], `taps/${gelu}/${name}`);
      assert(error < 1e-13, `${gelu} ${name}: relative error ${error}`);
    }
  }
});

Deno.test("the small ViT's losses and all gradients are JAX's", async () => {
  for (const gelu of GELUS) {
    const { losses, relativeError } = await evaluateGolden(gelu);
    for (const name of LOSSES) {
      const { loss, gradients } = losses[name];
      assert(relativeError(loss, `outputs/${gelu}/${name}_loss`) < 1e-13);
      const found = flattenTree(gradients.parameters, isTensor);
      assertEquals([...found.keys()].sort(), Object.keys(golden.parameters).sort());
      const wholeNorm = golden.results[`${gelu}/${name}`].gradientNorm;
      for (const [path, node] of found) {
        const size = golden.tolerance.zeroGradients.includes(path) ? wholeNorm : undefined;
        const error = relativeError(node, `gradients/${gelu}/${name}/${path}`, size);
        assert(error < GRADIENT_TOLERANCE, `${gelu} ${name} ${path}: relative error ${error}`);
      }
      const images = `input_gradients/${gelu}/${name}/images`;
      assert(relativeError(gradients.images, images) < GRADIENT_TOLERANCE);
    }
  }
});

/** What the issue asks of f32: of each gradient's own norm. */
const F32_TOLERANCE = 1e-5;

type Tensors = ReadonlyMap<string, HostTensor>;

/** Losses and gradients on a backend, whose distance from the goldens is checked. */
async function checkedRun(gelu: typeof GELUS[number], tensors: Tensors, backend: Backend) {
  using program = await compile(traceGolden(gelu), { backend, bind: BATCH });
  const result = await program.run({
    parameters: valuesFrom(vit(goldenConfig(gelu)).declarations, parametersOf(tensors), "golden"),
    inputs: {
      images: Float32Array.from(numbersOf(tensors, "inputs/images")),
      labels: Float32Array.from(numbersOf(tensors, "inputs/labels")),
    },
  });
  for (const name of LOSSES) {
    const { loss, gradients } = result.losses[name] ?? {};
    const facts = golden.results[`${gelu}/${name}`];
    const difference = Math.abs((loss?.data[0] ?? NaN) - facts.loss);
    assert(
      difference < F32_TOLERANCE * facts.loss,
      `${gelu} ${name} loss differs by ${difference}`,
    );
    const found = [...namedTensors(gradients?.parameters)];
    assert(found.length > 0);
    for (const [path, { data }] of found) {
      const wanted = numbersOf(tensors, `gradients/${gelu}/${name}/${path}`);
      const isZero = golden.tolerance.zeroGradients.includes(path);
      const error = distance(data, wanted) / (isZero ? facts.gradientNorm : norm(wanted));
      assert(error < F32_TOLERANCE, `${gelu} ${name} ${path}: relative error ${error}`);
    }
  }
  return result;
}

Deno.test("on WASM, losses and all gradients are JAX's, and the same bits on one thread and two", async () => {
  const tensors = await goldenTensors();
  for (const gelu of GELUS) {
    const one = await checkedRun(gelu, tensors, wasm({ threads: 1 }));
    for (const backend of [wasm({ threads: 2 }), above4GiB(wasm({ threads: 2 }))]) {
      assertEquals(await checkedRun(gelu, tensors, backend), one);
    }
  }
});

gpuTest("on WebGPU, losses and all gradients are JAX's", async (backend) => {
  const tensors = await goldenTensors();
  for (const gelu of GELUS) await checkedRun(gelu, tensors, backend);
});

gpuTest("on WebGPU with small bindings and buffers, all gradients are JAX's", async () => {
  const tensors = await goldenTensors();
  const limits = { maxStorageBufferBindingSize: 16384, maxBufferSize: 20480 };
  await checkedRun("tanh", tensors, await limitedGpu(limits));
});

function parametersOf(tensors: ReadonlyMap<string, HostTensor>): Map<string, HostTensor> {
  return new Map(
    [...tensors].flatMap(([name, tensor]) =>
      name.startsWith("parameters/") ? [[name.replace("parameters/", ""), tensor] as const] : []
    ),
  );
}

const tiny: VitOptions = {
  imageSize: 7,
  patchSize: 3,
  channels: 2,
  width: 8,
  depth: 2,
  mlpWidth: 12,
  heads: 2,
  classes: 5,
};

/** Logits of one image with every parameter drawn, so that no head of zeros hides the rest. */
function tinyLogits(options: VitOptions, forward: { training?: boolean; seed?: number } = {}) {
  const model = vit(options);
  const { training = false, seed } = forward;
  const key = seed === undefined ? undefined : randomKey(seed);
  const graph = trace(
    { parameters: model.parameterSpecs, images: imageSpec(model) },
    ({ parameters, images }) => model.apply(parameters, images, { training, key }).logits,
  );
  const noise = normal(0.5);
  const values = flattenTree(model.declarations, isDeclaration);
  const inputs = new Map([...graph.inputs].map(([path, { shape }]) => {
    const { size = 98 } = values.get(path.replace("parameters/", "")) ?? {};
    const words = (count: number) => hostWords(hostFoldIn(hostKey(1), path), count);
    const bound = shape.map((dim) => typeof dim === "number" ? dim : 1);
    return [path, {
      dtype: "f32",
      shape: bound,
      data: Float64Array.from(noise(size, words)),
    }] as const;
  }));
  return [...evaluate(graph.outputTree, inputs, { batch: 1 }).data];
}

Deno.test("dropout draws by its key, and only while training", () => {
  const dropping = { ...tiny, dropout: 0.5 };
  assertEquals(tinyLogits(dropping), tinyLogits(tiny));
  assertEquals(tinyLogits(dropping, { seed: 3 }), tinyLogits(tiny));
  const trained = tinyLogits(dropping, { training: true, seed: 3 });
  assertNotEquals(trained, tinyLogits(tiny));
  assertEquals(trained, tinyLogits(dropping, { training: true, seed: 3 }));
  assertNotEquals(trained, tinyLogits(dropping, { training: true, seed: 4 }));
  assertThrows(
    () => tinyLogits(dropping, { training: true }),
    TypeError,
    "Cannot train with dropout 0.5 without a random key",
  );
});

Deno.test("a parallel block drops from its hidden numbers and its sum, attention pooling not at all", () => {
  const still: VitOptions = { ...tiny, block: "parallel", pool: "map" };
  const dropping = { ...still, dropout: 0.5 };
  assertEquals(tinyLogits(dropping, { seed: 3 }), tinyLogits(still));
  assertNotEquals(tinyLogits(dropping, { training: true, seed: 3 }), tinyLogits(still));
  assertEquals(timesDropped(dropping), 1 + 2 * 2);
  assertEquals(timesDropped({ ...dropping, block: "serial" }), 1 + 2 * 3);
});

/** Every drop selects between a number and zero; nothing else in the model selects. */
function timesDropped(options: VitOptions): number {
  const model = vit(options);
  const { outputTree } = trace(
    {
      parameters: model.parameterSpecs,
      images: imageSpec(model),
      key: spec("u32", [2]),
    },
    ({ parameters, images, key }) =>
      model.apply(parameters, images, { training: true, key }).logits,
  );
  return topologicalOrder([outputTree]).filter(({ op }) => op.name === "select").length;
}

Deno.test("the hidden layer and pooling over tokens change the parameters as declared", () => {
  const cases: VitOptions[] = [tiny, { ...tiny, pool: "gap" }, { ...tiny, representationSize: 6 }];
  const logits = cases.map((options) => {
    const model = vit(options);
    const declared = [...flattenTree(model.declarations, isDeclaration).values()];
    const total = declared.reduce((sum, { size }) => sum + size, 0);
    assertEquals(total, parameterCount(model.config));
    return tinyLogits(options);
  });
  assertEquals(new Set(logits.map(String)).size, cases.length);
  assertEquals(logits.map((row) => row.length), [5, 5, 5]);
});

Deno.test("a fresh ViT answers with its head's bias, whatever it sees", () => {
  const model = vit({ ...tiny, headBias: -6.9 });
  const { head, encoder, cls, position } = initialize(model.declarations, 0);
  assertEquals(new Set(head.kernel), new Set([0]));
  assertEquals(new Set(head.bias), new Set([Math.fround(-6.9)]));
  assertEquals(new Set(cls), new Set([0]));
  assertEquals(new Set(encoder[1]?.norm2?.scale), new Set([1]));
  assertEquals(encoder[0]?.attention.query.kernel.length, 64);
  assertNotEquals(encoder[0]?.attention.query.kernel, encoder[0]?.attention.key.kernel);
  assert(norm(position) > 0 && norm(position) < 0.02 * 2 * Math.sqrt(position.length));
});

Deno.test("nodes know their place in the model", () => {
  const model = vit(tiny);
  const { outputTree: taps } = trace(
    { parameters: model.parameterSpecs, images: imageSpec(model) },
    ({ parameters, images }) => Object.fromEntries(model.apply(parameters, images).taps),
  );
  assertEquals(taps["encoder/1/attention/heads"]?.scope, "encoder/1/attention");
  assertEquals(taps["encoder/0/mlp/active"]?.scope, "encoder/0/mlp");
  assertEquals(taps["logits"]?.scope, "head");
});

Deno.test("images of another shape are refused with both shapes", () => {
  const model = vit(tiny);
  const error = assertThrows(
    () =>
      trace(
        { parameters: model.parameterSpecs, images: spec("f32", [dim("batch"), 7, 7, 3]) },
        ({ parameters, images }) => model.apply(parameters, images).logits,
      ),
    ShapeError,
    "vit: wanted images f32[batch, 7, 7, 2]",
  );
  assert(error.message.includes("images: f32[batch, 7, 7, 3]"), error.message);
});

Deno.test("every parameter of the largest variant has a key of its own", () => {
  const paths = [...flattenTree(vit(vitVariant("H/14")).declarations, isDeclaration).keys()];
  assertEquals(paths.length, 4 + 32 * 16 + 4);
  const keys = new Set(paths.map((path) => hostFoldIn(hostKey(0), path).join()));
  assertEquals(keys.size, paths.length);
});
