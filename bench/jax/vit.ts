/**
 * The ViT of models/vit.ts in jax-js, the benchmark's peer: the same parameters give the same loss.
 *
 * An array that is passed to a function of jax-js is used up by it; `.ref` keeps it for later.
 */
import { jit, nn, numpy as np } from "@jax-js/jax";
import { patchGrid, type VitConfig } from "../../models/mod.ts";

type Array = np.Array;

/** Parameters by path, as in models/vit.ts: `encoder/0/attention/query/kernel`. */
export type JaxParameters = Record<string, Array>;

/** How the model's parts are compiled: each for itself, or as parts of a larger whole. */
export type Compile = (part: (...inputs: Array[]) => Array) => (...inputs: Array[]) => Array;

/** The function itself, to be traced as a part of what is around it. */
export const asPart: Compile = (part) => part;

/** `jit` of the part alone. */
export const alone: Compile = (part) => jit(part);

/** The mean cross-entropy of a batch: images [b, h, w, c], one-hot targets [b, k]. */
export type JaxLoss = (parameters: JaxParameters, images: Array, targets: Array) => Array;

/** The logits [b, k] of images [b, h, w, c]. */
export type JaxLogits = (parameters: JaxParameters, images: Array) => Array;

/** The model's logits, each part compiled as `compile` says. */
export function jaxVitLogits(config: VitConfig, compile: Compile): JaxLogits {
  const model = new Model(config, compile);
  return (parameters, images) => model.logits(parameters, images);
}

/** The model's loss, each part compiled as `compile` says. */
export function jaxVitLoss(config: VitConfig, compile: Compile): JaxLoss {
  const logitsOf = jaxVitLogits(config, compile);
  return (parameters, images, targets) => {
    const logits = logitsOf(parameters, images);
    return nn.logSoftmax(logits).mul(targets).sum(-1).mean().neg();
  };
}

class Model {
  readonly #config: VitConfig;
  readonly #linear: (...inputs: Array[]) => Array;
  readonly #layerNorm: (...inputs: Array[]) => Array;
  readonly #gelu: (...inputs: Array[]) => Array;
  readonly #attention: (...inputs: Array[]) => Array;

  constructor(config: VitConfig, compile: Compile) {
    this.#config = config;
    this.#linear = compile(linear);
    this.#layerNorm = compile((...inputs) => layerNorm(inputs, config.layerNormEpsilon));
    const approximate = config.gelu === "tanh";
    this.#gelu = compile((...inputs) => nn.gelu(operand(inputs, 0), { approximate }));
    this.#attention = compile(attention);
  }

  logits(parameters: JaxParameters, images: Array): Array {
    let x = this.#embed(parameters, images);
    for (let block = 0; block < this.#config.depth; block++) {
      x = this.#block(parameters, `encoder/${block}`, x);
    }
    const classToken = this.#norm(parameters, "norm", x).slice([], 0);
    return this.#dense(parameters, "head", classToken);
  }

  #embed(parameters: JaxParameters, images: Array): Array {
    const { patchSize, channels, width } = this.#config;
    const [batch = 0] = images.shape;
    const grid = patchGrid(this.#config);
    const patches = images
      .reshape([batch, grid, patchSize, grid, patchSize, channels])
      .transpose([0, 1, 3, 2, 4, 5])
      .reshape([batch, grid * grid, patchSize * patchSize * channels]);
    const embedded = this.#dense(parameters, "patch", patches);
    const cls = take(parameters, "cls").reshape([1, 1, width]);
    const tokens = np.concatenate([np.broadcastTo(cls, [batch, 1, width]), embedded], 1);
    return tokens.add(take(parameters, "position"));
  }

  #block(parameters: JaxParameters, path: string, x: Array): Array {
    const attended = this.#selfAttention(
      parameters,
      `${path}/attention`,
      this.#norm(parameters, `${path}/norm1`, x.ref),
    );
    const middle = x.add(attended);
    const norm2 = this.#norm(parameters, `${path}/norm2`, middle.ref);
    const hidden = this.#gelu(this.#dense(parameters, `${path}/mlp/in`, norm2));
    return middle.add(this.#dense(parameters, `${path}/mlp/out`, hidden));
  }

  #selfAttention(parameters: JaxParameters, path: string, x: Array): Array {
    const { width, heads } = this.#config;
    const [batch = 0, tokens = 0] = x.shape;
    const split = [batch, tokens, heads, width / heads];
    const project = (part: string, from: Array) =>
      this.#dense(parameters, `${path}/${part}`, from).reshape(split);
    const query = project("query", x.ref);
    const key = project("key", x.ref);
    const value = project("value", x);
    const mixed = this.#attention(query, key, value).reshape([batch, tokens, width]);
    return this.#dense(parameters, `${path}/out`, mixed);
  }

  #norm(parameters: JaxParameters, path: string, x: Array): Array {
    return this.#layerNorm(x, take(parameters, `${path}/scale`), take(parameters, `${path}/bias`));
  }

  #dense(parameters: JaxParameters, path: string, x: Array): Array {
    const kernel = take(parameters, `${path}/kernel`);
    return this.#linear(x, kernel, take(parameters, `${path}/bias`));
  }
}

/** A parameter, which the forward pass uses up: each is used once. */
function take(parameters: JaxParameters, path: string): Array {
  const found = parameters[path];
  if (found !== undefined) return found;
  throw new TypeError(`The model in jax-js has no parameter "${path}"`);
}

function operand(inputs: readonly Array[], index: number): Array {
  const found = inputs[index];
  if (found !== undefined) return found;
  throw new TypeError(`Operand ${index} of ${inputs.length} is missing`);
}

/** `x [..., d]` through a matrix [d, e], its rows as one long matrix. */
function linear(...inputs: Array[]): Array {
  const [x, kernel, bias] = [operand(inputs, 0), operand(inputs, 1), operand(inputs, 2)];
  const [inner = 0, outer = 0] = kernel.shape;
  const shape = [...x.shape.slice(0, -1), outer];
  return np.matmul(x.reshape([-1, inner]), kernel).add(bias).reshape(shape);
}

function layerNorm(inputs: Array[], epsilon: number): Array {
  const [x, scale, bias] = [operand(inputs, 0), operand(inputs, 1), operand(inputs, 2)];
  const mean = x.ref.mean(-1, { keepdims: true });
  const centred = x.sub(mean);
  const variance = np.square(centred.ref).mean(-1, { keepdims: true });
  return centred.div(np.sqrt(variance.add(epsilon))).mul(scale).add(bias);
}

/** Query, key and value, each [b, n, h, d]. */
function attention(...inputs: Array[]): Array {
  return nn.dotProductAttention(operand(inputs, 0), operand(inputs, 1), operand(inputs, 2));
}
