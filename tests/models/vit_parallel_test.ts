import { type Backend, compile, wasm } from "../../backends/mod.ts";
import { evaluateGraph } from "../../backends/reference/evaluate.ts";
import { gradients } from "../../compiler/autodiff.ts";
import { dim, flattenTree, isTensor, type Node, spec, trace } from "../../graph/mod.ts";
import type { VitOptions } from "../../models/config.ts";
import type { HostTensor } from "../../models/host_tensor.ts";
import { imageSpec } from "../../models/image_model.ts";
import { classificationLoss } from "../../models/losses.ts";
import { initialize, isDeclaration } from "../../models/parameters.ts";
import { readSafetensors } from "../../models/safetensors_file.ts";
import { parameterCount, vitVariant } from "../../models/variants.ts";
import { vit } from "../../models/vit.ts";
import { namedTensors, valuesFrom } from "../../models/weights.ts";
import { above4GiB } from "../support/above_4_gib.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { gpuTest } from "../support/gpu.ts";
import { limitedGpu } from "../support/limited_gpu.ts";
import golden from "../golden/vit_parallel.json" with { type: "json" };
import { distance, inputOf, norm, numbersOf } from "./golden_vit.ts";

const CASES = ["vit_22b", "one_out_bias", "centred", "serial_map"] as const;
const BATCH = { batch: golden.batch };

/** A graph's constants are f32, such as the epsilon in the gradient of a norm. */
const REFERENCE_TOLERANCE = 1e-7;
/** Of each gradient's own norm. */
const F32_TOLERANCE = 1e-5;

type CaseName = typeof CASES[number];

function configOf(name: CaseName): VitOptions {
  // The types of imported JSON have no literals; the configuration is checked when it is used.
  return golden.cases[name].config as VitOptions;
}

/** The case's tensors, by their names after the case's. */
async function tensorsOf(name: CaseName): Promise<ReadonlyMap<string, HostTensor>> {
  const { tensors } = await readSafetensors(
    new URL("../golden/vit_parallel.safetensors", import.meta.url),
  );
  return within(tensors, name);
}

function within(tensors: ReadonlyMap<string, HostTensor>, folder: string): Map<string, HostTensor> {
  const start = `${folder}/`;
  return new Map(
    [...tensors].flatMap(([path, tensor]) =>
      path.startsWith(start) ? [[path.slice(start.length), tensor] as const] : []
    ),
  );
}

function traceCase(name: CaseName) {
  const model = vit(configOf(name));
  return trace({
    parameters: model.parameterSpecs,
    inputs: { images: imageSpec(model), labels: spec("f32", [dim("batch"), model.classes]) },
  }, ({ parameters, inputs }) => {
    const { logits, taps } = model.apply(parameters, inputs.images);
    const loss = classificationLoss("softmax", logits, inputs.labels);
    const slopes = gradients(loss, { parameters, images: inputs.images });
    return { logits, loss, gradients: slopes, taps: Object.fromEntries(taps) };
  });
}

/** The size that errors of the gradient are measured by: the norm of all where its own is zero. */
function sizeOf(name: CaseName, path: string, wanted: Float64Array): number {
  const zeros: readonly string[] = golden.cases[name].zeroGradients;
  return zeros.includes(path) ? golden.cases[name].gradientNorm : norm(wanted);
}

Deno.test("parallel blocks, QK-norm and attention pooling: intermediates are JAX's", async () => {
  for (const name of CASES) {
    const tensors = await tensorsOf(name);
    const graph = traceCase(name);
    const inputs = new Map([...graph.inputs.keys()].map((path) => [path, inputOf(tensors, path)]));
    const { logits, taps } = graph.outputTree;
    const values = evaluateGraph([logits, ...Object.values(taps)], inputs, BATCH);
    const check = (node: Node | undefined, path: string) => {
      const data = node === undefined ? [] : values.get(node)?.data ?? [];
      const wanted = numbersOf(tensors, path);
      const error = distance(data, wanted) / norm(wanted);
      assert(error < 1e-13, `${name} ${path}: relative error ${error}`);
    };
    check(logits, "outputs/logits");
    for (const tap of Object.keys(golden.cases[name].taps)) check(taps[tap], `taps/${tap}`);
  }
});

Deno.test("parallel blocks, QK-norm and attention pooling: loss and all gradients are JAX's", async () => {
  for (const name of CASES) {
    const tensors = await tensorsOf(name);
    const graph = traceCase(name);
    const inputs = new Map([...graph.inputs.keys()].map((path) => [path, inputOf(tensors, path)]));
    const { loss, gradients: { parameters, images } } = graph.outputTree;
    const found = flattenTree(parameters, isTensor);
    assertEquals([...found.keys()].sort(), Object.keys(golden.cases[name].parameters).sort());
    const values = evaluateGraph([loss, images, ...found.values()], inputs, BATCH);
    const check = (node: Node, path: string, size?: number) => {
      const wanted = numbersOf(tensors, path);
      const error = distance(values.get(node)?.data ?? [], wanted) / (size ?? norm(wanted));
      assert(error < REFERENCE_TOLERANCE, `${name} ${path}: relative error ${error}`);
    };
    check(loss, "outputs/loss");
    check(images, "input_gradients/images");
    for (const [path, node] of found) {
      const wanted = `gradients/${path}`;
      check(node, wanted, sizeOf(name, path, numbersOf(tensors, wanted)));
    }
  }
});

/** Loss and gradients on a backend, whose distance from the goldens is checked. */
async function checkedRun(name: CaseName, backend: Backend) {
  const tensors = await tensorsOf(name);
  const { declarations } = vit(configOf(name));
  using program = await compile(traceCase(name), { backend, bind: BATCH });
  const { loss, gradients } = await program.run({
    parameters: valuesFrom(declarations, within(tensors, "parameters"), "golden"),
    inputs: {
      images: Float32Array.from(numbersOf(tensors, "inputs/images")),
      labels: Float32Array.from(numbersOf(tensors, "inputs/labels")),
    },
  });
  const { loss: wanted } = golden.cases[name];
  assert(Math.abs((loss.data[0] ?? NaN) - wanted) < F32_TOLERANCE * wanted, `${name} loss`);
  for (const [path, { data }] of namedTensors(gradients.parameters)) {
    const wanted = numbersOf(tensors, `gradients/${path}`);
    const error = distance(data, wanted) / sizeOf(name, path, wanted);
    assert(error < F32_TOLERANCE, `${name} ${path}, ${program.describe()}: error ${error}`);
  }
  return { loss, gradients };
}

Deno.test("parallel blocks, QK-norm and attention pooling on WASM: JAX's gradients, on one thread and two", async () => {
  for (const name of CASES) {
    const one = await checkedRun(name, wasm({ threads: 1 }));
    for (const backend of [wasm({ threads: 2 }), above4GiB(wasm({ threads: 2 }))]) {
      assertEquals(await checkedRun(name, backend), one);
    }
  }
});

gpuTest(
  "parallel blocks, QK-norm and attention pooling on WebGPU: JAX's gradients",
  async (backend) => {
    for (const name of CASES) await checkedRun(name, backend);
  },
);

gpuTest("parallel blocks and QK-norm on WebGPU with few bindings: JAX's gradients", async () => {
  const limits = { maxStorageBufferBindingSize: 16384, maxStorageBuffersPerShaderStage: 4 };
  for (const name of CASES) await checkedRun(name, await limitedGpu(limits));
});

Deno.test("what a configuration declares is what its closed form counts", () => {
  const { mlpWidth, ...rest } = configOf("vit_22b");
  const flags = ["mapQuery", "normBias", "qkNormBias", "qkvBias", "outBias", "mlpBias"] as const;
  const forms: Partial<VitOptions>[] = [
    {},
    { block: "serial", qkNorm: "none" },
    { norm: "layer", qkNorm: "layer" },
    { pool: "gap" },
    { pool: "cls", representationSize: 6 },
    ...flags.flatMap((flag) => [{ [flag]: true }, { [flag]: false }]),
  ];
  for (const form of forms) {
    const { config, declarations } = vit({ ...rest, mlpWidth, ...form });
    const declared = [...flattenTree(declarations, isDeclaration).values()];
    const total = declared.reduce((sum, { size }) => sum + size, 0);
    assertEquals(total, parameterCount(config), JSON.stringify(form));
  }
});

Deno.test("ViT-22B's parameters: one norm a block, its scales for queries and keys, few biases", () => {
  const { declarations } = vit(vitVariant("22B/14"));
  const leaves = flattenTree(declarations, isDeclaration);
  const shapes = new Map([...leaves].map(([path, { shape }]) => [path, [...shape]]));
  const inside = (start: string) =>
    Object.fromEntries([...shapes].filter(([path]) => path.startsWith(start)));
  assertEquals(inside("encoder/47/"), {
    "encoder/47/norm1/scale": [6144],
    "encoder/47/attention/query/kernel": [6144, 48, 128],
    "encoder/47/attention/key/kernel": [6144, 48, 128],
    "encoder/47/attention/value/kernel": [6144, 48, 128],
    "encoder/47/attention/out/kernel": [48, 128, 6144],
    "encoder/47/attention/out/bias": [6144],
    "encoder/47/attention/queryNorm/scale": [128],
    "encoder/47/attention/keyNorm/scale": [128],
    "encoder/47/mlp/in/kernel": [6144, 24576],
    "encoder/47/mlp/in/bias": [24576],
    "encoder/47/mlp/out/kernel": [24576, 6144],
    "encoder/47/mlp/out/bias": [6144],
  });
  assertEquals(inside("map/probe"), { "map/probe": [6144] });
  assertEquals(shapes.has("map/attention/query/kernel"), false);
  const total = [...leaves.values()].reduce((sum, { size }) => sum + size, 0);
  assertEquals(total, parameterCount(vitVariant("22B/14")));
});

Deno.test("QK-norm starts with scales of one, the probe within Glorot's limit", () => {
  const { encoder, map } = initialize(vit(configOf("vit_22b")).declarations, 0);
  assertEquals(encoder[1]?.attention.queryNorm, { scale: new Float32Array(4).fill(1) });
  assertEquals(encoder[1]?.attention.keyNorm, { scale: new Float32Array(4).fill(1) });
  const probe = [...map?.probe ?? []].map(Math.abs);
  assertEquals(probe.length, 12);
  const limit = Math.sqrt(6 / 13);
  assert(Math.max(...probe) < limit && Math.max(...probe) > limit / 2);
});
