/**
 * Trains a tiny ViT for many steps and prints, as JSON, memory after each stretch of them. Run by a test
 * in a process of its own, for whose memory nobody else accounts:
 *
 *     deno run --allow-read --v8-flags=--expose-gc tests/conformance/soak.ts webgpu 2000
 *
 * Without the flag it leaves the engine's garbage lying as the engine does.
 */
import { compile, wasm, webgpu } from "../../backends/mod.ts";
import { adam } from "../../models/optimizers.ts";
import { Trainer } from "../../models/train.ts";
import { trainingStep } from "../../models/training_step.ts";
import { vit } from "../../models/vit.ts";

/** What is held after so many steps, in bytes. */
export interface SoakSample {
  readonly step: number;
  /** Memory that the program computes in: on a GPU all buffers made and not destroyed. */
  readonly device: number;
  /** The same by the program's own account. */
  readonly account: number;
  /** Objects in the engine's heap. */
  readonly heap: number;
  /** What such objects hold outside of it: array buffers. */
  readonly external: number;
  /** Pages of the process in memory; of a driver in software, the device's are among them. */
  readonly resident: number;
}

export const SOAKED = ["wasm", "webgpu"] as const;

/** Steps from one sample to the next. */
export const STRETCH = 50;

/** Counts from now on; gives the bytes of all buffers that have been made and not destroyed. */
function countBuffers(): () => number {
  let alive = 0;
  const { createBuffer } = GPUDevice.prototype;
  GPUDevice.prototype.createBuffer = function (descriptor) {
    const buffer = createBuffer.call(this, descriptor);
    alive += buffer.size;
    const destroy = buffer.destroy.bind(buffer);
    let destroyed = false;
    buffer.destroy = () => {
      if (!destroyed) alive -= buffer.size;
      destroyed = true;
      destroy();
    };
    return buffer;
  };
  return () => alive;
}

async function soak(backend: typeof SOAKED[number], steps: number): Promise<SoakSample[]> {
  const gpuBytes = backend === "webgpu" ? countBuffers() : undefined;
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
    backend: backend === "wasm" ? wasm({ threads: 2 }) : await webgpu(),
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
  for (;;) {
    const running = ahead;
    ahead = trainer.next();
    const { step } = await running;
    if (step % STRETCH === 0) {
      const account = program.memory().totalBytes;
      samples.push(sample(step, gpuBytes?.() ?? account, account));
    }
    if (step >= steps) break;
  }
  await ahead;
  return samples;
}

function sample(step: number, device: number, account: number): SoakSample {
  (globalThis as { gc?: () => void }).gc?.();
  const { heapUsed: heap, external, rss: resident } = Deno.memoryUsage();
  return { step, device, account, heap, external, resident };
}

if (import.meta.main) {
  const [name, steps = "2000"] = Deno.args;
  const backend = SOAKED.find((known) => known === name);
  if (backend === undefined) {
    throw new TypeError(`Backend is ${name}, wanted ${SOAKED.join(" or ")}`);
  }
  const count = Number(steps);
  if (!Number.isSafeInteger(count) || count < STRETCH) {
    throw new RangeError(`Steps are ${steps}, wanted a whole number from ${STRETCH} on`);
  }
  console.log(JSON.stringify(await soak(backend, count)));
}
