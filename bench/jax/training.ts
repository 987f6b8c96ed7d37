/** The training step in jax-js: the loss's gradient and Adam, on its WebAssembly backend. */
import { blockUntilReady, jit, nn, numpy as np, tree, valueAndGrad } from "@jax-js/jax";
import { flattenTree } from "../../graph/mod.ts";
import { initialize, isDeclaration, vit } from "../../models/mod.ts";
import { ADAM, PARAMETER_SEED, trainingBatch } from "../data.ts";
import type { MeasuredRun } from "../measured_run.ts";
import type { TrainingWork } from "../works.ts";
import { jaxShape } from "./parameters.ts";
import { describe, type JaxSetting, readOut } from "./setting.ts";
import { alone, asPart, type JaxLoss, type JaxParameters, jaxVitLoss } from "./vit.ts";

type Array = np.Array;

type State = { parameters: JaxParameters; mu: JaxParameters; nu: JaxParameters };
type Stepped = { loss: Array; state: State };
type Step = (state: State, images: Array, targets: Array, rate: Array, spread: Array) => Stepped;

/**
 * Starts training. A step ends when its loss is read: its update is computed together with the next
 * step's loss, which is faster in jax-js than waiting for both.
 */
export function startTraining(work: TrainingWork, setting: JaxSetting): MeasuredRun {
  const step = stepOf(work, setting);
  const { images, labels } = trainingBatch(work);
  const { batch, config } = work;
  const imageShape = [batch, config.imageSize, config.imageSize, config.channels];
  let state = initialState(work);
  let done = 0;
  return {
    setting: describe(setting, "step", ["layer norm", "linear", "gelu", "attention", "Adam"]),
    async step() {
      done++;
      const rate = np.array(work.learningRate / (1 - ADAM.b1 ** done));
      const spread = np.array(1 / Math.sqrt(1 - ADAM.b2 ** done));
      const targets = nn.oneHot(np.array(labels), config.classes);
      const next = step(state, np.array(images, { shape: imageShape }), targets, rate, spread);
      state = next.state;
      return await readOut(next.loss, setting);
    },
    settle: async () => {
      await blockUntilReady(state);
    },
  };
}

/** Fovea's initial parameters. */
function initialState({ config }: TrainingWork): State {
  const { declarations } = vit(config);
  const values = flattenTree(initialize(declarations, PARAMETER_SEED), isNumbers);
  const state: State = { parameters: {}, mu: {}, nu: {} };
  for (const [path, declaration] of flattenTree(declarations, isDeclaration)) {
    const shape = jaxShape(path, declaration.shape);
    const numbers = values.get(path);
    if (numbers === undefined) throw new TypeError(`Parameter "${path}" has no initial value`);
    state.parameters[path] = np.array(numbers, { shape });
    state.mu[path] = np.zeros(shape);
    state.nu[path] = np.zeros(shape);
  }
  return state;
}

function isNumbers(value: unknown): value is Float32Array<ArrayBuffer> {
  return value instanceof Float32Array;
}

function stepOf({ config }: TrainingWork, setting: JaxSetting): Step {
  if (setting.jit === "parts") return trainingStep(jaxVitLoss(config, alone), jit(adam));
  return jit(trainingStep(jaxVitLoss(config, asPart), adam));
}

type Slots = { parameter: Array; mu: Array; nu: Array };
type Adam = (slots: Slots, gradient: Array, rate: Array, spread: Array) => Slots;

function trainingStep(loss: JaxLoss, update: Adam): Step {
  const withGradient = valueAndGrad(loss);
  return (state, images, targets, rate, spread) => {
    const [value, gradients] = withGradient(tree.ref(state.parameters), images, targets);
    const next: State = { parameters: {}, mu: {}, nu: {} };
    for (const [path, gradient] of Object.entries(gradients)) {
      const slots = slotsOf(state, path);
      const updated = update(slots, gradient, rate.ref, spread.ref);
      next.parameters[path] = updated.parameter;
      next.mu[path] = updated.mu;
      next.nu[path] = updated.nu;
    }
    rate.dispose();
    spread.dispose();
    return { loss: value, state: next };
  };
}

function slotsOf({ parameters, mu, nu }: State, path: string): Slots {
  const [parameter, first, second] = [parameters[path], mu[path], nu[path]];
  if (parameter !== undefined && first !== undefined && second !== undefined) {
    return { parameter, mu: first, nu: second };
  }
  throw new TypeError(`The state in jax-js has no parameter "${path}"`);
}

/** Adam as in models/optimizers.ts, with both corrections drawn into `rate` and `spread`. */
function adam({ parameter, mu, nu }: Slots, gradient: Array, rate: Array, spread: Array): Slots {
  const first = mu.mul(ADAM.b1).add(gradient.ref.mul(1 - ADAM.b1));
  const second = nu.mul(ADAM.b2).add(np.square(gradient).mul(1 - ADAM.b2));
  const root = np.sqrt(second.ref).mul(spread).add(ADAM.epsilon);
  return { parameter: parameter.sub(first.ref.mul(rate).div(root)), mu: first, nu: second };
}
