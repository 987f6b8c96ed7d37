/** TensorFlow.js on its WASM backend, in a process of the benchmark. */
import * as tf from "@tensorflow/tfjs-core";
import { getThreadsCount, setThreadsCount } from "@tensorflow/tfjs-backend-wasm";
import { imagesOf, matmulOperands } from "../data.ts";
import type { MeasuredRun } from "../measured_run.ts";
import type { StartMessage } from "../messages.ts";
import type { ForwardWork, MatmulWork } from "../works.ts";
import { withWorkerScripts } from "./threads.ts";
import { TfjsVit } from "./vit.ts";

/**
 * The work, ready to run.
 *
 * @throws {Error} When the backend does not come up, or with other threads than wanted.
 */
export async function startTfjs(
  work: MatmulWork | ForwardWork,
  { threads, setting, folder }: StartMessage,
): Promise<MeasuredRun> {
  await useWasm(folder, threads);
  const where = `wasm, threads ${threads}`;
  if (work.suite === "matmul") return startMatmul(work, where);
  const together = setting === "heads together";
  const model = new TfjsVit(work.config, together ? "together" : "apart");
  const images = imagesOf(work);
  const { imageSize, channels } = work.config;
  return {
    setting: `${where}, blocks tidied, ${
      together ? "all heads in one batched product" : "a product of matrices for each head"
    }`,
    async step() {
      const input = tf.tensor4d(images, [work.batch, imageSize, imageSize, channels]);
      return await readOut(model.logits(input));
    },
  };
}

function startMatmul(work: MatmulWork, setting: string): MeasuredRun {
  const { m, k, n } = work;
  const operands = matmulOperands(work);
  const b = tf.tensor2d(operands.b, [k, n]);
  return {
    setting,
    async step() {
      const a = tf.tensor2d(operands.a, [m, k]);
      const product = tf.matMul(a, b);
      a.dispose();
      return await readOut(product);
    },
  };
}

async function readOut(tensor: tf.Tensor): Promise<ArrayLike<number>> {
  const values = await tensor.data();
  tensor.dispose();
  return values;
}

async function useWasm(folder: string, threads: number): Promise<void> {
  tf.env().set("WASM_HAS_MULTITHREAD_SUPPORT", threads > 1);
  setThreadsCount(threads);
  await withWorkerScripts(folder, threads, async () => {
    if (!await tf.setBackend("wasm")) throw new Error("The WASM backend did not come up");
    await tf.ready();
  });
  if (getThreadsCount() !== threads) {
    throw new Error(`The backend has ${getThreadsCount()} threads, wanted ${threads}`);
  }
}
