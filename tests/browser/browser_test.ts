import { assert, assertEquals, assertMatch } from "../support/assert.ts";
import { findChromium } from "../support/chromium.ts";
import { laneTest } from "../support/lanes.ts";
import { distance, goldenConfig, goldenTensors, norm, numbersOf } from "../models/golden_vit.ts";
import golden from "../golden/vit_small.json" with { type: "json" };
import type { Result, Task } from "./client.ts";
import type { Outcome, Visit } from "./drive.ts";

const TOLERANCE = 1e-5;
const LEARNING_RATE = 0.25;
const GELU = "tanh";

const DRIVER = new URL("./drive.ts", import.meta.url).pathname;
const ROOT = new URL("../../", import.meta.url).pathname;

function visitOf(change: {
  readonly isolated: boolean;
  readonly caller: "main" | "worker";
  readonly threads?: number;
  readonly backend?: Task["backend"];
  readonly client?: Visit["client"];
}): Visit {
  const { isolated, caller, threads, backend = "wasm", client = "client.js" } = change;
  const task = {
    backend,
    config: goldenConfig(GELU),
    batch: golden.config.batch,
    learningRate: LEARNING_RATE,
    ...(threads === undefined ? {} : { threads }),
  };
  return { isolated, caller, client, task };
}

async function drive(browser: string, visits: readonly Visit[]): Promise<readonly Outcome[]> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    // The browser's driver reads /proc, for which Deno wants all permissions.
    args: ["run", "--allow-all", DRIVER, JSON.stringify({ browser, visits })],
    cwd: ROOT,
    stdout: "piped",
    stderr: "piped",
  }).output();
  assert(success, new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout));
}

async function checkLogits(result: Pick<Result, "logits" | "again">): Promise<void> {
  const logits = numbersOf(await goldenTensors(), `outputs/${GELU}/logits`);
  assert(distance(result.logits, logits) < TOLERANCE * norm(logits));
  assertEquals(result.again, result.logits);
}

async function checkResult(result: Result): Promise<void> {
  await checkLogits(result);
  const tensors = await goldenTensors();
  const wanted = (name: string) => numbersOf(tensors, name);
  const facts = golden.results[`${GELU}/softmax`];
  assert(Math.abs(result.loss - facts.loss) < TOLERANCE * facts.loss);
  assert(Math.abs(result.gradientNorm - facts.gradientNorm) < TOLERANCE * facts.gradientNorm);
  const paths = Object.keys(golden.parameters);
  assertEquals(Object.keys(result.gradients).sort(), paths.sort());
  for (const path of paths) {
    const gradient = wanted(`gradients/${GELU}/softmax/${path}`);
    const isZero = golden.tolerance.zeroGradients.includes(path);
    const size = isZero ? facts.gradientNorm : norm(gradient);
    const error = distance(result.gradients[path] ?? [], gradient) / size;
    assert(error < TOLERANCE, `${path}: the gradient's relative error is ${error}`);
    const before = wanted(`parameters/${path}`);
    const after = before.map((value, at) => value - LEARNING_RATE * (gradient[at] ?? NaN));
    const change = distance(result.parameters[path] ?? [], after);
    const scale = norm(before) + LEARNING_RATE * size;
    assert(change < TOLERANCE * scale, `${path}: after the step, it is off by ${change}`);
  }
}

const chromium = findChromium();

laneTest(
  "a browser infers and trains, on its main thread and in a worker",
  chromium,
  async (path) => {
    const cases = (["main", "worker"] as const).flatMap((caller) =>
      [1, 2].map((threads) => ({ isolated: true, caller, threads }))
    );
    const outcomes = await drive(path, cases.map(visitOf));
    assertEquals(outcomes.length, cases.length);
    const results = outcomes.map((outcome) => {
      assert("result" in outcome, JSON.stringify(outcome));
      return outcome.result;
    });
    for (const [at, { threads }] of cases.entries()) {
      const result = results[at];
      assert(result !== undefined);
      assertMatch(result.description, threads === 1 ? /^wasm: one thread,/ : /^wasm: 2 threads,/);
      await checkResult(result);
      assertEquals({ ...result, description: "" }, { ...results[0], description: "" });
    }
  },
);

laneTest("a page that is not isolated runs on one thread, and says so", chromium, async (path) => {
  const [alone, two] = await drive(path, [
    visitOf({ isolated: false, caller: "main" }),
    visitOf({ isolated: false, caller: "main", threads: 2 }),
  ]);
  assert(alone !== undefined && "result" in alone, JSON.stringify(alone));
  assertMatch(alone.result.description, /^wasm: one thread \(memory cannot be shared here\)/);
  await checkResult(alone.result);
  assert(two !== undefined && "error" in two, JSON.stringify(two));
  assertMatch(two.error, /^TypeError: Cannot run on 2 threads: .*cross-origin isolated/);
});

laneTest(
  "a browser infers with the inference bundle, on one thread and two",
  chromium,
  async (path) => {
    const cases = [1, 2].map((threads) =>
      ({ isolated: true, caller: "main", client: "inference_client.mjs", threads }) as const
    );
    for (const outcome of await drive(path, cases.map(visitOf))) {
      assert("result" in outcome, JSON.stringify(outcome));
      await checkLogits(outcome.result);
    }
  },
);

laneTest(
  "a browser infers and trains on WebGPU, on its main thread and in a worker",
  chromium,
  async (path) => {
    const cases = (["main", "worker"] as const).map((caller) =>
      ({ isolated: false, caller, backend: "webgpu" }) as const
    );
    for (const outcome of await drive(path, cases.map(visitOf))) {
      assert("result" in outcome, JSON.stringify(outcome));
      // Chromium's driver in software has subgroups, which shaders have to ask for there.
      assertMatch(outcome.result.description, /^webgpu: (?!.*without.*subgroups)/);
      await checkResult(outcome.result);
    }
  },
);
