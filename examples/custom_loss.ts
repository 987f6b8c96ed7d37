/**
 * A loss of one's own, with a gradient written by hand: the Huber loss (Huber 1964), which is square
 * near zero and straight farther out, so that a few wild points do not decide where a line goes.
 *
 *     deno run --allow-read examples/custom_loss.ts
 *
 * Expected: the gradient agrees with differences of the loss, and the line y = 2x + 1 is found again through
 * 40 points of which every eighth lies 20 too high:
 *
 *     gradient check: error 3e-8
 *     square loss: y = 2.66 x + 2.22
 *     Huber loss:  y = 2.04 x + 1.06
 */
import { type Backend, compile, reference, wasm } from "@fovea/fovea/backends";
import { gradients } from "@fovea/fovea/compiler";
import {
  abs,
  add,
  constant,
  defineOp,
  greaterEqual,
  makeNode,
  maximum,
  mean,
  minimum,
  mul,
  select,
  ShapeError,
  spec,
  square,
  sub,
  sum,
  type Tensor,
  trace,
} from "@fovea/fovea/graph";

const huberRecord = defineOp({
  name: "huber",
  kind: "composite",
  doc: "d^2 / 2 where |d| < 1 and |d| - 1/2 elsewhere, for each difference d.",
  infer: ([difference, ...more]) => {
    if (difference?.dtype === "f32" && more.length === 0) return difference;
    throw new ShapeError("huber", "wanted one f32 tensor", []);
  },
  // The derivative is d itself, kept between -1 and 1.
  vjp: ({ inputs: [difference] }, cotangent) =>
    difference === undefined ? [] : [mul(cotangent, maximum(minimum(difference, 1), -1))],
  flops: (_inputs, output) => 4 * output.reduce((total, size) => total * size, 1),
  // What it means, in plain f64 arithmetic: the oracle of every backend.
  reference: ([difference]) => (difference?.data ?? new Float64Array()).map(huberOf),
  // The same thing in simpler ops: what a backend runs.
  decompose: ({ inputs: [difference] }) => {
    if (difference === undefined) throw new TypeError("huber has no operand");
    const size = abs(difference);
    return select(greaterEqual(size, 1), sub(size, 0.5), mul(square(difference), 0.5));
  },
});

function huberOf(difference: number): number {
  const size = Math.abs(difference);
  return size >= 1 ? size - 0.5 : difference * difference / 2;
}

/** The Huber loss of each element of f32 differences. */
export function huber(difference: Tensor<"f32">): Tensor {
  return makeNode(huberRecord, [difference], {});
}

/**
 * How far the gradient is from what two values of a loss say of its slope along some direction. The
 * reference backend computes in f64.
 */
export async function checkGradient(): Promise<number> {
  const direction = constant([0.3, -1, 0.7, 0.2, -0.5, 0.9, 0.1]);
  const step = 2 ** -12;
  const graph = trace(spec("f32", [7]), (x) => {
    const loss = (at: Tensor<"f32">) => sum(mul(huber(at), at));
    const moved = mul(direction, step);
    const slope = mul(sub(loss(add(x, moved)), loss(sub(x, moved))), 1 / (2 * step));
    return sub(sum(mul(gradients(loss(x), x), direction)), slope);
  });
  using program = await compile(graph, { backend: reference() });
  const { data: [error = NaN] } = await program.run(
    Float32Array.of(-3, -1.5, -0.4, 0, 0.3, 0.9, 40),
  );
  return Math.abs(error);
}

/** Slope and offset of the line through the points, by gradient descent on the mean loss. */
export async function fitLine(
  loss: (difference: Tensor<"f32">) => Tensor,
  backend: Backend = wasm(),
): Promise<{ slope: number; offset: number }> {
  const count = 40;
  const x = Float32Array.from({ length: count }, (_, index) => index / 10);
  const y = x.map((at, index) => 2 * at + 1 + (index % 8 === 7 ? 20 : 0));
  const line = { slope: spec("f32", []), offset: spec("f32", []) };
  const points = { x: spec("f32", [count]), y: spec("f32", [count]) };
  const graph = trace({ line, points }, ({ line, points }) => {
    const guess = add(mul(points.x, line.slope), line.offset);
    const slopes = gradients(mean(loss(sub(guess, points.y))), line);
    return {
      line: {
        slope: sub(line.slope, mul(slopes.slope, 0.1)),
        offset: sub(line.offset, mul(slopes.offset, 0.1)),
      },
    };
  });
  using program = await compile(graph, { backend, donate: { line: "line" } });
  program.set({ line: { slope: 0, offset: 0 }, points: { x, y } });
  for (let step = 0; step < 1000; step++) await program.run();
  const { slope, offset } = await program.get("line");
  return { slope: slope.data[0] ?? NaN, offset: offset.data[0] ?? NaN };
}

if (import.meta.main) {
  console.log(`gradient check: error ${(await checkGradient()).toExponential(0)}`);
  const lines = [
    ["square loss:", await fitLine((difference) => mul(square(difference), 0.5))],
    ["Huber loss: ", await fitLine(huber)],
  ] as const;
  for (const [name, { slope, offset }] of lines) {
    console.log(`${name} y = ${slope.toFixed(2)} x + ${offset.toFixed(2)}`);
  }
}
