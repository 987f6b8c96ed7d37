/**
 * A user of the bundle, run by a test in Deno and in Node.js: reads JSON from its argument (where the
 * bundle and the weights are, the ViT's configuration, the images, threads) and prints the logits.
 */
import { readFile } from "node:fs/promises";
import process from "node:process";

const { bundle, weights, config, threads, batch } = JSON.parse(process.argv[2]);
const { compile, decodeSafetensors, inferenceGraph, valuesFrom, vit, wasm } = await import(bundle);

const { tensors } = decodeSafetensors(new Uint8Array(await readFile(new URL(weights))));
const group = "parameters/";
const parameters = new Map(
  [...tensors]
    .filter(([name]) => name.startsWith(group))
    .map(([name, tensor]) => [name.slice(group.length), tensor]),
);
const model = vit(config);
const backend = wasm({ threads });
const program = await compile(inferenceGraph(model), { backend, bind: { batch } });
program.set({ parameters: valuesFrom(model.declarations, parameters, "golden") });
const images = Float32Array.from(tensors.get("inputs/images").data);
const { logits } = await program.run({ images });
const again = await program.run();
program[Symbol.dispose]();
console.log(JSON.stringify({
  logits: [...logits.data],
  again: [...again.logits.data],
  description: program.describe(),
}));
