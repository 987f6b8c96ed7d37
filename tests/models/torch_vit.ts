/**
 * A plain ViT over timm's tensors, as PyTorch computes it: rows times matrices that are output by input,
 * q, k and v in one matrix. Written with loops in f64, apart from everything else in this project.
 */
import type { HostTensor } from "../../models/host_tensor.ts";

/** What the names of the tensors do not tell. */
export interface TorchVit {
  readonly imageSize: number;
  readonly patchSize: number;
  readonly channels: number;
  readonly width: number;
  readonly depth: number;
  readonly heads: number;
}

type Row = number[];

/** Logits of one image, [height][width][channels] row-major. */
export function torchLogits(
  tensors: ReadonlyMap<string, HostTensor>,
  { imageSize, patchSize, channels, width, depth, heads }: TorchVit,
  image: ArrayLike<number>,
): number[] {
  const get = (name: string): Row => {
    const tensor = tensors.get(name);
    if (tensor?.dtype !== "f32") throw new Error(`There is no f32 "${name}"`);
    return [...tensor.data];
  };
  const linear = (rows: Row[], name: string): Row[] => {
    const [weight, bias] = [get(`${name}.weight`), get(`${name}.bias`)];
    return rows.map((row) =>
      bias.map((offset, out) =>
        row.reduce((sum, value, at) => sum + value * (weight[out * row.length + at] ?? NaN), offset)
      )
    );
  };
  const norm = (rows: Row[], name: string): Row[] => {
    const [weight, bias] = [get(`${name}.weight`), get(`${name}.bias`)];
    return rows.map((row) => {
      const mean = row.reduce((sum, value) => sum + value, 0) / row.length;
      const variance = row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / row.length;
      return row.map((value, at) =>
        (value - mean) / Math.sqrt(variance + 1e-6) * (weight[at] ?? NaN) + (bias[at] ?? NaN)
      );
    });
  };
  const plus = (a: Row[], b: Row[]): Row[] =>
    a.map((row, index) => row.map((value, at) => value + (b[index]?.[at] ?? NaN)));

  const grid = imageSize / patchSize;
  const patches = Array.from({ length: grid * grid }, (_, patch) => {
    const [top, left] = [Math.floor(patch / grid) * patchSize, (patch % grid) * patchSize];
    const pixels: Row = [];
    for (let channel = 0; channel < channels; channel++) {
      for (let y = top; y < top + patchSize; y++) {
        for (let x = left; x < left + patchSize; x++) {
          pixels.push(image[(y * imageSize + x) * channels + channel] ?? NaN);
        }
      }
    }
    return pixels;
  });
  const positions = get("pos_embed");
  const tokens = [get("cls_token"), ...linear(patches, "patch_embed.proj")];
  let x = tokens.map((row, index) =>
    row.map((value, at) => value + (positions[index * width + at] ?? NaN))
  );
  for (let block = 0; block < depth; block++) {
    const name = `blocks.${block}`;
    const mixed = mix(linear(norm(x, `${name}.norm1`), `${name}.attn.qkv`), width, heads);
    x = plus(x, linear(mixed, `${name}.attn.proj`));
    const hidden = linear(norm(x, `${name}.norm2`), `${name}.mlp.fc1`).map((row) => row.map(gelu));
    x = plus(x, linear(hidden, `${name}.mlp.fc2`));
  }
  return linear(norm(x.slice(0, 1), "norm"), "head")[0] ?? [];
}

/** Softmax attention over rows of [q | k | v], each of them heads side by side. */
function mix(rows: Row[], width: number, heads: number): Row[] {
  const size = width / heads;
  return rows.map((query) =>
    Array.from({ length: heads }, (_, head) => {
      const start = head * size;
      const scores = rows.map((key) => {
        let dot = 0;
        for (let at = start; at < start + size; at++) {
          dot += (query[at] ?? 0) * (key[width + at] ?? 0);
        }
        return Math.exp(dot / Math.sqrt(size));
      });
      const total = scores.reduce((sum, score) => sum + score, 0);
      return Array.from(
        { length: size },
        (_, at) =>
          rows.reduce((sum, value, row) =>
            sum + (scores[row] ?? 0) / total * (value[2 * width + start + at] ?? 0), 0),
      );
    }).flat()
  );
}

function gelu(x: number): number {
  return x / 2 * (1 + erf(x / Math.SQRT2));
}

/** The error function by its Taylor series, good to 1e-13 for |x| < 4. */
function erf(x: number): number {
  let [term, sum] = [x, x];
  for (let n = 1; n < 120; n++) {
    term *= -x * x / n;
    sum += term / (2 * n + 1);
  }
  return 2 / Math.sqrt(Math.PI) * sum;
}
