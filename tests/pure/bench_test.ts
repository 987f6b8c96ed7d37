import { assert, assertAlmostEquals, assertEquals, assertThrows } from "../support/assert.ts";
import { HELP, readOptions, UsageError } from "../../bench/arguments.ts";
import { noise, parametersOf, trainingBatch } from "../../bench/data.ts";
import { FED_FLOPS, startFedMultiplyAdds } from "../../bench/fovea/fed_fma.ts";
import { PEAK_FLOPS, startPeak } from "../../bench/fovea/fma_peak.ts";
import { jaxShape } from "../../bench/jax/parameters.ts";
import { permuted, sideBySide } from "../../bench/layout.ts";
import { entriesOf } from "../../bench/measure.ts";
import { FOVEA, JAX, ORT_NODE, ORT_WEB, SYSTEMS, TFJS } from "../../bench/systems.ts";
import { targetsOf } from "../../bench/targets.ts";
import { flopsOf, forwardFlops, GPU_WORKS, type TimedWork, WORKS } from "../../bench/works.ts";
import { vitVariant } from "../../models/mod.ts";

/** The first timed work of that name. */
function timedWork(name: string): TimedWork {
  const work = WORKS.find((work) => work.name === name);
  if (
    work?.suite === "matmul" || work?.suite === "forward" ||
    work?.suite === "train"
  ) return work;
  throw new TypeError(`"${name}" is no timed work`);
}

function smallTraining() {
  const work = timedWork("vit-small-28px train b64");
  if (work.suite !== "train") {
    throw new TypeError("The small ViT is no training work");
  }
  return work;
}

Deno.test("bench: on WebGPU there are works of its own, for those who have it, on one thread", () => {
  const options = readOptions(["--backend", "webgpu"], 8);
  assertEquals(options?.threads, [1]);
  assertEquals(options?.works, GPU_WORKS);
  for (const work of GPU_WORKS) {
    const peers = SYSTEMS.filter(({ does }) => does(work));
    assertEquals(peers, work.suite === "train" ? [FOVEA, JAX] : [FOVEA, ORT_WEB, JAX]);
    assert(JAX.settings(work, 1).every((setting) => !setting.includes("workers")));
  }
  const [first] = readOptions(["--backend", "webgpu", "--only", "512"], 8)?.works ?? [];
  assertEquals(first?.name, "webgpu matmul 512x512x512");
  assertThrows(
    () => readOptions(["--backend", "cuda"], 2),
    UsageError,
    "--backend is cuda, wanted wasm or webgpu",
  );
});

Deno.test("bench: on WebGPU the goal is to be ahead of every peer", () => {
  const goals = targetsOf(GPU_WORKS, { peaks: [], comparisons: [], starts: [], dispatches: [] });
  const [host, ...rest] = goals.toReversed();
  const trainings = GPU_WORKS.filter(({ suite }) => suite === "train").length;
  assertEquals(rest.length, 2 * (GPU_WORKS.length - 1) - trainings);
  assert(rest.every(({ goal, wanted }) => goal.startsWith("webgpu ") && wanted === 1));
  assertEquals([host?.goal, host?.wanted, host?.unit, host?.atLeast], [
    "webgpu host cost per dispatch",
    20,
    "us",
    false,
  ]);
});

Deno.test("bench: without arguments everything is measured", () => {
  assertEquals(readOptions([], 8), {
    json: false,
    works: WORKS,
    systems: SYSTEMS,
    threads: [1, 2],
    seconds: 2,
    patience: 45,
    everySetting: false,
    quick: false,
    tune: true,
    ownDriver: false,
  });
  assertEquals(readOptions(["--no-tune"], 1)?.tune, false);
  assertEquals(readOptions([], 1)?.threads, [1]);
});

Deno.test("bench: arguments narrow what is measured", () => {
  const options = readOptions(
    [
      "--json",
      "--only",
      "vit-small",
      "--systems",
      "@jax-js/jax,fovea",
      "--threads",
      "2,4,2",
    ],
    2,
  );
  assertEquals(options?.json, true);
  assertEquals(options?.works.map(({ name }) => name), [
    "vit-small-28px train b64",
  ]);
  assertEquals(options?.systems, [FOVEA, JAX]);
  assertEquals(options?.threads, [2, 4]);
  assertEquals(readOptions(["--systems", "fovea"], 2)?.systems, [FOVEA]);
  assertEquals(readOptions(["--seconds", "0.25"], 2)?.seconds, 0.25);
  assertEquals(readOptions(["--patience", "300"], 2)?.patience, 300);
  assertEquals(readOptions(["--quick"], 2)?.seconds, 0.5);
  assertEquals(readOptions(["--quick", "--seconds", "1"], 2)?.seconds, 1);
});

Deno.test("bench: a work's whole name means that work alone, a part all that have it", () => {
  const chosen = (text: string) =>
    readOptions(["--only", text], 2)?.works.map(({ name }) => name) ?? [];
  assertEquals(chosen("vit-b16 compile"), ["vit-b16 compile"]);
  assertEquals(chosen("matmul 1024x1024x1024").length, 2);
  assertEquals(chosen("vit-b16 forward"), [
    "vit-b16 forward b1",
    "vit-b16 forward b8",
  ]);
});

Deno.test("bench: works that no chosen system can do are left out", () => {
  const training = readOptions(["--systems", "@jax-js/jax", "--only", "b8"], 2);
  assert(
    training?.works.every(({ suite }) => suite === "forward" || suite === "train"),
  );
  const native = readOptions(["--systems", "onnxruntime-node"], 2)?.works ?? [];
  assertEquals(
    new Set(native.map(({ suite }) => suite)),
    new Set(["machine", "matmul", "forward", "compile"]),
  );
  assertThrows(
    () => readOptions(["--systems", "onnxruntime-web", "--only", "train"], 2),
    UsageError,
    "No system of --systems (onnxruntime-web) can do what --only asks for",
  );
});

Deno.test("bench: help names every work and system", () => {
  assertEquals(readOptions(["--help"], 2), undefined);
  for (const { name } of [...WORKS, ...SYSTEMS]) {
    assert(HELP.includes(name), name);
  }
});

Deno.test("bench: arguments that make no sense are refused", () => {
  const wrong: readonly (readonly [readonly string[], string])[] = [
    [["--only", "resnet"], "--only is resnet"],
    [["--systems", "fovea,tfjs"], '--systems has "tfjs"'],
    [["--threads", "0"], "--threads is 0, wanted a number > 0"],
    [["--threads", "1.5"], "--threads has 1.5, wanted whole numbers"],
    [["--seconds", "soon"], "--seconds is soon"],
    [["--patience", "0"], "--patience is 0, wanted a number > 0"],
    [["--seconds", ""], "--seconds is , wanted a number > 0"],
    [["--fast"], "--fast"],
    [["fast"], "fast"],
  ];
  for (const [args, message] of wrong) {
    assertThrows(() => readOptions(args, 2), UsageError, message);
  }
});

Deno.test("bench: peers' versions are those of the import map, and their settings differ", () => {
  for (const peer of SYSTEMS.filter((system) => system !== FOVEA)) {
    assert(/^\d+\.\d+\.\d+$/.test(peer.version), peer.name);
    for (const work of WORKS.filter(peer.does)) {
      const settings = peer.settings(work, 2);
      assert(
        settings.length >= 1 && new Set(settings).size === settings.length,
        peer.name,
      );
    }
  }
});

const OPTIONS = {
  systems: SYSTEMS,
  threads: [1, 2],
  everySetting: false,
  quick: false,
  tune: true,
  gpu: { software: false },
};

Deno.test("bench: every system runs with every number of threads and setting", () => {
  const entries = entriesOf(timedWork("vit-s16 forward b1"), OPTIONS);
  const names = entries.map(({ system, threads }) => `${system.name} ${threads}`);
  assertEquals(names.length, 10);
  assertEquals(new Set(names).size, 10);
  assertEquals(
    entries.filter(({ system }) => system === TFJS).map(({ settings }) => settings),
    [
      ["heads apart", "heads together"],
      ["heads apart", "heads together"],
    ],
  );
  assertEquals(entries.filter(({ system }) => system === ORT_NODE).length, 2);
});

Deno.test("bench: peers do heavy works on the most threads, at their best known setting", () => {
  const work = timedWork("vit-b16 forward b8");
  const peers = entriesOf(work, OPTIONS).filter(({ system }) => system !== FOVEA);
  assert(peers.length === 4 && peers.every(({ threads }) => threads === 2));
  assert(peers.every(({ settings }) => settings.length === 1));
  const ours = entriesOf(work, OPTIONS).filter(({ system }) => system === FOVEA);
  assertEquals(ours.map(({ threads }) => threads), [1, 2]);
  const thorough = entriesOf(work, { ...OPTIONS, everySetting: true });
  assertEquals(
    thorough.find(({ system }) => system === JAX)?.settings.length,
    4,
  );
  const light = entriesOf(timedWork("vit-s16 forward b1"), {
    ...OPTIONS,
    quick: true,
  });
  assertEquals(light.length, 6);
});

Deno.test("bench: in Node.js all run on one thread", () => {
  const work = WORKS.find((work) => work.suite === "matmul" && work.host === "node");
  assert(work?.suite === "matmul");
  for (const quick of [false, true]) {
    const entries = entriesOf(work, { ...OPTIONS, quick });
    assertEquals(entries.map(({ system, threads }) => [system, threads]), [
      [FOVEA, 1],
      [ORT_NODE, 1],
    ]);
  }
  assert(!ORT_WEB.does(work));
});

Deno.test("bench: FLOPs are those of the matrix products, two for each multiply-add", () => {
  assertAlmostEquals(forwardFlops(vitVariant("B/16")) / 1e9, 35.1, 0.05);
  assertAlmostEquals(forwardFlops(vitVariant("S/16")) / 1e9, 9.2, 0.05);
  assertAlmostEquals(forwardFlops(vitVariant("Ti/16")) / 1e9, 2.5, 0.05);
  const block = 4 * 17 * 64 * 64 + 2 * 17 * 17 * 64 + 2 * 17 * 64 * 256;
  assertEquals(
    flopsOf(smallTraining()),
    3 * 64 * 2 * (16 * 49 * 64 + 4 * block + 640),
  );
  assertEquals(flopsOf(timedWork("matmul 197x768x3072")), 2 * 197 * 768 * 3072);
});

Deno.test("bench: noise is the same each time, spread over [-1, 1), and differs by name", () => {
  const values = noise("a", 10_000);
  assertEquals(noise("a", 10_000), values);
  assert(values.every((value) => value >= -1 && value < 1));
  assertAlmostEquals(
    values.reduce((sum, value) => sum + value, 0) / values.length,
    0,
    0.03,
  );
  assert(noise("b", 10_000).some((value, index) => value !== values[index]));
});

Deno.test("bench: parameters have the model's shapes, norms' factors around one", () => {
  const config = smallTraining().config;
  const parameters = [...parametersOf(config)];
  for (const { path, shape, values } of parameters) {
    assertEquals(values.length, shape.reduce((a, b) => a * b, 1), path);
    const middle = path.endsWith("scale") ? 1 : 0;
    assert(
      values.every((value) => Math.abs(value - middle) <= 0.1 + 1e-6),
      path,
    );
  }
  assert(parameters.some(({ path }) => path === "encoder/3/norm2/scale"));
});

Deno.test("bench: the training batch is the same each time, and in range", () => {
  const { images, labels } = trainingBatch(smallTraining());
  assertEquals(trainingBatch(smallTraining()), { images, labels });
  assertEquals([images.length, labels.length], [64 * 28 * 28, 64]);
  assert(labels.every((label) => label >= 0 && label < 10));
  assert(new Set(labels).size > 5);
});

Deno.test("bench: the multiply-add kernels compute what they should", async () => {
  assertEquals(await startPeak().step(), [24]);
  assertEquals(PEAK_FLOPS, 2 * 4 * 12 * 4 * 100_000);
  // Every product is of ones: each sum is its number of steps.
  assertEquals(await startFedMultiplyAdds().step(), [12 * 16_384]);
  assertEquals(FED_FLOPS, 2 * 4 * 12 * 16_384);
});

Deno.test("bench: parameters get jax-js's shapes", () => {
  assertEquals(jaxShape("patch/kernel", [7, 7, 1, 64]), [49, 64]);
  assertEquals(jaxShape("encoder/0/attention/query/kernel", [64, 4, 16]), [
    64,
    64,
  ]);
  assertEquals(jaxShape("encoder/0/attention/out/kernel", [4, 8, 64]), [
    32,
    64,
  ]);
  assertEquals(jaxShape("encoder/0/attention/value/kernel", [64, 4, 8]), [
    64,
    32,
  ]);
  assertEquals(jaxShape("encoder/0/attention/value/bias", [4, 8]), [32]);
  assertEquals(jaxShape("encoder/0/mlp/in/kernel", [64, 256]), [64, 256]);
  assertEquals(jaxShape("position", [17, 64]), [17, 64]);
});

Deno.test("bench: arrays are put in the orders that peers want", () => {
  const values = Float32Array.from({ length: 24 }, (_, index) => index);
  const turned = permuted(values, [2, 3, 4], [2, 0, 1]);
  for (let index = 0; index < 24; index++) {
    const [i, j, k] = [
      Math.floor(index / 12),
      Math.floor(index / 4) % 3,
      index % 4,
    ];
    assertEquals(turned[k * 6 + i * 3 + j], index);
  }
  const [left, right] = [
    Float32Array.of(1, 2, 3, 4),
    Float32Array.of(5, 6, 7, 8),
  ];
  assertEquals(
    sideBySide([left, right], 2, 2),
    Float32Array.of(1, 2, 5, 6, 3, 4, 7, 8),
  );
});
