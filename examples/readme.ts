/**
 * The README's script: declare a model, trace a step, differentiate its loss, compile, train, save, load.
 *
 *     deno run --allow-read --allow-write examples/readme.ts
 *
 * Expected, within a minute: three lines with a falling loss, then an accuracy above 85 % on 2,000 test
 * images of MNIST. The weights are left in the file `readme_vit.safetensors`.
 */
import { compile } from "@fovea/fovea/backends";
import { gradients } from "@fovea/fovea/compiler";
import { add, dim, mean, oneHot, softmaxCrossEntropy, spec, trace } from "@fovea/fovea/graph";
import * as models from "@fovea/fovea/models";

const { train, test } = await models.loadMnist();
const model = models.vit({
  imageSize: 28,
  patchSize: 7,
  channels: 1,
  width: 48,
  depth: 2,
  mlpWidth: 96,
  heads: 4,
  classes: 10,
});
const optimizer = models.adam({ schedule: { kind: "constant", learningRate: 2e-3 } });

const step = trace({
  state: {
    parameters: model.parameterSpecs,
    memory: optimizer.stateSpecs(model.parameterSpecs),
    step: spec("i32", []),
  },
  images: spec("f32", [dim("batch"), 28, 28, 1]),
  labels: spec("i32", [dim("batch")]),
}, ({ state, images, labels }) => {
  const { logits } = model.apply(state.parameters, images);
  const loss = mean(softmaxCrossEntropy(logits, oneHot(labels, 10)));
  const next = optimizer.update({
    parameters: state.parameters,
    gradients: gradients(loss, state.parameters),
    state: state.memory,
    step: state.step,
  });
  const after = { parameters: next.parameters, memory: next.state, step: add(state.step, 1) };
  return { state: after, loss };
});

using program = await compile(step, { bind: { batch: 64 }, donate: { state: "state" } });
const parameters = models.initialize(model.declarations, 0);
program.set({
  state: { parameters, memory: optimizer.initialState(model.declarations), step: 0 },
});
const batches = new models.Batches(train, 64, models.hostKey(0));
for (let index = 0; index < 600; index++) {
  const { loss } = await program.run(batches.at(index));
  if (index % 200 === 199) console.log(`step ${index + 1}: loss ${loss.data[0]?.toFixed(3)}`);
}

const file = "readme_vit.safetensors";
await models.saveParameters(file, program.get("state/parameters"));
using inference = await compile(models.inferenceGraph(model), { bind: { batch: 100 } });
inference.set({ parameters: await models.loadParameters(file, model.declarations) });
const images = models.firstImages(test, 2000);
const { accuracy } = await models.evaluate(inference, images, { ...model, batchSize: 100 });
console.log(`accuracy: ${(100 * accuracy).toFixed(1)} %`);
