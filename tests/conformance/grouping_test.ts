/** Kernels that run as one step: how many an optimizer takes, and the same bits as one by one. */
import { type Backend, wasm } from "../../backends/mod.ts";
import type { HostData } from "../../backends/host_array.ts";
import { evaluateGraph } from "../../backends/reference/evaluate.ts";
import type { FusionOptions } from "../../compiler/fusion_rules.ts";
import { lowerGraph } from "../../compiler/pipeline.ts";
import type { Program } from "../../compiler/program.ts";
import type { ReferenceTensor } from "../../graph/op.ts";
import { bindDim } from "../../graph/shape.ts";
import { adam, type Optimizer, sgd } from "../../models/optimizers.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { errorAgainst } from "../support/conformance.ts";
import { gpuTest } from "../support/gpu.ts";
import { InterpretedProgram } from "../support/interpret_program.ts";
import { inputNumbers, smallTrainingStep, updateSteps } from "../support/optimizer_case.ts";

const RULE = "group_independent_kernels";
const UNGROUPED: FusionOptions = { off: [RULE] };
/** Of an output's largest magnitude (at least 1), after two steps. */
const TOLERANCE = 1e-5;
const STEPS = 2;

const schedule = { kind: "constant", learningRate: 0.01 } as const;
const OPTIMIZERS: Readonly<Record<string, { optimizer: Optimizer; groups: number }>> = {
  "Adam with clipping": { optimizer: adam({ schedule, clipNorm: 0.5 }), groups: 1 },
  "Adam with decay and clipping": {
    optimizer: adam({ schedule, clipNorm: 0.5, weightDecay: 0.1 }),
    groups: 2,
  },
  "Adam with two rates of decay": {
    optimizer: adam({
      schedule,
      clipNorm: 0.5,
      weightDecay: 0.1,
      decayGroups: [["kernel$", 1], ["bias$", 0.5]],
    }),
    groups: 3,
  },
  "SGD with momentum, decay and clipping": {
    optimizer: sgd({ schedule, clipNorm: 0.5, weightDecay: 0.1 }),
    groups: 2,
  },
  "SGD with clipping, without momentum": {
    optimizer: sgd({ schedule, momentum: 0, clipNorm: 0.5 }),
    groups: 1,
  },
};

function lowerStep(optimizer: Optimizer, fusion: FusionOptions = {}): Program {
  const { graph, bind, donate } = smallTrainingStep(optimizer);
  return lowerGraph(graph, { bind, donate, target: { alignment: 64 }, fusion });
}

/** What two steps give when interpreted. */
function interpreted(program: Program): Map<string, number[]> {
  const runner = new InterpretedProgram(program);
  for (const { path, dtype, shape } of program.inputs) {
    runner.write(path, inputNumbers(path, dtype, shape.reduce((a, b) => a * b, 1)));
  }
  for (let step = 0; step < STEPS; step++) runner.run();
  return new Map(program.outputs.map(({ path }) => [path, runner.read(path)]));
}

/** What two steps give on a backend. */
async function onBackend(
  backend: Backend,
  optimizer: Optimizer,
  fusion: FusionOptions,
): Promise<Map<string, HostData>> {
  const { graph, bind, donate } = smallTrainingStep(optimizer);
  using executable = await backend.prepare(graph, { bind, donate, fusion });
  for (const { path, dtype, shape } of executable.inputs) {
    const data = inputNumbers(path, dtype, shape.reduce((a, b) => a * b, 1));
    executable.write(path, { data });
  }
  const paths = executable.outputs.map(({ path }) => path);
  for (let step = 1; step < STEPS; step++) await executable.run([]);
  const results = await executable.run(paths);
  return new Map([...results].map(([path, { data }]) => [path, data]));
}

/** What two steps give in f64. */
function expected(optimizer: Optimizer): Map<string, ArrayLike<number>> {
  const { graph, bind } = smallTrainingStep(optimizer);
  const values = new Map<string, ReferenceTensor>();
  for (const [path, node] of graph.inputs) {
    const shape = node.shape.map((size) => bindDim(size, bind));
    const data = inputNumbers(path, node.dtype, shape.reduce((a, b) => a * b, 1));
    values.set(path, { dtype: node.dtype, shape, data: Float64Array.from(data) });
  }
  for (let step = 1;; step++) {
    const results = evaluateGraph([...graph.outputs.values()], values, bind);
    const tensors = new Map<string, ReferenceTensor>();
    for (const [path, node] of graph.outputs) {
      const result = results.get(node);
      if (result !== undefined) tensors.set(path, result);
    }
    if (step === STEPS) return new Map([...tensors].map(([path, { data }]) => [path, data]));
    for (const [path, tensor] of tensors) if (path.startsWith("state/")) values.set(path, tensor);
  }
}

for (const [name, { optimizer, groups }] of Object.entries(OPTIMIZERS)) {
  Deno.test(`${name}: as many update kernels as groups of parameters, right and the same bits`, () => {
    const [grouped, single] = [lowerStep(optimizer), lowerStep(optimizer, UNGROUPED)];
    const updates = updateSteps(grouped);
    const parameters = grouped.outputs.filter(({ path }) => path.startsWith("state/parameters/"));
    assertEquals(updates.length, groups);
    assertEquals(updates.reduce((total, { members }) => total + members, 0), parameters.length);
    assertEquals(updateSteps(single).length, parameters.length);
    const wanted = expected(optimizer);
    const found = interpreted(grouped);
    assertEquals(found, interpreted(single));
    for (const [path, values] of found) {
      const error = errorAgainst(values, wanted.get(path) ?? []);
      assert(error <= TOLERANCE, `Output "${path}" is off by ${error}`);
    }
  });

  Deno.test(`${name} on WASM: right, and the same bits grouped or not, on one thread or two`, async () => {
    const wanted = expected(optimizer);
    const results = [];
    for (const threads of [1, 2]) {
      const backend = wasm({ threads, microkernel: "6x8" });
      results.push(await onBackend(backend, optimizer, {}));
      results.push(await onBackend(backend, optimizer, UNGROUPED));
    }
    const [first = new Map<string, HostData>(), ...others] = results;
    for (const other of others) assertEquals(other, first);
    for (const [path, values] of wanted) {
      const error = errorAgainst(first.get(path) ?? [], values);
      assert(error <= TOLERANCE, `Output "${path}" is off by ${error}`);
    }
  });

  gpuTest(`${name} on WebGPU: right, and the same bits grouped or not`, async (backend) => {
    const [grouped, single] = [
      await onBackend(backend, optimizer, {}),
      await onBackend(backend, optimizer, UNGROUPED),
    ];
    assertEquals(single, grouped);
    for (const [path, values] of expected(optimizer)) {
      const error = errorAgainst(grouped.get(path) ?? [], values);
      assert(error <= TOLERANCE, `Output "${path}" is off by ${error}`);
    }
  });
}
