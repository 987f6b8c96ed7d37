import fc from "../support/fast_check.ts";
import type {
  Expr,
  KernelBuffer,
  MatmulAxis,
  MatmulKernel,
  MatmulOperand,
  MatmulPart,
  Statement,
} from "../../compiler/loop_ir.ts";
import { type MicrokernelName, MICROKERNELS } from "../../backends/wasm/templates/microkernel.ts";
import { verifyKernel } from "../../compiler/verify_kernel.ts";
import type { TemplateOptions } from "../../backends/wasm/templates/template.ts";
import { assert, assertEquals, assertThrows } from "../support/assert.ts";
import { compareTemplate, loadTemplate, relativeError } from "./template_runner.ts";

/** How an operand lies in memory: the order of its axes, outermost first, and elements left out. */
interface OperandShape {
  readonly order: readonly number[];
  /** Elements between the end of an axis and the next step of the one around it. */
  readonly gap: number;
  readonly offset: number;
}

/** A product of matrices whose result has the part's axes. */
interface TermSpec {
  readonly k: readonly number[];
  /** Which operand stays put along each batch axis. */
  readonly still: readonly ("A" | "B" | "none")[];
  readonly a: OperandShape;
  readonly b: OperandShape;
}

interface PartSpec {
  readonly batch: readonly number[];
  readonly m: readonly number[];
  readonly n: readonly number[];
  readonly terms: readonly TermSpec[];
  readonly epilogue: EpilogueKind;
}

/** Strides for `extents` in this order; `undefined` extents are axes that the operand lacks. */
function strides(
  extents: readonly (number | undefined)[],
  { order, gap }: OperandShape,
): { readonly strides: number[]; readonly elements: number } {
  const result = extents.map(() => 0);
  let step = 1;
  const wanted = order.filter((axis) => axis < extents.length);
  for (let axis = 0; axis < extents.length; axis++) if (!wanted.includes(axis)) wanted.push(axis);
  for (const axis of wanted.reverse()) {
    const extent = extents[axis];
    if (extent === undefined) continue;
    result[axis] = step;
    step = step * extent + gap;
  }
  return { strides: result, elements: step };
}

type EpilogueKind = "plain" | "biasGelu" | "residualAndSum" | "transposed";

function matmul(...parts: readonly PartSpec[]): MatmulKernel {
  const buffers: KernelBuffer[] = [];
  const made = parts.map((part, index) => partOf(part, index, buffers));
  return { kind: "matmul", name: "matmul", parts: made, buffers };
}

function partOf(spec: PartSpec, index: number, buffers: KernelBuffer[]): MatmulPart {
  const extents = [...spec.batch, ...spec.m, ...spec.n];
  const axes = extents.map((extent, at): MatmulAxis => ({ variable: `x${at}`, extent }));
  const [batchEnd, mEnd] = [spec.batch.length, spec.batch.length + spec.m.length];
  return {
    batch: axes.slice(0, batchEnd),
    m: axes.slice(batchEnd, mEnd),
    n: axes.slice(mEnd),
    terms: spec.terms.map((term) => ({
      k: term.k,
      a: operandOf("A", spec, term, index, buffers),
      b: operandOf("B", spec, term, index, buffers),
    })),
    epilogue: epilogueOf(spec.epilogue, axes, index, buffers),
  };
}

/** One side of a term, in a buffer of its own. */
function operandOf(
  side: "A" | "B",
  { batch, m, n }: PartSpec,
  { k, still, a, b }: TermSpec,
  part: number,
  buffers: KernelBuffer[],
): MatmulOperand {
  const [free, shape] = side === "A" ? [m, a] : [n, b];
  const moving = batch.map((extent, at) => still[at] === side ? undefined : extent);
  const layout = strides([...moving, ...free, ...k], shape);
  const [freeStart, kStart] = [batch.length, batch.length + free.length];
  const elements = shape.offset + layout.elements;
  return {
    buffer: buffers.push({ name: `${part} ${side}`, dtype: "f32", elements, access: "read" }) - 1,
    offset: shape.offset,
    batchStrides: layout.strides.slice(0, freeStart),
    freeStrides: layout.strides.slice(freeStart, kStart),
    kStrides: layout.strides.slice(kStart),
  };
}

const variable = (name: string, type: "i32" | "f32" = "i32"): Expr => ({ kind: "var", type, name });
const whole = (value: number): Expr => ({ kind: "const", type: "i32", value });
const real = (value: number): Expr => ({ kind: "const", type: "f32", value });
const binary = (op: "add" | "mul", a: Expr, b: Expr): Expr => ({
  kind: "binary",
  op,
  type: a.type,
  a,
  b,
});

/** The flat index of the axes' variables, row-major. */
function flatIndex(axes: readonly MatmulAxis[]): Expr {
  return axes.reduce<Expr>(
    (flat, axis) => binary("add", binary("mul", flat, whole(axis.extent)), variable(axis.variable)),
    whole(0),
  );
}

function epilogueOf(
  kind: EpilogueKind,
  axes: readonly MatmulAxis[],
  part: number,
  buffers: KernelBuffer[],
): Statement[] {
  const elements = axes.reduce((total, { extent }) => total * extent, 1);
  const declare = (name: string, access: "read" | "write" | "update", length = elements) =>
    buffers.push({ name: `${part} ${name}`, dtype: "f32", elements: length, access }) - 1;
  const acc = variable("acc", "f32");
  const store = (buffer: number, index: Expr, value: Expr): Statement => ({
    kind: "store",
    buffer,
    index,
    value,
  });
  const load = (buffer: number, index: Expr): Expr => ({
    kind: "load",
    type: "f32",
    buffer,
    index,
  });
  const flat = flatIndex(axes);
  switch (kind) {
    case "plain":
      return [store(declare("out", "write"), flat, acc)];
    case "transposed":
      return [store(declare("out", "write"), flatIndex([...axes].reverse()), acc)];
    case "biasGelu": {
      const last = axes.at(-1);
      const bias = declare("bias", "read", last?.extent ?? 1);
      const biased = binary("add", acc, load(bias, last ? variable(last.variable) : whole(0)));
      const x = variable("x", "f32");
      const erf: Expr = {
        kind: "unary",
        op: "erf",
        type: "f32",
        a: binary("mul", x, real(Math.SQRT1_2)),
      };
      const gelu = binary("mul", binary("mul", x, real(0.5)), binary("add", erf, real(1)));
      return [
        { kind: "let", name: "x", value: biased },
        store(declare("before", "write"), flat, x),
        store(declare("out", "write"), flat, gelu),
      ];
    }
    case "residualAndSum": {
      const residual = declare("residual", "read");
      const out = declare("out", "update");
      return [
        store(out, flat, binary("add", load(out, flat), binary("add", acc, load(residual, flat)))),
      ];
    }
  }
}

/** Numbers that look random, the same in every run. */
function noise(buffer: number, element: number): number {
  const bits = Math.imul(element + 1, 0x9e3779b1) ^ Math.imul(buffer + 1, 0x85ebca6b);
  return (Math.imul(bits ^ (bits >>> 15), 0x2c1b3c6d) >>> 8) / 2 ** 24 - 0.5;
}

/** The size of a part's sums of products of {@linkcode noise}, whose square is 1/12 on average. */
function typicalSum({ terms }: MatmulPart): number {
  const lengths = terms.map(({ k }) => k.reduce((total, extent) => total * extent, 1));
  return Math.sqrt(lengths.reduce((sum, length) => sum + length, 0)) / 12;
}

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

function workOf({ batch, m, n, terms }: PartSpec): number {
  const outputs = [...batch, ...m, ...n].reduce((total, extent) => total * extent, 1);
  return terms.reduce(
    (sum, { k }) => sum + k.reduce((total, extent) => total * extent, outputs),
    0,
  );
}

const operandShape = fc.record({
  order: fc.shuffledSubarray([0, 1, 2, 3, 4, 5, 6], { minLength: 7 }),
  gap: fc.constantFrom(0, 0, 0, 1, 4),
  offset: fc.integer({ min: 0, max: 9 }),
});

const small = fc.oneof(fc.integer({ min: 1, max: 9 }), fc.constantFrom(16, 20, 33));
const medium = fc.oneof(fc.integer({ min: 1, max: 40 }), fc.constantFrom(64, 100, 250));
const axisExtents = fc.oneof(
  fc.tuple(medium),
  fc.tuple(small, small),
  fc.constant([] as number[]),
);
const epilogues = fc.constantFrom<EpilogueKind>(
  "plain",
  "biasGelu",
  "residualAndSum",
  "transposed",
);
const stillSide = fc.constantFrom("A", "B", "none");
const term = fc.record({
  k: fc.oneof(axisExtents, fc.constantFrom([500], [13, 40], [0])),
  still: fc.tuple(stillSide, stillSide),
  a: operandShape,
  b: operandShape,
});
const part = fc.record({
  batch: fc.oneof(
    fc.constant([] as number[]),
    fc.tuple(fc.integer({ min: 1, max: 4 })),
    fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 3 })),
  ),
  m: axisExtents,
  n: axisExtents,
  terms: fc.oneof(
    { weight: 2, arbitrary: fc.array(term, { minLength: 1, maxLength: 1 }) },
    { weight: 1, arbitrary: fc.array(term, { minLength: 2, maxLength: 3 }) },
  ),
  epilogue: epilogues,
}).filter((part) => workOf(part) < 4e6);
const parts = fc.oneof(
  { weight: 2, arbitrary: fc.tuple(part) },
  { weight: 1, arbitrary: fc.array(part, { minLength: 2, maxLength: 4 }) },
).filter((parts) => parts.reduce((sum, part) => sum + workOf(part), 0) < 4e6);
const microkernels = fc.constantFrom(...Object.keys(MICROKERNELS) as MicrokernelName[]);

for (const relaxedSimd of [true, false]) {
  const kind = relaxedSimd ? "relaxed" : "plain";
  Deno.test(`wasm matmul (${kind} SIMD) agrees with its definition`, () => {
    fc.assert(
      fc.property(parts, microkernels, (parts, microkernel) => {
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

const PLAIN: OperandShape = { order: [0, 1, 2], gap: 0, offset: 0 };
const TURNED: OperandShape = { order: [6, 5, 4, 3, 2, 1, 0], gap: 0, offset: 2 };

function product(k: readonly number[], a = PLAIN, b = PLAIN): TermSpec {
  return { k, still: [], a, b };
}

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
