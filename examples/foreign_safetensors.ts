/**
 * Reads a ViT that another library wrote: a safetensors file with timm's names and layouts (PyTorch's:
 * matrices are output by input, convolutions output first, q, k and v in one matrix).
 *
 *     deno run --allow-read --allow-write examples/foreign_safetensors.ts [file]
 *
 * Without a file it first writes a small one of that kind, with 2 blocks of width 16 and seeded numbers.
 * Expected: the names it found, and the model's answer to a grey image:
 *
 *     foreign_vit.safetensors: 32 tensors, the first blocks.0.attn.proj.bias
 *     2 blocks of width 16, 5 classes, 7957 parameters
 *     class 4
 */
import { compile } from "@fovea/fovea/backends";
import {
  hostKey,
  type HostTensor,
  hostTensor,
  hostTensorToFloat32,
  hostWords,
  inferenceGraph,
  normal,
  parameterCount,
  readSafetensors,
  tokenCount,
  valuesFrom,
  vit,
  type VitConfig,
  vitConfig,
  writeSafetensors,
} from "@fovea/fovea/models";

type Tensors = ReadonlyMap<string, HostTensor>;

/** Where a parameter of ours is found, and how it is read. */
interface Source {
  /** The foreign name. */
  readonly key: string;
  /** The foreign shape. */
  readonly shape: readonly number[];
  /** The foreign axes (of one part), split so that ours are a permutation of them. */
  readonly axes: readonly number[];
  /** Our axis `i` is axis `order[i]` of those. */
  readonly order: readonly number[];
  /** Which of three equal parts along the first axis: q, k or v. Without it, the whole. */
  readonly third?: number;
}

/** Every parameter of ours, by path, with its place in a timm ViT with a class token. */
export function timmSources(config: VitConfig): Map<string, Source> {
  const { patchSize, channels, width, depth, mlpWidth, classes } = config;
  const sources = new Map<string, Source>();
  const put = (path: string, key: string, shape: readonly number[], order: readonly number[]) =>
    sources.set(path, { key, shape, axes: shape, order });
  const putDense = (path: string, key: string, inputs: number, outputs: number) => {
    put(`${path}/kernel`, `${key}.weight`, [outputs, inputs], [1, 0]);
    put(`${path}/bias`, `${key}.bias`, [outputs], [0]);
  };
  const putNorm = (path: string, key: string) => {
    put(`${path}/scale`, `${key}.weight`, [width], [0]);
    put(`${path}/bias`, `${key}.bias`, [width], [0]);
  };
  const patch = [width, channels, patchSize, patchSize];
  put("patch/kernel", "patch_embed.proj.weight", patch, [2, 3, 1, 0]);
  put("patch/bias", "patch_embed.proj.bias", [width], [0]);
  // Leading axes of size 1 are not among ours.
  put("cls", "cls_token", [1, 1, width], [2]);
  put("position", "pos_embed", [1, tokenCount(config), width], [1, 2]);
  for (let index = 0; index < depth; index++) {
    const [ours, theirs] = [`encoder/${index}`, `blocks.${index}`];
    putNorm(`${ours}/norm1`, `${theirs}.norm1`);
    for (const [path, source] of attentionSources(config, `${theirs}.attn`)) {
      sources.set(`${ours}/attention/${path}`, source);
    }
    putNorm(`${ours}/norm2`, `${theirs}.norm2`);
    putDense(`${ours}/mlp/in`, `${theirs}.mlp.fc1`, width, mlpWidth);
    putDense(`${ours}/mlp/out`, `${theirs}.mlp.fc2`, mlpWidth, width);
  }
  putNorm("norm", "norm");
  putDense("head", "head", width, classes);
  return sources;
}

/** q, k and v are the thirds of one matrix, whose rows are heads of numbers. */
function attentionSources({ width, heads }: VitConfig, theirs: string): Map<string, Source> {
  const perHead = width / heads;
  const sources = new Map<string, Source>();
  ["query", "key", "value"].forEach((name, third) => {
    const kernel = { axes: [heads, perHead, width], order: [2, 0, 1], third };
    const bias = { axes: [heads, perHead], order: [0, 1], third };
    const shape = [3 * width, width];
    sources.set(`${name}/kernel`, { key: `${theirs}.qkv.weight`, shape, ...kernel });
    sources.set(`${name}/bias`, { key: `${theirs}.qkv.bias`, shape: [3 * width], ...bias });
  });
  const out = { axes: [width, heads, perHead], order: [1, 2, 0] };
  sources.set("out/kernel", { key: `${theirs}.proj.weight`, shape: [width, width], ...out });
  const bias = { shape: [width], axes: [width], order: [0] };
  sources.set("out/bias", { key: `${theirs}.proj.bias`, ...bias });
  return sources;
}

/**
 * Our parameters, by path, from a file's tensors.
 *
 * @throws {TypeError} When a tensor is missing or has another shape, naming it.
 */
export function fromTimm(tensors: Tensors, config: VitConfig): Map<string, HostTensor> {
  return new Map([...timmSources(config)].map(([path, source]) => {
    const { key, axes, order, third = 0 } = source;
    const tensor = tensors.get(key);
    if (String(tensor?.shape) !== String(source.shape)) {
      const found = tensor === undefined ? "missing" : `of shape [${tensor.shape.join(", ")}]`;
      throw new TypeError(
        `"${key}", our "${path}", is ${found}, wanted [${source.shape.join(", ")}]`,
      );
    }
    const size = sizeOf(axes);
    const numbers = tensor === undefined ? new Float32Array() : hostTensorToFloat32(tensor);
    const chosen = numbers.subarray(third * size, (third + 1) * size);
    const shape = order.map((axis) => axes[axis] ?? 1);
    return [path, hostTensor("f32", shape, permuted(chosen, axes, order))];
  }));
}

function sizeOf(shape: readonly number[]): number {
  return shape.reduce((total, size) => total * size, 1);
}

/** Row-major numbers with their axes in another order. */
function permuted(
  numbers: Float32Array,
  axes: readonly number[],
  order: readonly number[],
): Float32Array {
  const steps = axes.map((_, axis) =>
    axes.slice(axis + 1).reduce((total, size) => total * size, 1)
  );
  let offsets = [0];
  for (const axis of order) {
    const [size = 1, step = 1] = [axes[axis], steps[axis]];
    offsets = offsets.flatMap((offset) =>
      Array.from({ length: size }, (_, index) => offset + index * step)
    );
  }
  return Float32Array.from(offsets, (offset) => numbers[offset] ?? NaN);
}

/** A file's tensors such as timm writes them, with seeded numbers. */
export function timmTensors(config: VitConfig): Map<string, HostTensor> {
  const shapes = new Map([...timmSources(config).values()].map(({ key, shape }) => [key, shape]));
  return new Map([...shapes].map(([key, shape], index) => {
    const numbers = normal(0.3)(sizeOf(shape), (count) => hostWords(hostKey(index), count));
    return [key, hostTensor("f32", shape, numbers)];
  }));
}

/** timm does not write the sizes that its names do not show; they are known from the model's name. */
const CONFIG = vitConfig({
  imageSize: 8,
  patchSize: 4,
  channels: 3,
  width: 16,
  depth: 2,
  mlpWidth: 32,
  heads: 2,
  classes: 5,
  gelu: "erf",
});

if (import.meta.main) {
  const [given] = Deno.args;
  const file = given ?? "foreign_vit.safetensors";
  if (given === undefined) await writeSafetensors(file, timmTensors(CONFIG));
  const { tensors } = await readSafetensors(file);
  console.log(`${file}: ${tensors.size} tensors, the first ${[...tensors.keys()][0]}`);
  const model = vit(CONFIG);
  const parameters = valuesFrom(model.declarations, fromTimm(tensors, CONFIG), file);
  console.log(`${parameterCount(CONFIG)} parameters`);
  using program = await compile(inferenceGraph(model), { bind: { batch: 1 } });
  const images = new Float32Array(sizeOf(model.imageShape));
  const { logits } = await program.run({ parameters, images });
  console.log(`logits of a grey image: ${[...logits.data].map((x) => x.toFixed(3)).join(" ")}`);
}
