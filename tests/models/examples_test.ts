import { readSafetensors } from "../../models/safetensors_file.ts";
import { assert, assertEquals, assertMatch, assertStringIncludes } from "../support/assert.ts";
import { gpuTest } from "../support/gpu.ts";
import { distance, norm, numbersOf } from "./golden_vit.ts";

interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly errors: string;
}

function start(
  folder: string,
  script: string,
  args: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
): Deno.ChildProcess {
  const root = new URL("../../", import.meta.url);
  return new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--quiet",
      "--no-check",
      "--allow-read",
      "--allow-write",
      `--config=${new URL("deno.json", root).pathname}`,
      new URL(`examples/${script}`, root).pathname,
      ...args,
    ],
    cwd: folder,
    env,
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

async function outcome(child: Deno.ChildProcess): Promise<Outcome> {
  const { code, stdout, stderr } = await child.output();
  const decoder = new TextDecoder();
  return { code, out: decoder.decode(stdout), errors: decoder.decode(stderr) };
}

async function run(...given: Parameters<typeof start>): Promise<Outcome> {
  return await outcome(start(...given));
}

async function inFolder(test: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("example: the README's script trains, saves, loads and is right", () =>
  inFolder(async (folder) => {
    const { code, out, errors } = await run(folder, "readme.ts");
    assertEquals([code, errors], [0, ""]);
    const losses = [...out.matchAll(/loss ([0-9.]+)/g)].map(([, loss]) => Number(loss));
    assertEquals(losses.length, 3);
    const [, accuracy] = /accuracy: ([0-9.]+) %/.exec(out) ?? [];
    assert(Number(accuracy) > 85, out);
    assert((await Deno.stat(`${folder}/readme_vit.safetensors`)).size > 100_000);
  }));

Deno.test("example: the hand-written loss prints what its header says", () =>
  inFolder(async (folder) => {
    const { code, out, errors } = await run(folder, "custom_loss.ts");
    assertEquals([code, errors], [0, ""]);
    assertMatch(out, /^gradient check: error [0-9]e-(0[89]|8|9|1[0-9])$/m);
    assertStringIncludes(out, "square loss: y = 2.66 x + 2.22");
    assertStringIncludes(out, "Huber loss:  y = 2.04 x + 1.06");
  }));

Deno.test("example: the foreign file is written, read, and named where it is wrong", () =>
  inFolder(async (folder) => {
    const { code, out, errors } = await run(folder, "foreign_safetensors.ts");
    assertEquals([code, errors], [0, ""]);
    assertStringIncludes(
      out,
      "foreign_vit.safetensors: 32 tensors, the first blocks.0.attn.proj.bias",
    );
    assertStringIncludes(out, "5445 parameters");
    assertMatch(out, /logits of a grey image: (-?[0-9]+\.[0-9]{3} ?){5}/);
  }));

Deno.test("example: the MNIST demo trains, judges, and draws", () =>
  inFolder(async (folder) => {
    const args = [
      "--limit",
      "2048",
      "--epochs",
      "2",
      "--threads",
      "2",
      "--out",
      "digits.safetensors",
    ];
    const { code, out, errors } = await run(folder, "mnist.ts", args);
    assertEquals([code, errors], [0, ""]);
    assertMatch(
      out,
      /epoch 2\/2 \[#{24}\] 100 % {2}loss [0-9.]+ {2}[0-9,]+ images\/s {2}0:00 left/,
    );
    const [, accuracy] = /accuracy: ([0-9.]+) % \([0-9]+ of 2048 test images\)/.exec(out) ?? [];
    assert(Number(accuracy) > 40, out);
    assertMatch(out, /⣿.* -> 7/s);
    assert((await Deno.stat(`${folder}/digits.safetensors`)).size > 500_000);
  }));

Deno.test("example: an interrupted MNIST run goes on to the bits of one that was not", () =>
  inFolder(async (folder) => {
    const common = ["--limit", "1024", "--epochs", "3", "--seed", "3"];
    const whole = await run(folder, "mnist.ts", [...common, "--out", "whole.safetensors"]);
    assertEquals(whole.code, 0, whole.errors);
    const child = start(folder, "mnist.ts", [...common, "--out", "parts.safetensors"]);
    const [watched, kept] = child.stdout.tee();
    await until(watched, "epoch 1/3");
    child.kill("SIGINT");
    const { code } = await child.status;
    await child.stderr.cancel();
    assertStringIncludes(await new Response(kept).text(), "--resume goes on from parts.checkpoint");
    assertEquals(code, 130);
    const rest = await run(folder, "mnist.ts", [
      ...common,
      "--out",
      "parts.safetensors",
      "--threads",
      "1",
      "--resume",
    ]);
    assertEquals(rest.code, 0, rest.errors);
    assertMatch(rest.out, /going on after step [1-9][0-9]* of parts\.checkpoint\.safetensors/);
    assertEquals(
      await Deno.readFile(`${folder}/parts.safetensors`),
      await Deno.readFile(`${folder}/whole.safetensors`),
    );
  }));

/** Reads the stream until it holds the text. */
async function until(stream: ReadableStream<Uint8Array>, text: string): Promise<void> {
  let seen = "";
  for await (const part of stream.pipeThrough(new TextDecoderStream())) {
    seen += part;
    if (seen.includes(text)) return;
  }
  throw new Error(`The program ended without "${text}": ${seen}`);
}

Deno.test("example: the MNIST demo explains itself and refuses what it cannot follow", () =>
  inFolder(async (folder) => {
    const help = await run(folder, "mnist.ts", ["--help"]);
    assertEquals(help.code, 0);
    for (const name of ["epochs", "seed", "threads", "out", "resume", "backend", "no-tune"]) {
      assertStringIncludes(help.out, `--${name}`);
    }
    const cases: [string[], string][] = [
      [["--epochs", "0"], "--epochs is 0, wanted a whole number >= 1"],
      [["--backend", "gpu"], "--backend is gpu, wanted wasm, webgpu, auto, reference"],
      [["--color"], "Unknown option '--color'"],
      [["--resume", "--limit", "64", "--out", "none.safetensors"], "none.checkpoint.safetensors"],
    ];
    for (const [args, message] of cases) {
      const { code, errors } = await run(folder, "mnist.ts", args);
      assertEquals(code, 2, errors);
      assertStringIncludes(errors, message);
      assert(!errors.includes("    at "), errors);
    }
  }));

Deno.test("example: the MNIST demo says what WebGPU wants where it finds no adapter, or no tuning", () =>
  inFolder(async (folder) => {
    const args = ["--backend", "webgpu", "--limit", "64", "--epochs", "1"];
    // Nothing but Vulkan, and of its drivers none.
    const env = {
      DENO_WEBGPU_BACKEND: "vulkan",
      VK_DRIVER_FILES: "/dev/null",
      VK_ICD_FILENAMES: "/dev/null",
    };
    const none = await run(folder, "mnist.ts", args, env);
    assertEquals([none.code, none.out], [2, ""]);
    assertStringIncludes(none.errors, "WebGPU has found no adapter");
    assertStringIncludes(none.errors, "mesa-vulkan-drivers");
    await Deno.writeTextFile(`${folder}/webgpu_tuning.json`, "[]");
    const { code, errors } = await run(folder, "mnist.ts", args, env);
    assertEquals(code, 2, errors);
    assertStringIncludes(errors, "webgpu_tuning.json holds no tuning");
    assert(!(none.errors + errors).includes("    at "), none.errors + errors);
  }));

gpuTest(
  "example: the MNIST demo comes to the same weights and answers on WebGPU as on WASM",
  () =>
    inFolder(async (folder) => {
      const train = async (backend: string) => {
        const out = `${backend}.safetensors`;
        const args = ["--limit", "512", "--epochs", "1", "--seed", "7", "--no-tune", "--out", out];
        const done = await run(folder, "mnist.ts", ["--backend", backend, ...args]);
        assertEquals(done.code, 0, done.errors);
        const { tensors } = await readSafetensors(`${folder}/${out}`);
        return { answers: done.out.slice(done.out.indexOf("accuracy: ")), tensors };
      };
      const [wasm, webgpu] = [await train("wasm"), await train("webgpu")];
      assertEquals(webgpu.answers, wasm.answers);
      for (const name of wasm.tensors.keys()) {
        const [wanted, found] = [numbersOf(wasm.tensors, name), numbersOf(webgpu.tensors, name)];
        // To a bias of the keys softmax is blind: what it has of a gradient is rounding.
        const scale = name.replace(/key\/bias$/, "key/kernel");
        const error = distance(found, wanted) / norm(numbersOf(wasm.tensors, scale));
        assert(error < 1e-4, `${name}: ${error}`);
      }
    }),
);
