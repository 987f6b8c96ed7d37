/** Memory while training on WebGPU: flat, on the device and on the host. */
import { assert, assertEquals } from "../support/assert.ts";
import { gpuTest } from "../support/gpu.ts";
import { SETTLING_STEPS, type SoakSample } from "./webgpu_soak.ts";

const STEPS = 500;
/** What an engine's garbage may come to between collections; a buffer of the program lost a step is more. */
const RESIDENT_SLACK = 24 * 2 ** 20;

gpuTest("webgpu: training keeps memory where it was after the first steps", async () => {
  const script = new URL("./webgpu_soak.ts", import.meta.url).pathname;
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-read", "--no-prompt", script, String(STEPS)],
    stdout: "piped",
    stderr: "piped",
  }).output();
  assert(success, new TextDecoder().decode(stderr));
  const samples: SoakSample[] = JSON.parse(new TextDecoder().decode(stdout));
  assertEquals(samples.at(0)?.step, SETTLING_STEPS);
  assert(samples.length >= STEPS / SETTLING_STEPS - 1);
  const [first] = samples;
  for (const { step, device, resident } of samples) {
    assertEquals(device, first?.device);
    const grown = resident - (first?.resident ?? 0);
    assert(grown < RESIDENT_SLACK, `${grown} bytes more are resident after step ${step}`);
  }
});
