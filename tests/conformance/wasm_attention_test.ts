import fc from "../support/fast_check.ts";
import type { TemplateOptions } from "../../backends/wasm/templates/template.ts";
import type { AttentionGradKernel, AttentionKernel } from "../../compiler/loop_ir.ts";
import { assert, assertEquals, assertThrows } from "../support/assert.ts";
import {
  attentionForms,
  attentionGradKernel,
  attentionKernel,
} from "../support/attention_kernels.ts";
import {
  compareTemplate,
  loadTemplate,
  relativeError,
  stored,
  type TemplateKernel,
  typicalNormSum,
} from "./template_runner.ts";

/** Numbers that look random, the same in every run. */
function noise(buffer: number, element: number): number {
  const bits = Math.imul(element + 1, 0x9e3779b1) ^ Math.imul(buffer + 1, 0x85ebca6b);
  return ((Math.imul(bits ^ (bits >>> 15), 0x2c1b3c6d) >>> 8) / 2 ** 24 - 0.5) * 3;
}

function checkAgainstDefinition(
  kernel: TemplateKernel,
  options: TemplateOptions,
  fill: (buffer: number, element: number) => number,
  tolerance: number,
): void {
  const comparisons = compareTemplate(kernel, options, fill);
  for (const comparison of comparisons) {
    const error = relativeError(comparison, typicalNormSum(kernel, comparison.name, comparisons));
    assert(error < tolerance, `${comparison.name} is off by ${error}`);
  }
}

const outputs = fc.constantFrom("both", "out", "logSumExp");
const wanted = fc.oneof(
  fc.record({
    q: fc.boolean(),
    k: fc.boolean(),
    v: fc.boolean(),
    norms: fc.constant(false),
  }),
  fc.record({
    q: fc.constant(true),
    k: fc.constant(true),
    v: fc.boolean(),
    norms: fc.constant(true),
  }),
);

/** Large logarithms of sums keep the probabilities, which need not add up to one, small. */
function gradientNoise(kernel: AttentionGradKernel): (buffer: number, element: number) => number {
  return (buffer, element) =>
    (kernel.buffers[buffer]?.name === "logSumExp" ? 5 : 0) + noise(buffer, element);
}

for (const relaxedSimd of [true, false]) {
  const kind = relaxedSimd ? "relaxed" : "plain";
  for (const norms of [false, true]) {
    const what = norms ? " of normalised rows" : "";
    Deno.test(`wasm attention${what} (${kind} SIMD) agrees with its definition`, () => {
      fc.assert(
        fc.property(attentionForms(norms), outputs, (form, results) => {
          checkAgainstDefinition(attentionKernel(form, results), { relaxedSimd }, noise, 4e-6);
        }),
        { numRuns: 40 },
      );
    });

    Deno.test(`wasm attention's gradient${what} (${kind} SIMD) agrees with its definition`, () => {
      const forms = fc.tuple(attentionForms(norms), wanted)
        .map(([form, results]) => attentionGradKernel(form, results))
        .filter(({ buffers }) => buffers.some(({ access }) => access === "write"));
      fc.assert(
        fc.property(forms, (kernel) => {
          checkAgainstDefinition(kernel, { relaxedSimd }, gradientNoise(kernel), 1e-5);
        }),
        { numRuns: 30 },
      );
    });
  }
}

Deno.test("wasm attention's gradient: norms of few columns, measured by what flows into them", () => {
  for (const center of [true, false]) {
    for (const depth of [1, 2, 3, 4, 5]) {
      const norm = { center, scale: false, bias: true };
      const kernel = attentionGradKernel({
        size: { batch: 1, heads: 1, queries: 1, keys: 3, depth, valueDepth: 4 },
        layouts: ["heads", "heads", "heads", "heads"],
        offset: 0,
        scale: 1,
        queryNorm: norm,
        keyNorm: undefined,
      }, { q: true, k: false, v: false, norms: true });
      const results = compareTemplate(kernel, { relaxedSimd: true }, gradientNoise(kernel));
      const [cotangent, bias] = ["dq", "queryNormGrad_bias"].map((name) =>
        results.find((result) => result.name === name)
      );
      assert(cotangent !== undefined && bias !== undefined);
      // Of a single row, what flows back to the bias is what flows into the norm.
      const typical = Math.max(...stored(bias.expected).map(Math.abs));
      assert(typical > 0.01 && relativeError(cotangent, typical) < 1e-5);
      assert(relativeError(bias) < 1e-5);
    }
  }
});

Deno.test("wasm attention's gradient: a result is the same whatever else is wanted", () => {
  const options = { relaxedSimd: true };
  const all = { q: true, k: true, v: true, norms: true };
  fc.assert(
    fc.property(attentionForms(true), (form) => {
      const results = [
        all,
        ...(["q", "k", "v", "norms"] as const).map((only) => ({
          ...{ q: false, k: false, v: false, norms: false },
          [only]: true,
        })),
      ].map((wanted) => {
        const kernel = attentionGradKernel(form, wanted);
        const { arrays, run } = loadTemplate(kernel, options);
        // By the position among the buffers that are read, which is the same in all of these kernels.
        const read = kernel.buffers.filter(({ access }) => access === "read");
        arrays.forEach((array, at) => {
          const declared = kernel.buffers[at];
          if (declared?.access !== "read") return;
          const place = read.indexOf(declared);
          array.forEach((_, element) => array[element] = noise(place, element));
        });
        run();
        return new Map(kernel.buffers.map(({ name }, at) => [name, arrays[at]?.slice()]));
      });
      const [whole, ...parts] = results;
      for (const part of parts) {
        for (const [name, values] of part) assertEquals(values, whole?.get(name), name);
      }
    }),
    { numRuns: 20 },
  );
});

function plainAttention(queries: number, keys: number, depth: number): AttentionKernel {
  return attentionKernel({
    size: { batch: 1, heads: 1, queries, keys, depth, valueDepth: 3 },
    layouts: ["heads", "heads", "heads", "heads"],
    offset: 0,
    scale: 1,
    queryNorm: undefined,
    keyNorm: undefined,
  }, "both");
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
