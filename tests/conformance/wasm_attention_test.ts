import fc from "../support/fast_check.ts";
import type {
  AttentionGradKernel,
  AttentionKernel,
  MatrixOperand,
} from "../../compiler/loop_ir.ts";
import { assert, assertEquals, assertThrows } from "../support/assert.ts";
import {
  compareTemplate,
  loadTemplate,
  relativeError,
  type TemplateKernel,
} from "./template_runner.ts";

/** Buffers, and operands that lie in them as [batch, rows, heads, columns] or with columns outermost. */
class Buffers {
  readonly declared: TemplateKernel["buffers"][number][] = [];

  matrix(
    name: string,
    access: "read" | "write",
    [batch, heads, rows, columns]: readonly [number, number, number, number],
    layout: "tokens" | "heads" | "transposed",
    offset: number,
  ): MatrixOperand {
    const strides = {
      tokens: { batchStrides: [rows * heads * columns, columns], rowStride: heads * columns },
      heads: { batchStrides: [heads * rows * columns, rows * columns], rowStride: columns },
      transposed: { batchStrides: [heads * rows * columns, rows * columns], rowStride: 1 },
    }[layout];
    const elements = offset + batch * heads * rows * columns;
    this.declared.push({ name, dtype: "f32", elements, access });
    const columnStride = layout === "transposed" ? rows : 1;
    return { buffer: this.declared.length - 1, offset, ...strides, columnStride };
  }
}

const layouts = fc.constantFrom("tokens", "heads", "transposed");
const sizes = fc.record({
  batch: fc.integer({ min: 1, max: 3 }),
  heads: fc.integer({ min: 1, max: 3 }),
  queries: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.constantFrom(75, 100, 197)),
  keys: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.constantFrom(50, 197, 321, 700)),
  depth: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.constantFrom(32, 38, 64, 123)),
  valueDepth: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.constantFrom(32, 64)),
});

const forward = fc.record({
  size: sizes,
  layouts: fc.tuple(layouts, layouts, layouts, layouts),
  offset: fc.integer({ min: 0, max: 5 }),
  outputs: fc.constantFrom("both", "out", "logSumExp"),
  scale: fc.constantFrom(0.125, 1, -0.5),
});

type Forward = typeof forward extends fc.Arbitrary<infer T> ? T : never;

function attentionKernel({ size, layouts, offset, outputs, scale }: Forward): AttentionKernel {
  const { batch, heads, queries, keys, depth, valueDepth } = size;
  const buffers = new Buffers();
  const withOut = outputs !== "logSumExp";
  const q = buffers.matrix("q", "read", [batch, heads, queries, depth], layouts[0], offset);
  const k = buffers.matrix("k", "read", [batch, heads, keys, depth], layouts[1], 0);
  const v = withOut
    ? buffers.matrix("v", "read", [batch, heads, keys, valueDepth], layouts[2], 2 * offset)
    : undefined;
  const out = withOut
    ? buffers.matrix("out", "write", [batch, heads, queries, valueDepth], layouts[3], offset)
    : undefined;
  const logSumExp = outputs !== "out"
    ? buffers.matrix("logSumExp", "write", [batch, heads, queries, 1], "heads", 0)
    : undefined;
  return {
    kind: "attention",
    name: "attention",
    buffers: buffers.declared,
    batch: [batch, heads],
    queries,
    keys,
    depth,
    valueDepth: withOut ? valueDepth : 0,
    scale,
    q,
    k,
    v,
    out,
    logSumExp,
  };
}

/** Numbers that look random, the same in every run. */
function noise(buffer: number, element: number): number {
  const bits = Math.imul(element + 1, 0x9e3779b1) ^ Math.imul(buffer + 1, 0x85ebca6b);
  return ((Math.imul(bits ^ (bits >>> 15), 0x2c1b3c6d) >>> 8) / 2 ** 24 - 0.5) * 3;
}

const backward = fc.record({
  size: sizes,
  layouts: fc.tuple(layouts, layouts, layouts, layouts),
  offset: fc.integer({ min: 0, max: 5 }),
  wanted: fc.tuple(fc.boolean(), fc.boolean(), fc.boolean())
    .filter((wanted) => wanted.includes(true)),
  scale: fc.constantFrom(0.125, 1, -0.5),
});

type Backward = typeof backward extends fc.Arbitrary<infer T> ? T : never;

function gradKernel({ size, layouts, offset, wanted, scale }: Backward): AttentionGradKernel {
  const { batch, heads, queries, keys, depth, valueDepth } = size;
  const buffers = new Buffers();
  const matrix = (
    name: string,
    access: "read" | "write",
    rows: number,
    columns: number,
    layout: "tokens" | "heads" | "transposed",
  ) => buffers.matrix(name, access, [batch, heads, rows, columns], layout, offset);
  return {
    kind: "attentionGrad",
    name: "attentionGrad",
    q: matrix("q", "read", queries, depth, layouts[0]),
    k: matrix("k", "read", keys, depth, layouts[1]),
    v: matrix("v", "read", keys, valueDepth, layouts[2]),
    out: matrix("out", "read", queries, valueDepth, layouts[3]),
    logSumExp: matrix("logSumExp", "read", queries, 1, "heads"),
    outCotangent: matrix("outCotangent", "read", queries, valueDepth, layouts[0]),
    dq: wanted[0] ? matrix("dq", "write", queries, depth, layouts[1]) : undefined,
    dk: wanted[1] ? matrix("dk", "write", keys, depth, layouts[2]) : undefined,
    dv: wanted[2] ? matrix("dv", "write", keys, valueDepth, layouts[3]) : undefined,
    buffers: buffers.declared,
    batch: [batch, heads],
    queries,
    keys,
    depth,
    valueDepth,
    scale,
  };
}

for (const relaxedSimd of [true, false]) {
  const kind = relaxedSimd ? "relaxed" : "plain";
  Deno.test(`wasm attention (${kind} SIMD) agrees with its definition`, () => {
    fc.assert(
      fc.property(forward, (shape) => {
        const kernel = attentionKernel(shape);
        for (const comparison of compareTemplate(kernel, { relaxedSimd }, noise)) {
          const error = relativeError(comparison);
          assert(error < 4e-6, `${comparison.name} is off by ${error}`);
        }
      }),
      { numRuns: 40 },
    );
  });

  Deno.test(`wasm attention's gradient (${kind} SIMD) agrees with its definition`, () => {
    fc.assert(
      fc.property(backward, (shape) => {
        const kernel = gradKernel(shape);
        // Large logarithms of sums keep the probabilities, which need not add up to one, small.
        const fill = (buffer: number, element: number) =>
          kernel.buffers[buffer]?.name === "logSumExp"
            ? 5 + noise(buffer, element)
            : noise(buffer, element);
        for (const comparison of compareTemplate(kernel, { relaxedSimd }, fill)) {
          const error = relativeError(comparison);
          assert(error < 1e-5, `${comparison.name} is off by ${error}`);
        }
      }),
      { numRuns: 30 },
    );
  });
}

function plainAttention(queries: number, keys: number, depth: number): AttentionKernel {
  return attentionKernel({
    size: { batch: 1, heads: 1, queries, keys, depth, valueDepth: 3 },
    layouts: ["heads", "heads", "heads", "heads"],
    offset: 0,
    outputs: "both",
    scale: 1,
  });
}

Deno.test("wasm attention: keys without weight, a whole tile of them, and large scores", () => {
  const kernel = plainAttention(7, 700, 1);
  const fills: readonly ((element: number) => number)[] = [
    (element) => element < 400 ? -Infinity : Math.sin(element),
    (element) => element > 30 ? -Infinity : Math.sin(element),
    (element) => 1e4 * Math.sin(element),
  ];
  for (const key of fills) {
    const fill = (buffer: number, element: number) => {
      // Powers of two: products are exact, in the interpreter's f64 as in f32.
      if (buffer === 0) return 2 ** (element % 3);
      return buffer === 1 ? key(element) : noise(buffer, element);
    };
    for (const comparison of compareTemplate(kernel, { relaxedSimd: true }, fill)) {
      const error = relativeError(comparison);
      assert(error < 4e-6, `${comparison.name} is off by ${error}`);
    }
  }
});

Deno.test("wasm attention: with no weight on any key the sum is zero and the mean unknown", () => {
  const loaded = loadTemplate(plainAttention(2, 5, 1), { relaxedSimd: true });
  const [q, k, v, out, logSumExp] = loaded.arrays;
  q?.fill(1);
  k?.fill(-Infinity);
  v?.fill(1);
  loaded.run();
  assertEquals([...out ?? []], Array<number>(6).fill(NaN));
  assertEquals([...logSumExp ?? []], [-Infinity, -Infinity]);
});

Deno.test("wasm attention: NaN in a query spoils its own row alone", () => {
  const loaded = loadTemplate(plainAttention(5, 9, 2), { relaxedSimd: true });
  const [q, k, v, out] = loaded.arrays;
  if (q === undefined || k === undefined || v === undefined || out === undefined) {
    throw new TypeError("The kernel has too few buffers");
  }
  for (const array of [q, k, v]) array.fill(1);
  q[2 * 3] = NaN;
  loaded.run();
  assertEquals(
    [...out].map(Number.isNaN),
    Array.from({ length: 15 }, (_, at) => at / 3 >> 0 === 3),
  );
});

Deno.test("wasm attention: scratch does not grow with the number of keys", () => {
  const bytes = (keys: number) =>
    loadTemplate(plainAttention(64, keys, 8), { relaxedSimd: true }).emitted.privateScratchBytes;
  assert(bytes(50_000) <= bytes(5_000) * 1.1);
});

Deno.test("wasm attention: no keys are refused", () => {
  assertThrows(
    () => loadTemplate(plainAttention(1, 0, 1), { relaxedSimd: true }),
    RangeError,
    "Kernel attention attends to no keys",
  );
});
