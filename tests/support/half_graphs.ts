/** Products and attention of half floats, in sizes and places that are read by fours and that are not. */
import * as g from "../../graph/mod.ts";

type Half = "f16" | "bf16";

/** An input of half floats, as f32. */
export function widened(name: string, dtype: Half, ...shape: number[]): g.Tensor {
  return g.cast(g.input(name, dtype, shape), "f32");
}

/** Results by what they are. */
export function graphsOfHalves(): Record<string, g.Tensor> {
  const x = widened("x", "f16", 20, 96);
  const left = g.input("left", "f32", [20, 96]);
  const odd = widened("odd", "bf16", 33, 35);
  const heads = (name: string, dtype: Half) =>
    g.transpose(widened(name, dtype, 2, 40, 3, 8), [0, 2, 1, 3]);
  return {
    "f16 with f32": g.contract("n d, e d -> n e", left, widened("w", "f16", 64, 96)),
    "f16 with bf16": g.gelu(g.contract("n d, d e -> n e", x, widened("w", "bf16", 96, 64))),
    "odd sizes": g.contract("n d, d e -> n e", odd, widened("w", "f16", 35, 13)),
    "a part of a tensor": g.contract(
      "n d, d e -> n e",
      g.slice(odd, [2, 1], [9, 35]),
      widened("w", "bf16", 34, 12),
    ),
    "a tensor with itself": g.contract("n d, n e -> d e", x, x),
    "half floats that were computed": g.contract(
      "n d, d e -> n e",
      g.cast(g.cast(g.sin(left), "bf16"), "f32"),
      widened("w", "bf16", 96, 64),
    ),
    attention: g.attention(heads("q", "bf16"), heads("k", "f16"), heads("v", "bf16")),
  };
}
