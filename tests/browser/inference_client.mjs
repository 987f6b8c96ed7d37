/** What a page runs that has the inference bundle alone: the golden ViT forward. */
const { compile, decodeSafetensors, inferenceGraph, streamParameters, vit, wasm } = await import(
  new URL("inference.js", import.meta.url).href
);

const GROUP = "parameters/";

/** Runs the task's forward pass, twice, with the weights and images of a golden file. */
export async function run({ config, batch, threads }, weights) {
  const backend = wasm({ threads });
  const program = await compile(inferenceGraph(vit(config)), { backend, bind: { batch } });
  await streamParameters(program, (await fetch(weights)).body, {
    rename: (name) => name.startsWith(GROUP) ? name.slice(GROUP.length) : undefined,
  });
  const bytes = await (await fetch(weights)).arrayBuffer();
  const { tensors } = decodeSafetensors(new Uint8Array(bytes));
  const images = Float32Array.from(tensors.get("inputs/images").data);
  const { logits } = await program.run({ images });
  const again = await program.run();
  const description = program.describe();
  program[Symbol.dispose]();
  return { description, logits: [...logits.data], again: [...again.logits.data] };
}
