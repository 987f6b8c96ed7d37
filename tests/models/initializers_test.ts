import {
  constant,
  type Initializer,
  lecunNormal,
  normal,
  xavierUniform,
} from "../../models/initializers.ts";
import { normalQuantile } from "../../models/normal_quantile.ts";
import { declare, initialize, initializeLazily } from "../../models/parameters.ts";
import { hostFoldIn, hostKey, hostPermutation, hostWords } from "../../models/random_words.ts";
import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertNotEquals,
  assertThrows,
} from "../support/assert.ts";
import golden from "../golden/random.json" with { type: "json" };

const COUNT = 100_000;

function sample(initializer: Initializer, count = COUNT): Float32Array {
  return initializer(count, (words) => hostWords(hostKey(7), words));
}

function moments(values: Float32Array): { mean: number; deviation: number; largest: number } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
  const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return { mean, deviation: Math.sqrt(variance), largest };
}

Deno.test("the host draws the words that JAX draws", () => {
  for (const { key: [high = 0, low = 0], bits } of golden.bits) {
    assertEquals([...hostWords([high, low], bits.length)], bits);
  }
  for (const { key: [high = 0, low = 0], data, answer } of golden.foldIn) {
    assertEquals([...hostFoldIn([high, low], data)], answer);
  }
});

Deno.test("the normal quantile inverts the distribution function", () => {
  // Quantiles to 17 digits, as Python's statistics.NormalDist has them.
  const known: [number, number][] = [
    [0.5, 0],
    [0.925, 1.439531470938456],
    [0.975, 1.9599639845400536],
    [0.001, -3.090232306167813],
    [1e-9, -5.9978070150076865],
  ];
  for (const [p, quantile] of known) assertAlmostEquals(normalQuantile(p), quantile, 4e-15);
  assertThrows(() => normalQuantile(1e-12), RangeError, "Cannot invert the normal distribution");
  assertThrows(() => normalQuantile(NaN), RangeError, "at NaN");
});

Deno.test("initialisers have the spread that their formulas say", () => {
  // Standard errors of mean and deviation are at most deviation / sqrt(100,000) = 0.32 % of it.
  const cases: [Initializer, { deviation: number; largest: number }][] = [
    [normal(0.02), { deviation: 0.02, largest: 0.02 * 6.4 }],
    [xavierUniform(30, 70), { deviation: Math.sqrt(6 / 100 / 3), largest: Math.sqrt(6 / 100) }],
    [lecunNormal(48), { deviation: Math.sqrt(1 / 48), largest: 2 * Math.sqrt(1 / 48) / 0.8796 }],
  ];
  for (const [initializer, wanted] of cases) {
    const found = moments(sample(initializer));
    assert(Math.abs(found.mean) < 0.015 * wanted.deviation, `mean ${found.mean}`);
    assertAlmostEquals(found.deviation, wanted.deviation, 0.015 * wanted.deviation);
    assert(found.largest <= wanted.largest, `largest ${found.largest}`);
    assert(found.largest > 2 * wanted.deviation * 0.8, `largest ${found.largest}`);
  }
  assertEquals([...sample(constant(-6.5), 3)], [-6.5, -6.5, -6.5]);
});

Deno.test("the same seed draws the same bits, whatever other parameters there are", () => {
  const weight = declare([3, 5], normal(1));
  const alone = initialize({ mlp: { kernel: weight } }, 3);
  const beside = initialize({ first: weight, mlp: { kernel: weight, bias: weight } }, 3);
  assertEquals(alone.mlp.kernel, beside.mlp.kernel);
  assertNotEquals(beside.mlp.kernel, beside.mlp.bias);
  assertNotEquals(alone.mlp.kernel, initialize({ mlp: { kernel: weight } }, 4).mlp.kernel);
});

Deno.test("a seed that is not a 32-bit whole number is refused", () => {
  for (const seed of [-1, 1.5, 2 ** 32, NaN]) {
    assertThrows(() => hostKey(seed), RangeError, `Seed is ${seed}, wanted a whole number from 0`);
  }
});

Deno.test("a permutation holds each number once, and depends on its key", () => {
  const order = hostPermutation(hostKey(1), 1000);
  assertEquals([...order].sort((a, b) => a - b), Array.from({ length: 1000 }, (_, index) => index));
  assertNotEquals(order, hostPermutation(hostKey(2), 1000));
  assertEquals(hostPermutation(hostKey(1), 0).length, 0);
});

Deno.test("values drawn one at a time are those drawn all at once", () => {
  const weight = declare([3, 5], normal(1));
  const declarations = {
    mlp: [{ kernel: weight }, { kernel: weight }],
    bias: declare([2], constant(1)),
  };
  const later = initializeLazily(declarations, 5);
  const now = initialize(declarations, 5);
  assertEquals(later.mlp.map(({ kernel }) => kernel()), now.mlp.map(({ kernel }) => kernel));
  assertEquals(later.bias(), now.bias);
  assertThrows(() => initializeLazily(declarations, -1), RangeError, "Seed is -1");
});
