/**
 * Trains a tiny ViT on WebGPU for many steps and prints, as JSON, memory after each stretch of them. Run by
 * a test in a process of its own, for whose memory nobody else accounts; by hand for longer:
 *
 *     deno run --allow-read tests/conformance/webgpu_soak.ts 2000
 */
import { compile, webgpu } from "../../backends/mod.ts";
import { adam } from "../../models/optimizers.ts";
import { Trainer } from "../../models/train.ts";
import { trainingStep } from "../../models/training_step.ts";
import { vit } from "../../models/vit.ts";

/** What is held after so many steps, in bytes. */
export interface SoakSample {
  readonly step: number;
  /** On the device, by the program's own account. */
  readonly device: number;
  /** Pages of the process in memory; of a driver in software, the device's are among them. */
  readonly resident: number;
}

/** Steps before memory counts: staging buffers and the engine's heap grow to what they need. */
export const SETTLING_STEPS = 50;

async function soak(steps: number): Promise<SoakSample[]> {
  const model = vit({
    imageSize: 8,
    patchSize: 4,
    channels: 1,
    width: 16,
    depth: 2,
    mlpWidth: 32,
    heads: 2,
    classes: 4,
  });
  const optimizer = adam({ schedule: { kind: "constant", learningRate: 1e-3 }, clipNorm: 1 });
  using program = await compile(trainingStep({ model, optimizer }), {
    backend: await webgpu(),
    bind: { batch: 8 },
    donate: { state: "state" },
  });
  const count = 64;
  const data = {
    images: Uint8Array.from({ length: count * 64 }, (_, at) => (at * 7919) % 251),
    labels: Uint8Array.from({ length: count }, (_, at) => at % 4),
    count,
  };
  const trainer = new Trainer({ model, optimizer, program, data, batchSize: 8, seed: 0 });
  const samples: SoakSample[] = [];
  let ahead = trainer.next();
  while (trainer.step < steps) {
    const running = ahead;
    ahead = trainer.next();
    const { step } = await running;
    if (step % SETTLING_STEPS !== 0) continue;
    samples.push({ step, device: program.memory().totalBytes, resident: Deno.memoryUsage().rss });
  }
  await ahead;
  return samples;
}

if (import.meta.main) console.log(JSON.stringify(await soak(Number(Deno.args[0] ?? 2000))));
