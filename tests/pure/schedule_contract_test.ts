/** Contractions of every kind of axes, over operands that are views of all kinds. */
import fc from "../support/fast_check.ts";
import { contractRecord } from "../../graph/ops/contract.ts";
import * as g from "../../graph/mod.ts";
import { makeNode, type Node } from "../../graph/node.ts";
import { staticShape } from "../../graph/shape.ts";
import { assertLowersRight } from "../support/compare_lowered.ts";

type Role = "batch" | "m" | "n" | "k";

interface Axis {
  readonly role: Role;
  readonly size: number;
  /** Where the axis stands among the others, in the left and right operand and the result. */
  readonly places: readonly [number, number, number];
}

const axes = fc.array(
  fc.record({
    role: fc.constantFrom<Role>("batch", "m", "n", "k"),
    size: fc.constantFrom(1, 2, 3, 5),
    places: fc.tuple(fc.nat(9), fc.nat(9), fc.nat(9)),
  }),
  { maxLength: 5 },
);

const SIDES: Readonly<Record<Role, readonly [boolean, boolean, boolean]>> = {
  batch: [true, true, true],
  m: [true, false, true],
  n: [false, true, true],
  k: [true, true, false],
};

/** The letters that stand on a side (0 left, 1 right, 2 result), in their order there. */
function lettersOn(list: readonly Axis[], side: 0 | 1 | 2): string[] {
  return list.map((axis, at) => ({ axis, letter: "abcdefgh"[at] ?? "z" }))
    .filter(({ axis }) => SIDES[axis.role][side])
    .sort((one, other) => (one.axis.places[side] ?? 0) - (other.axis.places[side] ?? 0))
    .map(({ letter }) => letter);
}

/** The operand, as some view of an input that has its shape. */
function viewed(path: string, shape: readonly number[], how: number): Node {
  const rank = shape.length;
  switch (how % 7) {
    case 1:
      return g.transpose(g.input(path, "f32", [...shape].reverse()));
    case 2:
      return rank === 0
        ? g.input(path, "f32", shape)
        : g.reverse(g.input(path, "f32", shape), rank - 1);
    case 3:
      return g.slice(
        g.input(path, "f32", shape.map((size) => size + 2)),
        shape.map(() => 1),
        shape.map((size) => size + 1),
      );
    case 4:
      return g.broadcastTo(g.input(path, "f32", shape.slice(1)), shape);
    case 5:
      return g.reshape(g.transpose(g.input(path, "f32", [...shape].reverse())), shape);
    case 6:
      return g.tanh(g.input(path, "f32", shape));
    default:
      return g.input(path, "f32", shape);
  }
}

Deno.test("contractions of any axes in any order, of any views, with an epilogue", () => {
  fc.assert(
    fc.property(axes, fc.nat(6), fc.nat(6), (list, how, otherHow) => {
      const sizeOf = (letter: string) => list["abcdefgh".indexOf(letter)]?.size ?? 1;
      const [left, right, out] = [lettersOn(list, 0), lettersOn(list, 1), lettersOn(list, 2)];
      const a = viewed("a", left.map(sizeOf), how);
      const b = viewed("b", right.map(sizeOf), otherHow);
      const spec = `${left.join("")},${right.join("")}->${out.join("")}`;
      const product = makeNode(contractRecord, [a, b], { spec });
      const bias = g.input("bias", "f32", staticShape(product.shape).slice(-1));
      assertLowersRight({ product, y: g.tanh(g.add(product, bias)) });
    }),
    { numRuns: 300 },
  );
});

Deno.test("sums of contractions with other axes, and contractions of one operand", () => {
  const x = g.input("x", "f32", [4, 6]);
  const w = [0, 1, 2].map((at) => g.input(`w${at}`, "f32", [6, 5]));
  const [first, second, third] = w.map((weight) => g.matmul(x, weight));
  const t = g.input("t", "f32", [5, 4]);
  const turned = g.contract("n m, k n -> m k", t, g.input("u", "f32", [5, 5]));
  if (first === undefined || second === undefined || third === undefined) throw new RangeError();
  assertLowersRight({ first, second: g.gelu(second), third: g.add(third, first) });
  assertLowersRight({ y: g.add(g.add(first, second), g.add(third, turned)) });
  assertLowersRight({ y: g.add(first, turned), z: g.sub(second, g.mul(third, 2)) });
  assertLowersRight({
    square: g.matmul(x, g.transpose(x)),
    cube: g.matmul(g.matmul(x, g.transpose(x)), x),
  });
});
