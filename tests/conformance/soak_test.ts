/**
 * Memory while training for long: flat, on the device and on the host, after the first 50 steps.
 * `deno task soak` trains for 2,000 steps and prints what it finds.
 */
import { assert, assertEquals } from "../support/assert.ts";
import { gpuTest } from "../support/gpu.ts";
import { SOAKED, type SoakSample, STRETCH } from "./soak.ts";

const asked = Deno.env.get("FOVEA_SOAK_STEPS");
const STEPS = Number(asked ?? 500);

const KIB = 2 ** 10;
const MIB = 2 ** 20;

/** How the engine treats garbage, and by how much memory may then rise between any two samples. */
const MODES = [
  {
    // What is left is what somebody holds, and code: the engine compiles some late, and pages of its own
    // are mapped late.
    name: "with garbage collected at each sample",
    flags: "--expose-gc,--max-semi-space-size=1",
    rises: { heap: 512 * KIB, external: 256 * KIB, resident: 2 * MIB },
  },
  {
    // Young garbage gets little room, so that it is garbage that has grown old which counts. The engine
    // waits for more of that: in some processes each step's inputs, 2 kB, are of it. And it knows
    // nothing of what the objects of a GPU that are in it hold natively: in Deno, an encoder, a pass and
    // a command buffer that do nothing, 2 kB a run.
    name: "with garbage left to the engine",
    flags: "--max-semi-space-size=1",
    rises: { heap: 8 * MIB, external: 8 * MIB, resident: 16 * MIB },
  },
] as const;

/** The most by which a value exceeds an earlier one: what falls in between does not hide a rise. */
function largestRise(values: readonly number[]): number {
  let lowest = Infinity;
  let rise = 0;
  for (const value of values) {
    lowest = Math.min(lowest, value);
    rise = Math.max(rise, value - lowest);
  }
  return rise;
}

async function samplesOf(backend: string, flags: string): Promise<SoakSample[]> {
  const script = new URL("./soak.ts", import.meta.url).pathname;
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--allow-read",
      "--no-prompt",
      `--v8-flags=${flags}`,
      script,
      backend,
      String(STEPS),
    ],
    stdout: "piped",
    stderr: "piped",
  }).output();
  assert(success, new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout));
}

async function soakTest(backend: typeof SOAKED[number], mode: typeof MODES[number]): Promise<void> {
  const samples = await samplesOf(backend, mode.flags);
  assertEquals(samples.map(({ step }) => step), stretches(STEPS));
  const [first] = samples;
  for (const { device, account } of samples) {
    assertEquals(device, first?.device);
    assertEquals(account, device);
  }
  for (const what of ["heap", "external", "resident"] as const) {
    const values = samples.map((sample) => sample[what]);
    const rise = largestRise(values);
    if (asked !== undefined) console.log(summary(what, values, rise));
    const most = mode.rises[what];
    assert(rise <= most, `${what} memory rose by ${rise} bytes, wanted at most ${most}: ${values}`);
  }
}

function stretches(steps: number): number[] {
  return Array.from({ length: Math.floor(steps / STRETCH) }, (_, at) => (at + 1) * STRETCH);
}

function summary(what: string, values: readonly number[], rise: number): string {
  const mb = (bytes: number | undefined) => ((bytes ?? NaN) / 1e6).toFixed(2);
  return `${what}: ${mb(values.at(0))} MB after ${STRETCH} steps, ${mb(values.at(-1))} MB after ` +
    `${STEPS}, largest rise ${mb(rise)} MB`;
}

for (const mode of MODES) {
  for (const backend of SOAKED) {
    const name = `${backend}: training keeps memory where it was, ${mode.name}`;
    if (backend === "webgpu") gpuTest(name, () => soakTest(backend, mode));
    else Deno.test(name, () => soakTest(backend, mode));
  }
}

Deno.test("soak: a rise is found under falls, and a fall is none", () => {
  assertEquals(largestRise([9, 4, 5, 3]), 1);
  assertEquals(largestRise([20, 21, 22, 3, 4, 5, 6]), 3);
  assertEquals(largestRise([5, 5]), 0);
});
