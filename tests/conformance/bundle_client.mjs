/**
 * A user of the bundle, run by a test in Deno and in Node.js: reads JSON from its argument (where the
 * bundle and the weights are, the ViT's configuration, the images, threads) and prints the logits.
 */
import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import process from "node:process";

const { bundle, weights, config, threads, batch } = JSON.parse(process.argv[2]);
const { compile, decodeSafetensors, inferenceGraph, streamParameters, vit, wasm } = await import(
  bundle
);

const backend = wasm({ threads });
const program = await compile(inferenceGraph(vit(config)), { backend, bind: { batch } });
const group = "parameters/";
await streamParameters(program, createReadStream(new URL(weights)), {
  rename: (name) => name.startsWith(group) ? name.slice(group.length) : undefined,
});
const { tensors } = decodeSafetensors(new Uint8Array(await readFile(new URL(weights))));
const images = Float32Array.from(tensors.get("inputs/images").data);
const { logits } = await program.run({ images });
const again = await program.run();
program[Symbol.dispose]();
console.log(JSON.stringify({
  logits: [...logits.data],
  again: [...again.logits.data],
  description: program.describe(),
}));
