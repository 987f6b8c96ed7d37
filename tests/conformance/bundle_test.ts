import { assert, assertEquals } from "../support/assert.ts";
import { commandOnPath, laneTest } from "../support/lanes.ts";
import { distance, goldenConfig, goldenTensors, norm, numbersOf } from "../models/golden_vit.ts";
import golden from "../golden/vit_small.json" with { type: "json" };
import { buildBundle } from "../tools/bundle.ts";

/** What the project promises a page that loads it. */
const MOST_GZIP_BYTES = 120_000;
const TOLERANCE = 1e-5;

const CLIENT = new URL("./bundle_client.mjs", import.meta.url).pathname;
const WEIGHTS = new URL("../golden/vit_small.safetensors", import.meta.url).href;

let built: ReturnType<typeof buildBundle> | undefined;

Deno.test("the inference bundle is one small file that imports nothing", async () => {
  const { gzipBytes, imports, text } = await (built ??= buildBundle());
  assert(gzipBytes <= MOST_GZIP_BYTES, `${gzipBytes} bytes, wanted at most ${MOST_GZIP_BYTES}`);
  assertEquals(imports, []);
  assert(!text.includes("worker.ts"), "Workers are loaded from a file");
});

/** Runs the golden ViT from the bundle, in a process started by `command`. */
async function runGolden(command: string, args: readonly string[]): Promise<void> {
  const { text } = await (built ??= buildBundle());
  const folder = await Deno.makeTempDir({ prefix: "fovea_bundle_" });
  try {
    const bundle = `file://${folder}/inference.mjs`;
    await Deno.writeTextFile(new URL(bundle), text);
    for (const gelu of ["tanh", "erf"] as const) {
      const logits = [];
      for (const threads of [1, 2]) {
        const { batch } = golden.config;
        const task = { bundle, weights: WEIGHTS, config: goldenConfig(gelu), threads, batch };
        logits.push(await runClient(command, [...args, CLIENT, JSON.stringify(task)], threads));
      }
      const wanted = numbersOf(await goldenTensors(), `outputs/${gelu}/logits`);
      const [one = [], two = []] = logits;
      assertEquals(one, two);
      const error = distance(one, wanted) / norm(wanted);
      assert(error < TOLERANCE, `${gelu}: relative error ${error}`);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function runClient(
  command: string,
  args: string[],
  threads: number,
): Promise<readonly number[]> {
  const process = new Deno.Command(command, { args, cwd: "/", stderr: "piped", stdout: "piped" });
  const { success, stdout, stderr } = await process.output();
  // Node.js prints the line at fault, which here is the whole bundle; the message comes after it.
  const errors = new TextDecoder().decode(stderr).slice(-2000);
  assert(success, errors);
  assertEquals(errors, "");
  const { logits, again, description } = JSON.parse(new TextDecoder().decode(stdout));
  assert(description.startsWith(threads === 1 ? "wasm: one thread" : `wasm: ${threads} threads`));
  assertEquals(again, logits);
  return logits;
}

Deno.test("the bundle runs the golden ViT in Deno, on one thread and two", async () => {
  await runGolden(Deno.execPath(), ["run", "--no-config", "--no-prompt", "--allow-read"]);
});

const node = commandOnPath(
  ["node"],
  /^v(2\d|[3-9]\d|\d{3})\./,
  "Node.js 20 or later as `node` on the PATH",
);

laneTest("the bundle runs the golden ViT in Node.js, on one thread and two", node, async (path) => {
  await runGolden(path, []);
});

/** A script that trains nothing, but could, and chooses among all backends. */
const SCRIPT = `
import { compile, reference, wasm, webgpu } from "@fovea/fovea/backends";
import { gradients } from "@fovea/fovea/compiler";
import { square, spec, sum, trace } from "@fovea/fovea/graph";
const graph = trace({ x: spec("f32", [3]) }, ({ x }) => gradients(sum(square(x)), { x }));
for (const backend of [reference(), wasm({ threads: 2 })]) {
  using program = await compile(graph, { backend });
  const { x } = await program.run({ x: Float32Array.of(1, 2, 3) });
  console.log(backend.capabilities.name, ...x.data);
}
console.log(typeof webgpu);
`;

Deno.test("a script's bundle, with the library's modules by their names, runs alone", async () => {
  const folder = await Deno.makeTempDir({ prefix: "fovea_bundle_" });
  try {
    const [entry, out] = [`${folder}/page.ts`, `${folder}/page.js`];
    await Deno.writeTextFile(entry, SCRIPT);
    const { text, imports } = await buildBundle(new URL(`file://${entry}`));
    assertEquals(imports, []);
    await Deno.writeTextFile(out, text);
    const process = new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-config", "--no-prompt", "--allow-read", out],
      cwd: "/",
      stderr: "piped",
      stdout: "piped",
    });
    const { success, stdout, stderr } = await process.output();
    assert(success, new TextDecoder().decode(stderr).slice(-2000));
    assertEquals(new TextDecoder().decode(stdout), "reference 2 4 6\nwasm 2 4 6\nfunction\n");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
