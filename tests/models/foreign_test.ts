import { compile, reference } from "../../backends/mod.ts";
import { fromTimm, timmTensors } from "../../examples/foreign_safetensors.ts";
import { vitConfig } from "../../models/config.ts";
import { hostTensor } from "../../models/host_tensor.ts";
import { hostKey, hostWords } from "../../models/random_words.ts";
import { inferenceGraph } from "../../models/training_step.ts";
import { vit } from "../../models/vit.ts";
import { valuesFrom } from "../../models/weights.ts";
import { assert, assertThrows } from "../support/assert.ts";
import { distance, norm } from "./golden_vit.ts";
import { torchLogits } from "./torch_vit.ts";

const config = vitConfig({
  imageSize: 6,
  patchSize: 2,
  channels: 3,
  width: 6,
  depth: 2,
  mlpWidth: 10,
  heads: 3,
  classes: 4,
  gelu: "erf",
});

Deno.test("a ViT in timm's layout gives the logits that PyTorch's arithmetic gives", async () => {
  const tensors = timmTensors(config);
  const model = vit(config);
  using program = await compile(inferenceGraph(model), {
    backend: reference(),
    bind: { batch: 1 },
  });
  const images = Float32Array.from(hostWords(hostKey(3), 6 * 6 * 3), (word) => word / 2 ** 31 - 1);
  const parameters = valuesFrom(model.declarations, fromTimm(tensors, config), "the test");
  const { logits } = await program.run({ parameters, images });
  const wanted = torchLogits(tensors, config, images);
  assert(norm(wanted) > 0.1);
  assert(distance(logits.data, wanted) < 1e-6 * norm(wanted));
});

Deno.test("a foreign file without a tensor, or with one of another shape, is refused by name", () => {
  const tensors = new Map(timmTensors(config));
  tensors.delete("norm.bias");
  assertThrows(
    () => fromTimm(tensors, config),
    TypeError,
    '"norm.bias", our "norm/bias", is missing, wanted [6]',
  );
  const turned = hostTensor("f32", [6, 18], new Float32Array(108));
  assertThrows(
    () => fromTimm(new Map([...timmTensors(config), ["blocks.1.attn.qkv.weight", turned]]), config),
    TypeError,
    '"blocks.1.attn.qkv.weight", our "encoder/1/attention/query/kernel", is of shape [6, 18], ' +
      "wanted [18, 6]",
  );
});
