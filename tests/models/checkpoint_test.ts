import fc from "../support/fast_check.ts";
import { z } from "zod";
import {
  type Checkpoint,
  CHECKPOINT_KEY,
  CheckpointError,
  loadCheckpoint,
  saveCheckpoint,
} from "../../models/checkpoint.ts";
import { type HostTensor, hostTensor } from "../../models/host_tensor.ts";
import { SafetensorsError } from "../../models/safetensors.ts";
import { readSafetensors, writeSafetensors } from "../../models/safetensors_file.ts";
import { assert, assertEquals, assertRejects } from "../support/assert.ts";
import { fileURLToPath } from "node:url";

async function inFolder(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "fovea_checkpoint_" });
  try {
    await run(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const configurationSchema = z.strictObject({
  width: z.int().min(1),
  schedule: z.strictObject({ rate: z.number(), kind: z.enum(["cosine", "linear"]) }),
});

const sample: Checkpoint<z.infer<typeof configurationSchema>> = {
  parameters: new Map<string, HostTensor>([
    ["encoder/0/weight", hostTensor("f32", [2, 1], Float32Array.of(0.1, -0))],
    ["__proto__", hostTensor("bf16", [], Uint16Array.of(0x3f80))],
  ]),
  optimizer: new Map([
    ["first/encoder/0/weight", hostTensor("f32", [2, 1], Float32Array.of(NaN, 1e-45))],
  ]),
  step: 1234,
  seed: Number.MAX_SAFE_INTEGER,
  position: { epoch: 2, batch: 17 },
  configuration: { width: 64, schedule: { rate: 1e-3, kind: "cosine" } },
};

Deno.test("a checkpoint is loaded as it was saved", async () => {
  await inFolder(async (folder) => {
    const path = `${folder}/run.safetensors`;
    await saveCheckpoint(path, sample);
    assertEquals(await loadCheckpoint(path, configurationSchema), sample);
    const { tensors } = await readSafetensors(path);
    assertEquals([...tensors.keys()].sort(), [
      "optimizer/first/encoder/0/weight",
      "parameters/__proto__",
      "parameters/encoder/0/weight",
    ]);
    assertEquals([...Deno.readDirSync(folder)].length, 1);
  });
});

Deno.test("any JSON configuration survives", async () => {
  await inFolder(async (folder) => {
    const path = `${folder}/run.safetensors`;
    await fc.assert(
      fc.asyncProperty(fc.jsonValue(), fc.maxSafeNat(), async (configuration, step) => {
        await saveCheckpoint(path, { ...sample, configuration, step });
        const loaded = await loadCheckpoint(path, z.unknown());
        assertEquals(loaded.step, step);
        // Through JSON, because -0 is kept as 0.
        assertEquals(loaded.configuration, JSON.parse(JSON.stringify(configuration)));
      }),
      { numRuns: 30 },
    );
  });
});

Deno.test("a checkpoint that cannot be kept is refused, naming the field, and nothing is written", async () => {
  await inFolder(async (folder) => {
    const path = `${folder}/run.safetensors`;
    const check = async (change: Partial<Checkpoint>, field: string, message: string) => {
      const save = () => saveCheckpoint(path, { ...sample, ...change });
      const error = await assertRejects(save, CheckpointError);
      assertEquals(error.message, `Cannot save checkpoint ${path}: field ${field}: ${message}`);
      assertEquals([error.path, error.field], [path, field]);
    };
    await check({ step: -1 }, "step", "Too small: expected number to be >=0");
    await check({ seed: 0.5 }, "seed", "Invalid input: expected int, received number");
    await check(
      { position: { epoch: NaN, batch: 0 } },
      "position.epoch",
      "Invalid input: expected number, received NaN",
    );
    await check({ configuration: undefined }, "configuration", "Missing");
    const inside = (value: unknown) => ({ configuration: { schedule: [{ rate: value }] } });
    const rate = "configuration.schedule.0.rate";
    await check(inside(NaN), rate, "NaN cannot be kept as JSON");
    await check(inside(-Infinity), rate, "-Infinity cannot be kept as JSON");
    await check(inside(undefined), rate, "undefined cannot be kept as JSON");
    await check(inside(1n), rate, "bigint cannot be kept as JSON");
    await check(inside(new Map()), rate, "an object of class Map cannot be kept as JSON");
    await check(
      inside("\ud800"),
      rate,
      "a string with a lone surrogate cannot be kept as JSON",
    );
    await check(
      inside(new Array(2)),
      rate,
      "an array with holes or named members cannot be kept as JSON",
    );
    const cyclic: { self?: unknown } = {};
    cyclic.self = cyclic;
    await check(
      { configuration: cyclic },
      "configuration.self",
      "an object that contains itself cannot be kept as JSON",
    );
    assertEquals([...Deno.readDirSync(folder)], []);
  });
});

Deno.test("a file that is not a checkpoint is refused, naming the file and the field", async () => {
  await inFolder(async (folder) => {
    const path = `${folder}/run.safetensors`;
    const sound = {
      version: 1,
      step: 3,
      seed: 0,
      position: { epoch: 0, batch: 3 },
      configuration: sample.configuration,
    };
    const check = async (text: string | undefined, field: string | undefined, message: string) => {
      await writeSafetensors(path, [], text === undefined ? [] : [[CHECKPOINT_KEY, text]]);
      const load = () => loadCheckpoint(path, configurationSchema);
      const error = await assertRejects(load, CheckpointError);
      const place = field === undefined ? "" : `field ${field}: `;
      assertEquals(error.message, `Cannot load checkpoint ${path}: ${place}${message}`);
      assertEquals([error.path, error.field], [path, field]);
    };
    const changed = (change: object) => JSON.stringify({ ...sound, ...change });
    await check(undefined, undefined, "its metadata has no fovea.checkpoint");
    await check("{", "fovea.checkpoint", "Expected a quoted key, but the text ends at character 1");
    await check("[]", undefined, "Invalid input: expected object, received array");
    await check(
      '{"version":1,"step":1,"step":2}',
      "fovea.checkpoint",
      'Duplicate key "step" at character 22',
    );
    await check(changed({ version: 2 }), "version", "the format's version is 2, wanted 1");
    await check("{}", "version", "the format's version is missing, wanted 1");
    await check(
      changed({ step: "3" }),
      "step",
      "Invalid input: expected number, received string",
    );
    await check(
      changed({ position: { epoch: 0 } }),
      "position.batch",
      "Invalid input: expected number, received undefined",
    );
    await check(changed({ extra: 1 }), undefined, 'Unrecognized key: "extra"');
    await check(changed({ configuration: undefined }), "configuration", "Missing");
    await check(
      changed({ configuration: { ...sample.configuration, width: 0 } }),
      "configuration.width",
      "Too small: expected number to be >=1",
    );
    await check(
      changed({ configuration: { width: 1, schedule: { rate: 1, kind: "step" } } }),
      "configuration.schedule.kind",
      'Invalid option: expected one of "cosine"|"linear"',
    );
  });
});

Deno.test("a tensor in no group is refused, and so is a damaged file", async () => {
  await inFolder(async (folder) => {
    const path = `${folder}/run.safetensors`;
    await saveCheckpoint(path, sample);
    const { tensors, metadata } = await readSafetensors(path);
    tensors.set("ema/weight", hostTensor("f32", [], Float32Array.of(1)));
    await writeSafetensors(path, tensors, metadata);
    const load = () => loadCheckpoint(path, configurationSchema);
    await assertRejects(
      load,
      CheckpointError,
      'tensor "ema/weight" is in no group, wanted parameters/… or optimizer/…',
    );
    await Deno.truncate(path, 300);
    await assertRejects(load, SafetensorsError, path);
  });
});

/** Waits until `condition` holds, without a rest, so that a moment of microseconds is caught. */
async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!condition()) {
    assert(performance.now() < deadline, "The writing process made no progress for 20 s");
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Whether a temporary file with some of its bytes lies in the folder. */
function isWriting(folder: string): boolean {
  for (const { name } of Deno.readDirSync(folder)) {
    if (!name.endsWith(".tmp")) continue;
    try {
      if (Deno.statSync(`${folder}/${name}`).size > 0) return true;
    } catch (error) {
      // Renamed since the folder was listed.
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  return false;
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

Deno.test("a process killed at any moment of saving leaves a whole checkpoint", async () => {
  const script = fileURLToPath(new URL("checkpoint_writer.ts", import.meta.url));
  await inFolder(async (folder) => {
    const path = `${folder}/run.safetensors`;
    let caughtWriting = false;
    for (const [round, delay] of [0, 0, 3, 7, 11].entries()) {
      const permissions = [`--allow-read=${folder}`, `--allow-write=${folder}`];
      const child = new Deno.Command(Deno.execPath(), {
        args: ["run", "--no-prompt", "--quiet", ...permissions, script, path],
        stdin: "null",
        stdout: "null",
      }).spawn();
      try {
        await until(() => exists(path) && isWriting(folder));
        if (delay > 0) await new Promise((resolve) => setTimeout(resolve, delay));
      } finally {
        child.kill("SIGKILL");
        await child.status;
      }
      const { step, position, parameters, optimizer } = await loadCheckpoint(path, z.unknown());
      assert(step >= 1 && position.batch === step, `round ${round}: step ${step}`);
      for (const tensor of [parameters.get("weights"), optimizer.get("first/weights")]) {
        assertEquals(tensor?.data.length, 500_000);
        assert(tensor?.dtype === "f32" && tensor.data.every((value) => value === step));
      }
      caughtWriting ||= isWriting(folder);
      for (const { name } of [...Deno.readDirSync(folder)]) {
        if (name.endsWith(".tmp")) await Deno.remove(`${folder}/${name}`);
      }
    }
    assert(
      caughtWriting,
      "No kill fell into the writing of a file, so this test proved nothing",
    );
  });
});
