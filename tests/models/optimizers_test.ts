import { evaluateGraph } from "../../backends/reference/evaluate.ts";
import { type ReferenceTensor, spec, trace, type TracedGraph } from "../../graph/mod.ts";
import { ConfigError } from "../../models/config.ts";
import { readSafetensors } from "../../models/safetensors_file.ts";
import { adam, type AdamOptions, type Optimizer, sgd } from "../../models/optimizers.ts";
import { learningRateAt } from "../../models/schedules.ts";
import { assert, assertAlmostEquals, assertEquals, assertThrows } from "../support/assert.ts";
import golden from "../golden/optimizer.json" with { type: "json" };
import { distance, inputOf, norm, numbersOf } from "./golden_vit.ts";

const PATHS = Object.keys(golden.parameters);
/** A graph's constants are f32, such as Adam's 0.999. */
const TOLERANCE = 1e-6;
const constantRate = { kind: "constant", learningRate: 0.01 } as const;

type Run = typeof golden.runs[keyof typeof golden.runs];

function optimizerOf(run: Run): Optimizer {
  const { learningRate, weightDecay, clipNorm } = run;
  const options = {
    schedule: "warmup" in run
      ? {
        kind: run.schedule === "cosine" ? "cosine" as const : "linear" as const,
        learningRate,
        warmupSteps: run.warmup,
        totalSteps: run.total,
      }
      : { kind: "constant" as const, learningRate },
    weightDecay,
    decayGroups: golden.decayMultipliers.map((group) => {
      const [pattern, multiplier] = group;
      return [String(pattern), Number(multiplier)] as [string, number];
    }),
    ...(clipNorm === null ? {} : { clipNorm }),
  };
  return run.optimizer === "adam" ? adam(options) : sgd(options);
}

type Specs = Record<string, ReturnType<typeof spec>>;

function traceUpdate(optimizer: Optimizer, shapes: Record<string, readonly number[]>) {
  const specs: Specs = Object.fromEntries(
    Object.entries(shapes).map(([path, shape]) => [path, spec("f32", shape)]),
  );
  return trace({
    parameters: specs,
    gradients: specs,
    state: Object.fromEntries(optimizer.slots.map((slot) => [slot, specs])),
    step: spec("i32", []),
  }, (input) => optimizer.update(input));
}

type Values = Map<string, ReferenceTensor>;

function run(graph: TracedGraph, inputs: Values): Values {
  const values = evaluateGraph(graph.outputs.values(), inputs);
  return new Map([...graph.outputs].flatMap(([path, node]) => {
    const value = values.get(node);
    return value === undefined ? [] : [[path, value] as const];
  }));
}

function zerosLike(tensor: ReferenceTensor | undefined): ReferenceTensor {
  if (tensor === undefined) throw new Error("There is no such tensor");
  return { ...tensor, data: new Float64Array(tensor.data.length) };
}

function scalar(dtype: "i32" | "f32", value: number): ReferenceTensor {
  return { dtype, shape: [], data: Float64Array.of(value) };
}

Deno.test("five updates with clipping, decay and schedules are those of the goldens", async () => {
  const path = new URL("../golden/optimizer.safetensors", import.meta.url);
  const { tensors } = await readSafetensors(path);
  for (const [name, described] of Object.entries(golden.runs)) {
    const optimizer = optimizerOf(described);
    const graph = traceUpdate(optimizer, golden.parameters);
    let held: Values = new Map(PATHS.flatMap((path) => {
      const initial = inputOf(tensors, `initial/${path}`);
      const slots = optimizer.slots.map((slot) =>
        [`state/${slot}/${path}`, zerosLike(initial)] as const
      );
      return [[`parameters/${path}`, initial] as const, ...slots];
    }));
    for (let step = 0; step < golden.steps; step++) {
      const gradients = PATHS.map((path) =>
        [`gradients/${path}`, inputOf(tensors, `gradients/${step}/${path}`)] as const
      );
      held = run(graph, new Map([...held, ...gradients, ["step", scalar("i32", step)]]));
      const rate = held.get("learningRate")?.data[0] ?? NaN;
      const wantedRate = described.learningRate * (described.scales[step] ?? NaN);
      assertAlmostEquals(rate, wantedRate, TOLERANCE * described.learningRate);
      assertAlmostEquals(rate, learningRateAt(optimizer.schedule, step), TOLERANCE * 0.01);
      const before = numbersOf(tensors, "gradient_norms")[step] ?? NaN;
      assertAlmostEquals(held.get("gradientNorm")?.data[0] ?? NaN, before, 1e-12 * before);
      for (const path of PATHS) {
        for (const kind of ["parameters", ...optimizer.slots]) {
          const ours = held.get(
            kind === "parameters" ? `${kind}/${path}` : `state/${kind}/${path}`,
          );
          const wanted = numbersOf(tensors, `runs/${name}/${step}/${kind}/${path}`);
          const error = distance(ours?.data ?? [], wanted) / norm(wanted);
          assert(
            error < TOLERANCE,
            `${name} step ${step} ${kind}/${path}: relative error ${error}`,
          );
        }
      }
      held.delete("learningRate");
      held.delete("gradientNorm");
    }
  }
});

/** How much one update takes away from a parameter of ones whose gradient is zero, by path. */
function decayOf(options: AdamOptions, paths: readonly string[]): number[] {
  const graph = traceUpdate(adam(options), Object.fromEntries(paths.map((path) => [path, []])));
  const inputs: Values = new Map([...graph.inputs.keys()].map((path) => {
    if (path === "step") return [path, scalar("i32", 0)];
    return [path, scalar("f32", path.startsWith("parameters/") ? 1 : 0)];
  }));
  const after = run(graph, inputs);
  return paths.map((path) => 1 - (after.get(`parameters/${path}`)?.data[0] ?? NaN));
}

Deno.test("only kernels decay, and the first pattern that matches decides", () => {
  const paths = ["kernel", "head/kernel", "mlp/kernel", "mlp/bias", "position", "kernel/scale"];
  const close = (found: readonly number[], wanted: readonly number[]) =>
    found.forEach((value, index) => assertAlmostEquals(value, wanted[index] ?? NaN, 1e-8));
  const base = { schedule: constantRate, weightDecay: 0.1 };
  close(decayOf(base, paths), [1e-3, 1e-3, 1e-3, 0, 0, 0]);
  const grouped: AdamOptions = { ...base, decayGroups: [["^head/", 100], ["kernel$", 1]] };
  close(decayOf(grouped, paths), [1e-3, 0.1, 1e-3, 0, 0, 0]);
  close(decayOf({ schedule: constantRate }, paths), [0, 0, 0, 0, 0, 0]);
});

Deno.test("Adam's bias correction keeps its digits after one step and after a million", () => {
  const graph = traceUpdate(adam({ schedule: constantRate }), { w: [] });
  for (const step of [0, 1, 10, 1000, 1_000_000]) {
    // Moments as constant gradients of 3 leave them: the update is then the rate itself.
    const first = 3 * (1 - 0.9 ** step);
    const second = 9 * (1 - 0.999 ** step);
    const after = run(
      graph,
      new Map([
        ["parameters/w", scalar("f32", 1)],
        ["gradients/w", scalar("f32", 3)],
        ["state/mu/w", scalar("f32", first)],
        ["state/nu/w", scalar("f32", second)],
        ["step", scalar("i32", step)],
      ]),
    );
    assertAlmostEquals(after.get("parameters/w")?.data[0] ?? NaN, 0.99, 1e-8, `step ${step}`);
  }
});

Deno.test("an optimizer that makes no sense is refused by field and value", () => {
  const cases: [() => unknown, string][] = [
    [() => adam({ schedule: constantRate, b1: 1 }), "b1 is 1, wanted a number from 0 up to"],
    [() => adam({ schedule: constantRate, epsilon: 0 }), "epsilon is 0, wanted a number > 0"],
    [() => sgd({ schedule: constantRate, clipNorm: -1 }), "clipNorm is -1, wanted a number > 0"],
    [
      () => sgd({ schedule: constantRate, weightDecay: 0.1, decayGroups: [["(", 1]] }),
      'decayGroups has "(", wanted a regular expression',
    ],
    [() => adam({ schedule: { kind: "cosine", learningRate: 1 } }), "totalSteps is missing"],
  ];
  for (const [build, message] of cases) assertThrows(build, ConfigError, message);
});

Deno.test("an optimizer describes itself as JSON", () => {
  const { configuration } = sgd({ schedule: constantRate });
  assertEquals(JSON.parse(JSON.stringify(configuration)), {
    name: "sgd",
    schedule: { ...constantRate, warmupSteps: 0, endLearningRate: 0 },
    momentum: 0.9,
    weightDecay: 0,
    decayGroups: [["(^|/)kernel$", 1]],
  });
});
