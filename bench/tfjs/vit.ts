/** The ViT of models/vit.ts in TensorFlow.js: the same parameters give the same logits. */
import * as tf from "@tensorflow/tfjs-core";
import { patchGrid, tokenCount, type VitConfig } from "../../models/mod.ts";
import { parametersOf } from "../data.ts";

/** Whether a block's heads are multiplied one by one, as matrices, or in one batched product. */
export type Heads = "apart" | "together";

/** A ViT with the benchmark's parameters; linear layers see all tokens of a batch as one matrix. */
export class TfjsVit {
  readonly #config: VitConfig;
  readonly #heads: Heads;
  readonly #parameters = new Map<string, tf.Tensor>();

  constructor(config: VitConfig, heads: Heads) {
    this.#config = config;
    this.#heads = heads;
    for (const { path, shape, values } of parametersOf(config)) {
      this.#parameters.set(path, tf.tensor(values, [...shape]));
    }
    for (let block = 0; block < config.depth; block++) this.#prepare(`encoder/${block}/attention`);
  }

  /** Logits [batch, classes] of images [batch, height, width, channels], which are used up. */
  logits(images: tf.Tensor4D): tf.Tensor {
    const [batch] = images.shape;
    const { depth, width } = this.#config;
    let x = tf.tidy(() => this.#embed(images));
    images.dispose();
    for (let block = 0; block < depth; block++) {
      const next = tf.tidy(() => this.#block(`encoder/${block}`, x, batch));
      x.dispose();
      x = next;
    }
    return tf.tidy(() => {
      const normed = tf.reshape<tf.Rank.R3>(this.#norm("norm", x), [batch, -1, width]);
      x.dispose();
      const first = tf.slice(normed, [0, 0, 0], [-1, 1, -1]);
      return this.#linear("head", tf.reshape(first, [batch, width]));
    });
  }

  /** Queries, keys and values as one layer, and what projects the heads as a matrix. */
  #prepare(path: string): void {
    const { width } = this.#config;
    const join = (part: "kernel" | "bias", shape: number[]) => {
      const names = ["query", "key", "value"].map((name) => `${path}/${name}/${part}`);
      const joined = tf.tidy(() =>
        tf.concat(names.map((name) => tf.reshape(this.#parameter(name), shape)), -1)
      );
      for (const name of names) this.#parameter(name).dispose();
      this.#parameters.set(`${path}/qkv/${part}`, joined);
    };
    join("kernel", [width, width]);
    join("bias", [width]);
    const out = this.#parameter(`${path}/out/kernel`);
    this.#parameters.set(`${path}/out/kernel`, tf.reshape(out, [width, width]));
    out.dispose();
  }

  #embed(images: tf.Tensor4D): tf.Tensor2D {
    const [batch] = images.shape;
    const { patchSize, width } = this.#config;
    const patches = patchGrid(this.#config) ** 2;
    // Its shape is [P, P, C, D].
    const kernel = this.#parameter("patch/kernel") as tf.Tensor4D;
    const convolved = tf.conv2d(images, kernel, patchSize, "valid");
    const embedded = tf.add(convolved, this.#parameter("patch/bias"));
    const cls = tf.tile(tf.reshape(this.#parameter("cls"), [1, 1, width]), [batch, 1, 1]);
    const tokens = tf.concat([cls, tf.reshape(embedded, [batch, patches, width])], 1);
    const placed = tf.add(tokens, this.#parameter("position"));
    return tf.reshape(placed, [batch * (patches + 1), width]);
  }

  #block(path: string, x: tf.Tensor2D, batch: number): tf.Tensor2D {
    const attended = this.#attention(`${path}/attention`, this.#norm(`${path}/norm1`, x), batch);
    const middle = tf.add<tf.Tensor2D>(x, attended);
    const hidden = gelu(this.#linear(`${path}/mlp/in`, this.#norm(`${path}/norm2`, middle)));
    return tf.add(middle, this.#linear(`${path}/mlp/out`, hidden));
  }

  #attention(path: string, x: tf.Tensor2D, batch: number): tf.Tensor2D {
    const qkv = this.#linear(`${path}/qkv`, x);
    const mixed = this.#heads === "apart"
      ? this.#mixApart(qkv, batch)
      : this.#mixTogether(qkv, batch);
    return this.#linear(`${path}/out`, mixed);
  }

  #mixApart(qkv: tf.Tensor2D, batch: number): tf.Tensor2D {
    const { heads, width } = this.#config;
    const [tokens, depth] = [tokenCount(this.#config), width / heads];
    const images = Array.from({ length: batch }, (_, image) => {
      const mixed = Array.from({ length: heads }, (_, head) => {
        const part = (index: number) =>
          tf.slice(qkv, [image * tokens, index * width + head * depth], [tokens, depth]);
        const scores = tf.matMul(tf.mul(part(0), depth ** -0.5), part(1), false, true);
        return tf.matMul<tf.Tensor2D>(tf.softmax(scores), part(2));
      });
      return tf.concat2d(mixed, 1);
    });
    return tf.concat2d(images, 0);
  }

  #mixTogether(qkv: tf.Tensor2D, batch: number): tf.Tensor2D {
    const { heads, width } = this.#config;
    const [tokens, depth] = [tokenCount(this.#config), width / heads];
    const split = tf.reshape(qkv, [batch, tokens, 3, heads, depth]);
    const parts = tf.transpose(split, [2, 0, 3, 1, 4]);
    const part = (index: number) =>
      tf.reshape(tf.slice(parts, [index, 0, 0, 0, 0], [1, -1, -1, -1, -1]), [
        batch,
        heads,
        tokens,
        depth,
      ]);
    const scores = tf.matMul(tf.mul(part(0), depth ** -0.5), part(1), false, true);
    const mixed = tf.matMul(tf.softmax(scores), part(2));
    return tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), [batch * tokens, width]);
  }

  #norm(path: string, x: tf.Tensor2D): tf.Tensor2D {
    const { mean, variance } = tf.moments(x, -1, true);
    const spread = tf.rsqrt(tf.add(variance, this.#config.layerNormEpsilon));
    const normed = tf.mul(tf.sub(x, mean), spread);
    const scaled = tf.mul(normed, this.#parameter(`${path}/scale`));
    return tf.add(scaled, this.#parameter(`${path}/bias`));
  }

  #linear(path: string, x: tf.Tensor2D): tf.Tensor2D {
    const b = this.#parameter(`${path}/kernel`);
    // Both operands are matrices.
    return tf.fused.matMul({ a: x, b, bias: this.#parameter(`${path}/bias`) }) as tf.Tensor2D;
  }

  #parameter(path: string): tf.Tensor {
    const found = this.#parameters.get(path);
    if (found !== undefined) return found;
    throw new TypeError(`The model in TensorFlow.js has no parameter "${path}"`);
  }
}

function gelu(x: tf.Tensor2D): tf.Tensor2D {
  const share = tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1);
  return tf.mul(tf.mul(x, 0.5), share);
}
