/**
 * The README's script: declare a model, trace a step, differentiate its loss, compile, train, save, load.
 *
 *     deno run --allow-read --allow-write examples/readme.ts
 *
 * Expected, in about ten seconds: three lines with a falling loss, then an accuracy near 90 % on 2,000 test
 * images of MNIST. The weights are left in the file `readme_vit.safetensors`.
 */
import { compile } from "@fovea/fovea/backends";
import { gradients } from "@fovea/fovea/compiler";
import { add, dim, mean, oneHot, softmaxCrossEntropy, spec, trace } from "@fovea/fovea/graph";
import * as fovea from "@fovea/fovea/models";

const size = { width: 48, depth: 2, mlpWidth: 96, heads: 4 };
const model = fovea.vit({ imageSize: 28, patchSize: 7, channels: 1, classes: 10, ...size });
const optimizer = fovea.adam({ schedule: { kind: "constant", learningRate: 2e-3 } });
const parameters = model.parameterSpecs;
const held = { parameters, state: optimizer.stateSpecs(parameters), step: spec("i32", []) };
const batch = { images: fovea.imageSpec(model), labels: spec("i32", [dim("batch")]) };

const step = trace({ held, ...batch }, ({ held, images, labels }) => {
  const { logits } = model.apply(held.parameters, images);
  const loss = mean(softmaxCrossEntropy(logits, oneHot(labels, 10)));
  const next = optimizer.update({ ...held, gradients: gradients(loss, held.parameters) });
  return {
    held: { parameters: next.parameters, state: next.state, step: add(held.step, 1) },
    loss,
  };
});

using program = await compile(step, { bind: { batch: 64 }, donate: { held: "held" } });
const state = optimizer.initialState(model.declarations);
program.set({ held: { parameters: fovea.initialize(model.declarations, 0), state, step: 0 } });

const { train, test } = await fovea.loadMnist();
const batches = new fovea.Batches(train, 64, fovea.hostKey(0));
for (let index = 0; index < 600; index++) {
  const { loss } = await program.run(batches.at(index));
  if (index % 200 === 199) console.log(`step ${index + 1}: loss ${loss.data[0]?.toFixed(3)}`);
}
await fovea.saveParameters("readme_vit.safetensors", await program.get("held/parameters"));

using inference = await compile(fovea.inferenceGraph(model), { bind: { batch: 100 } });
await fovea.loadParametersInto(inference, "readme_vit.safetensors");
const some = fovea.firstImages(test, 2000);
const { accuracy } = await fovea.evaluate(inference, some, { ...model, batchSize: 100 });
console.log(`accuracy: ${(100 * accuracy).toFixed(1)} %`);
