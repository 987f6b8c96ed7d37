import fc from "../support/fast_check.ts";
import type { MatmulKernel } from "../../compiler/loop_ir.ts";
import { type MicrokernelName, MICROKERNELS } from "../../backends/wasm/templates/microkernel.ts";
import { verifyKernel } from "../../compiler/verify_kernel.ts";
import type { TemplateOptions } from "../../backends/wasm/templates/template.ts";
import { assert, assertEquals, assertThrows } from "../support/assert.ts";
import {
  matmul,
  matmulParts,
  noise,
  type OperandShape,
  type PartSpec,
  PLAIN,
  product,
  type TermSpec,
  TURNED,
  typicalSum,
} from "../support/matmul_kernels.ts";
import { compareTemplate, loadTemplate, relativeError } from "./template_runner.ts";

/** Compares with the interpreter, and between several ways to divide the units. */
function assertAgrees(kernel: MatmulKernel, options: TemplateOptions): void {
  verifyKernel(kernel);
  for (const comparison of compareTemplate(kernel, options, noise)) {
    const part = kernel.parts[Number.parseInt(comparison.name)];
    if (part === undefined) throw new TypeError(`Buffer ${comparison.name} is of no part`);
    const error = relativeError(comparison, typicalSum(part));
    assert(error < 3e-6, `${comparison.name} is off by ${error}`);
  }
}

const microkernels = fc.constantFrom(...Object.keys(MICROKERNELS) as MicrokernelName[]);

for (const relaxedSimd of [true, false]) {
  const kind = relaxedSimd ? "relaxed" : "plain";
  Deno.test(`wasm matmul (${kind} SIMD) agrees with its definition`, () => {
    fc.assert(
      fc.property(matmulParts, microkernels, (parts, microkernel) => {
        assertAgrees(matmul(...parts), { relaxedSimd, microkernel });
      }),
      { numRuns: 150 },
    );
  });

  Deno.test(`wasm matmul (${kind} SIMD) in several blocks of every axis`, () => {
    const packed = { order: [0, 1, 2], gap: 0, offset: 3 };
    const turned = { order: [2, 1, 0], gap: 1, offset: 0 };
    const pairs = relaxedSimd
      ? [[packed, packed], [turned, turned]] as const
      : [[packed, turned], [turned, packed]] as const;
    for (const [a, b] of pairs) {
      const terms = [{ k: [530], still: [], a, b }];
      const part: PartSpec = { batch: [], m: [410], n: [6, 25], terms, epilogue: "biasGelu" };
      for (const microkernel of [undefined, "4x16"] as const) {
        assertAgrees(matmul(part), { relaxedSimd, microkernel });
      }
    }
  });
}

Deno.test("wasm matmul: axes without elements", () => {
  for (const [m, n] of [[[0], [5]], [[3], [0]], [[2, 0], [4, 3]], [[2, 3], [0, 2]]] as const) {
    const empty: PartSpec = { batch: [2], m, n, terms: [product([7])], epilogue: "biasGelu" };
    const { emitted } = loadTemplate(matmul(empty), { relaxedSimd: true });
    assertEquals(emitted.phases, []);
    assertAgrees(matmul(empty, { ...empty, m: [3], n: [5] }, empty), { relaxedSimd: true });
  }
});

Deno.test("wasm matmul: every microkernel at the edges of its tile, one term or two", () => {
  const turned: OperandShape = { order: [2, 1, 0], gap: 3, offset: 1 };
  for (const microkernel of Object.keys(MICROKERNELS) as MicrokernelName[]) {
    for (const relaxedSimd of [true, false]) {
      for (const m of [1, 5, 6, 7, 11, 25]) {
        const parts = [3, 4, 5, 8, 12, 13, 16, 28, 35].map((n): PartSpec => ({
          batch: [],
          m: [m],
          n: [n],
          terms: n % 2 === 0
            ? [product([33], PLAIN, turned)]
            : [product([8]), product([41], turned, PLAIN)],
          epilogue: n % 4 === 0 ? "residualAndSum" : "plain",
        }));
        assertAgrees(matmul(...parts), { relaxedSimd, microkernel });
      }
    }
  }
});

Deno.test("wasm matmul: slices of a long k are summed apart, then added", () => {
  const cases = [
    { batch: [], m: [37], n: [29], terms: [product([1500], TURNED, TURNED)] },
    { batch: [2], m: [5, 6], n: [3, 4], terms: [product([40, 31], TURNED, TURNED)] },
    {
      batch: [],
      m: [37],
      n: [29],
      terms: [product([900], TURNED), product([0]), product([7]), product([800], PLAIN, TURNED)],
    },
  ];
  for (const part of cases) {
    for (const epilogue of ["biasGelu", "residualAndSum"] as const) {
      const kernel = matmul({ ...part, epilogue });
      const { emitted } = loadTemplate(kernel, { relaxedSimd: true });
      assertEquals(emitted.phases.length, 2);
      assertAgrees(kernel, { relaxedSimd: true });
    }
  }
});

Deno.test("wasm matmul: terms in several blocks of every axis add up", () => {
  const terms = [product([400]), product([390], TURNED), product([20, 20], PLAIN, TURNED)];
  const part: PartSpec = { batch: [], m: [250], n: [137], terms, epilogue: "biasGelu" };
  assertAgrees(matmul(part), { relaxedSimd: true });
});

Deno.test("wasm matmul: few rows are multiplied with a right operand that is not packed", () => {
  const ends: OperandShape = { order: [0, 1, 2], gap: 4, offset: 1 };
  const asColumns: OperandShape = { order: [0, 2, 1], gap: 3, offset: 5 };
  for (const rows of [1, 2, 4]) {
    for (const batch of [[], [3]]) {
      const still = ["none", "none"] as const;
      const last = batch.length;
      // The right operand's axes are the batch's, n, k.
      const byRows: OperandShape = { ...ends, order: [...batch.keys(), last + 1, last] };
      const byColumns: OperandShape = { ...asColumns, order: [...batch.keys(), last, last + 1] };
      const terms: TermSpec[] = [
        { k: [21], still, a: PLAIN, b: byRows },
        { k: [0], still, a: PLAIN, b: byRows },
        { k: [300], still, a: PLAIN, b: byColumns },
        { k: [515], still, a: PLAIN, b: byRows },
      ];
      const part: PartSpec = { batch, m: [rows], n: [516], terms, epilogue: "biasGelu" };
      const kernel = matmul(part);
      for (const relaxedSimd of [true, false]) {
        const { emitted } = loadTemplate(kernel, { relaxedSimd });
        assert(
          emitted.privateScratchBytes < 65536,
          "The right operand has a place to be packed at",
        );
        assertAgrees(kernel, { relaxedSimd });
      }
    }
  }
});

Deno.test("wasm matmul: parts with and without a second phase run side by side", () => {
  const parts: PartSpec[] = [
    { batch: [], m: [40], n: [30], terms: [product([9])], epilogue: "residualAndSum" },
    { batch: [], m: [37], n: [29], terms: [product([1500], TURNED)], epilogue: "biasGelu" },
    { batch: [3], m: [], n: [4], terms: [product([0])], epilogue: "plain" },
    { batch: [], m: [64], n: [48], terms: [product([700], TURNED)], epilogue: "transposed" },
  ];
  const kernel = matmul(...parts);
  const { emitted } = loadTemplate(kernel, { relaxedSimd: true });
  assertEquals(emitted.phases.length, 2);
  assertAgrees(kernel, { relaxedSimd: true });
});

Deno.test("wasm matmul: units of parts that differ in size are about as large", () => {
  const part = (n: number): PartSpec => ({
    batch: [],
    m: [197],
    n: [n],
    terms: [product([192])],
    epilogue: "plain",
  });
  const units = (...sizes: number[]) =>
    loadTemplate(matmul(...sizes.map(part)), { relaxedSimd: true }).emitted.phases[0]?.units ?? 0;
  const [narrow, wide] = [units(192), units(768)];
  assertEquals(units(192, 192, 192, 768) < 3 * narrow + wide, true);
  assertEquals(units(192, 192, 192, 768) >= 16, true);
});

Deno.test("wasm matmul: NaN and infinity reach exactly the results that they belong to", () => {
  const kernel = matmul({
    batch: [],
    m: [13],
    n: [11],
    terms: [product([37])],
    epilogue: "plain",
  });
  const loaded = loadTemplate(kernel, { relaxedSimd: true });
  const [a, b, out] = loaded.arrays;
  if (a === undefined || b === undefined || out === undefined) throw new TypeError("No buffers");
  a.fill(1);
  b.fill(1);
  a[12 * 37 + 36] = NaN;
  b[36 * 11 + 10] = Infinity;
  loaded.run();
  const expected = Array.from({ length: 13 * 11 }, (_, index) => {
    if (Math.floor(index / 11) === 12) return NaN;
    return index % 11 === 10 ? Infinity : 37;
  });
  assertEquals([...out], expected);
});

Deno.test("wasm matmul: an unknown microkernel is refused", () => {
  const kernel = matmul({ batch: [], m: [2], n: [2], terms: [product([2])], epilogue: "plain" });
  const microkernel = "9x9" as MicrokernelName;
  assertThrows(
    () => loadTemplate(kernel, { relaxedSimd: true, microkernel }),
    RangeError,
    "No microkernel 9x9; there are 4x8, 5x8, 6x8, 4x16, 5x16, 6x16",
  );
});
