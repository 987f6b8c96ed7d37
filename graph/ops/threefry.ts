/**
 * Threefry-2x32 with 20 rounds: a counter-based random function, the same bits on every backend and
 * for every number of threads (Salmon et al. 2011, "Parallel Random Numbers: As Easy as 1, 2, 3").
 */
import { ShapeError } from "../errors.ts";
import { makeNode, type Node } from "../node.ts";
import { defineOp } from "../op.ts";
import { sameShape, staticSize } from "../shape.ts";
import { at, DISCRETE, operandsOf, requireDType, textsOf } from "./support.ts";

const PARITY = 0x1bd11bda;
const ROTATIONS = [[13, 15, 26, 6], [17, 29, 16, 24]] as const;

/** Which word of the result: the first, the second, or both xor-ed. */
export type ThreefryWord = "first" | "second" | "xor";

/** The two words of the block with counter (c0, c1) under key (key0, key1); all are u32. */
export function threefry2x32(
  key0: number,
  key1: number,
  c0: number,
  c1: number,
): [number, number] {
  const keys = [key0 | 0, key1 | 0, (PARITY ^ key0 ^ key1) | 0];
  let x = (c0 + at(keys, 0)) | 0;
  let y = (c1 + at(keys, 1)) | 0;
  for (let group = 0; group < 5; group++) {
    for (const turn of at(ROTATIONS, group % 2)) {
      x = (x + y) | 0;
      y = ((y << turn) | (y >>> (32 - turn))) ^ x;
    }
    x = (x + at(keys, (group + 1) % 3)) | 0;
    y = (y + at(keys, (group + 2) % 3) + group + 1) | 0;
  }
  return [x >>> 0, y >>> 0];
}

/** Threefry on tensors. */
export const threefryRecord = defineOp<{ readonly word: ThreefryWord }>({
  name: "threefry",
  kind: "elementwise",
  doc: "Threefry-2x32 with 20 rounds over (key0, key1, counter0, counter1), all u32: the first " +
    "word, the second, or the two xor-ed.",
  infer: (inputs) => {
    const [key] = operandsOf("threefry", inputs, 4);
    requireDType("threefry", inputs, ["u32"]);
    if (!inputs.every((operand) => sameShape(operand.shape, key.shape))) {
      throw new ShapeError("threefry", "shapes differ", textsOf(inputs));
    }
    return { dtype: "u32", shape: key.shape };
  },
  vjp: DISCRETE,
  // Twenty rounds of an addition, a rotation (three operations) and a xor.
  flops: (_inputs, output) => 100 * staticSize(output),
  reference: (inputs, _output, { word }) => {
    const word4 = (index: number) => inputs.map(({ data }) => at(data, index));
    return at(inputs, 0).data.map((_, index) => {
      const [key0 = 0, key1 = 0, c0 = 0, c1 = 0] = word4(index);
      const [first, second] = threefry2x32(key0, key1, c0, c1);
      if (word === "first") return first;
      return word === "second" ? second : (first ^ second) >>> 0;
    });
  },
});

/** Threefry over four u32 tensors of one shape. */
export function threefry(
  word: ThreefryWord,
  key: readonly [Node, Node],
  counter: readonly [Node, Node],
): Node {
  return makeNode(threefryRecord, [...key, ...counter], { word });
}
