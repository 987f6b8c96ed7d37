/** The works as ONNX models, as PyTorch exports them. */
import { patchGrid, tokenCount, type VitConfig } from "../../models/mod.ts";
import { matmulOperands, type Parameter, parametersOf } from "../data.ts";
import { permuted, sideBySide } from "../layout.ts";
import type { ForwardWork, MatmulWork } from "../works.ts";
import { OnnxGraph, type OnnxModel } from "./model.ts";

/** A product with its weight in the model: input `a`, output `c`. */
export function matmulModel(work: MatmulWork): OnnxModel {
  const { m, k, n } = work;
  const graph = new OnnxGraph("matmul");
  const a = graph.input("a", [m, k]);
  graph.output(
    graph.node("MatMul", "c", [
      a,
      graph.initializer("b", [k, n], matmulOperands(work).b),
    ]),
    [m, n],
  );
  return graph.build();
}

/**
 * A ViT as `torch.onnx` writes timm's `VisionTransformer`: images NCHW in `images`, one linear layer to
 * queries, keys and values, and gelu by its error function. Output `logits`.
 *
 * @throws {TypeError} When the configuration is none of timm's plain ones.
 */
export function vitModel({ config, batch }: ForwardWork): OnnxModel {
  refuseOthers(config);
  return new VitWriter(config, batch).write();
}

function refuseOthers(config: VitConfig): void {
  const wanted = {
    pool: "cls",
    block: "serial",
    norm: "layer",
    qkNorm: "none",
    gelu: "erf",
  } as const;
  for (const [field, value] of Object.entries(wanted)) {
    const found = config[field as keyof typeof wanted];
    if (found === value) continue;
    throw new TypeError(`Cannot write this ViT as ONNX: ${field} is ${found}, wanted ${value}`);
  }
}

class VitWriter {
  readonly #config: VitConfig;
  readonly #batch: number;
  readonly #tokens: number;
  readonly #graph = new OnnxGraph("vit");
  readonly #parameters: ReadonlyMap<string, Parameter>;

  constructor(config: VitConfig, batch: number) {
    this.#config = config;
    this.#batch = batch;
    this.#tokens = tokenCount(config);
    this.#parameters = new Map(
      parametersOf(config).map((parameter) => [parameter.path, parameter]),
    );
  }

  write(): OnnxModel {
    const { imageSize, channels, depth, classes, width } = this.#config;
    const shape = [this.#batch, channels, imageSize, imageSize];
    let x = this.#embed(this.#graph.input("images", shape));
    for (let block = 0; block < depth; block++) x = this.#block(`encoder/${block}`, x);
    const first = this.#graph.integers("first", [0], []);
    const pooled = this.#node("Gather", "pooled", [this.#norm("norm", x), first], { axis: 1 });
    const kernel = permuted(this.#values("head/kernel"), [width, classes], [1, 0]);
    this.#graph.output(
      this.#node("Gemm", "logits", [
        pooled,
        this.#graph.initializer("head/kernel", [classes, width], kernel),
        this.#vector("head/bias"),
      ], { transB: 1 }),
      [this.#batch, classes],
    );
    return this.#graph.build();
  }

  /** A convolution by patches, the class token in front, positions added. */
  #embed(images: string): string {
    const { patchSize, channels, width } = this.#config;
    const grid = patchGrid(this.#config);
    const graph = this.#graph;
    const kernel = permuted(
      this.#values("patch/kernel"),
      [patchSize, patchSize, channels, width],
      [3, 2, 0, 1],
    );
    const convolved = this.#node("Conv", "patch", [
      images,
      graph.initializer("patch/kernel", [width, channels, patchSize, patchSize], kernel),
      this.#vector("patch/bias"),
    ], { kernel_shape: [patchSize, patchSize], strides: [patchSize, patchSize] });
    const flat = this.#reshape("patch/flat", convolved, [this.#batch, width, grid * grid]);
    const patches = this.#node("Transpose", "patch/tokens", [flat], { perm: [0, 2, 1] });
    const one = this.#values("cls");
    const repeated = new Float32Array(this.#batch * width);
    for (let image = 0; image < this.#batch; image++) repeated.set(one, image * width);
    const cls = graph.initializer("cls", [this.#batch, 1, width], repeated);
    const tokens = this.#node("Concat", "tokens", [cls, patches], { axis: 1 });
    const position = graph.initializer(
      "position",
      [1, this.#tokens, width],
      this.#values("position"),
    );
    return this.#node("Add", "embedded", [tokens, position]);
  }

  #block(path: string, x: string): string {
    const attended = this.#attention(`${path}/attention`, this.#norm(`${path}/norm1`, x));
    const middle = this.#node("Add", `${path}/+attention`, [x, attended]);
    const hidden = this.#dense(`${path}/mlp/in`, this.#norm(`${path}/norm2`, middle));
    const changed = this.#dense(`${path}/mlp/out`, this.#gelu(`${path}/mlp/gelu`, hidden));
    return this.#node("Add", `${path}/+mlp`, [middle, changed]);
  }

  #attention(path: string, x: string): string {
    const { width, heads } = this.#config;
    const [batch, tokens, depth] = [this.#batch, this.#tokens, width / heads];
    const graph = this.#graph;
    const qkv = this.#linear(`${path}/qkv`, x, this.#fusedKernel(path), this.#fusedBias(path), [
      width,
      3 * width,
    ]);
    const split = this.#reshape(`${path}/split`, qkv, [batch, tokens, 3, heads, depth]);
    const parts = this.#node("Transpose", `${path}/parts`, [split], { perm: [2, 0, 3, 1, 4] });
    const [query = "", key = "", value = ""] = ["query", "key", "value"].map((part, index) => {
      const at = graph.integers(`${path}/${part}/index`, [index], []);
      return this.#node("Gather", `${path}/${part}`, [parts, at], { axis: 0 });
    });
    const scale = graph.scalar(`${path}/scale`, depth ** -0.5);
    const scaled = this.#node("Mul", `${path}/scaled`, [query, scale]);
    const keys = this.#node("Transpose", `${path}/keys`, [key], { perm: [0, 1, 3, 2] });
    const scores = this.#node("MatMul", `${path}/scores`, [scaled, keys]);
    const weights = this.#node("Softmax", `${path}/weights`, [scores], { axis: -1 });
    const mixed = this.#node("MatMul", `${path}/mixed`, [weights, value]);
    const apart = this.#node("Transpose", `${path}/apart`, [mixed], { perm: [0, 2, 1, 3] });
    return this.#dense(
      `${path}/out`,
      this.#reshape(`${path}/heads`, apart, [batch, tokens, width]),
      [width, width],
    );
  }

  /** x / 2 * (1 + erf(x / sqrt 2)), in the order in which PyTorch writes it. */
  #gelu(path: string, x: string): string {
    const graph = this.#graph;
    const divided = this.#node("Div", `${path}/div`, [x, graph.scalar(`${path}/root`, Math.SQRT2)]);
    const erf = this.#node("Erf", `${path}/erf`, [divided]);
    const sum = this.#node("Add", `${path}/add`, [erf, graph.scalar(`${path}/one`, 1)]);
    const product = this.#node("Mul", `${path}/mul`, [x, sum]);
    return this.#node("Mul", path, [product, graph.scalar(`${path}/half`, 0.5)]);
  }

  #norm(path: string, x: string): string {
    const parameters = [this.#vector(`${path}/scale`), this.#vector(`${path}/bias`)];
    const epsilon = { float: this.#config.layerNormEpsilon };
    return this.#node("LayerNormalization", path, [x, ...parameters], { axis: -1, epsilon });
  }

  #dense(path: string, x: string, shape?: readonly [number, number]): string {
    const { shape: [inner = 0, outer = 0] } = this.#parameter(`${path}/kernel`);
    const kernel = this.#values(`${path}/kernel`);
    return this.#linear(path, x, kernel, this.#values(`${path}/bias`), shape ?? [inner, outer]);
  }

  #linear(
    path: string,
    x: string,
    kernel: Float32Array<ArrayBuffer>,
    bias: Float32Array<ArrayBuffer>,
    [inner, outer]: readonly [number, number],
  ): string {
    const weight = this.#graph.initializer(`${path}/kernel`, [inner, outer], kernel);
    const product = this.#node("MatMul", `${path}/matmul`, [x, weight]);
    const added = this.#graph.initializer(`${path}/bias`, [outer], bias);
    return this.#node("Add", path, [added, product]);
  }

  /** Kernels [D, H, d] of queries, keys and values side by side: [D, 3 D]. */
  #fusedKernel(path: string): Float32Array<ArrayBuffer> {
    const { width } = this.#config;
    const parts = PARTS.map((part) => this.#values(`${path}/${part}/kernel`));
    return sideBySide(parts, width, width);
  }

  #fusedBias(path: string): Float32Array<ArrayBuffer> {
    const parts = PARTS.map((part) => this.#values(`${path}/${part}/bias`));
    return sideBySide(parts, 1, this.#config.width);
  }

  #vector(path: string): string {
    const values = this.#values(path);
    return this.#graph.initializer(path, [values.length], values);
  }

  #reshape(name: string, x: string, shape: readonly number[]): string {
    return this.#node("Reshape", name, [x, this.#graph.integers(`${name}/shape`, shape)]);
  }

  #node(...args: Parameters<OnnxGraph["node"]>): string {
    return this.#graph.node(...args);
  }

  #values(path: string): Float32Array<ArrayBuffer> {
    return this.#parameter(path).values;
  }

  #parameter(path: string): Parameter {
    const found = this.#parameters.get(path);
    if (found === undefined) throw new TypeError(`The model has no parameter "${path}"`);
    return found;
  }
}

const PARTS = ["query", "key", "value"] as const;
