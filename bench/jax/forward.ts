/** A matrix product and a ViT's forward pass in jax-js. */
import { jit, numpy as np, tree } from "@jax-js/jax";
import { imagesOf, matmulOperands, parametersOf } from "../data.ts";
import type { MeasuredRun } from "../measured_run.ts";
import type { ForwardWork, MatmulWork } from "../works.ts";
import { jaxShape } from "./parameters.ts";
import { describe, type JaxSetting, readOut } from "./setting.ts";
import { alone, asPart, type JaxLogits, type JaxParameters, jaxVitLogits } from "./vit.ts";

/** `a b`, compiled; the weight stays. */
export function startMatmul(work: MatmulWork, setting: JaxSetting): MeasuredRun {
  const { m, k, n } = work;
  const operands = matmulOperands(work);
  const b = np.array(operands.b, { shape: [k, n] });
  const product = jit((left: np.Array, right: np.Array) => np.matmul(left, right));
  return {
    setting: describe(setting, "product", []),
    async step() {
      return await readOut(product(np.array(operands.a, { shape: [m, k] }), b.ref), setting);
    },
  };
}

/** The model's logits. */
export function startForward(work: ForwardWork, setting: JaxSetting): MeasuredRun {
  const { config, batch } = work;
  const logits = logitsOf(work, setting);
  const parameters: JaxParameters = {};
  for (const { path, shape, values } of parametersOf(config)) {
    parameters[path] = np.array(values, { shape: jaxShape(path, shape) });
  }
  const images = imagesOf(work);
  const shape = [batch, config.imageSize, config.imageSize, config.channels];
  return {
    setting: describe(setting, "model", ["layer norm", "linear", "gelu", "attention"]),
    async step() {
      return await readOut(logits(tree.ref(parameters), np.array(images, { shape })), setting);
    },
  };
}

function logitsOf({ config }: ForwardWork, setting: JaxSetting): JaxLogits {
  if (setting.jit === "parts") return jaxVitLogits(config, alone);
  return jit(jaxVitLogits(config, asPart));
}
