import fc from "fast-check";
import type {
  Expr,
  KernelBuffer,
  MatmulAxis,
  MatmulKernel,
  Statement,
} from "../../compiler/loop_ir.ts";
import { type MicrokernelName, MICROKERNELS } from "../../backends/wasm/templates/microkernel.ts";
import { assert, assertEquals, assertThrows } from "../support/assert.ts";
import { compareTemplate, loadTemplate, relativeError } from "./template_runner.ts";

/** How an operand lies in memory: the order of its axes, outermost first, and elements left out. */
interface OperandShape {
  readonly order: readonly number[];
  /** Elements between the end of an axis and the next step of the one around it. */
  readonly gap: number;
  readonly offset: number;
}

interface Axes {
  readonly batch: readonly number[];
  readonly m: readonly number[];
  readonly n: readonly number[];
  readonly k: readonly number[];
  /** Batch axes along which an operand stays put. */
  readonly still: readonly ("A" | "B" | "none")[];
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

function matmul(
  axes: Axes,
  a: OperandShape,
  b: OperandShape,
  epilogue: EpilogueKind,
): MatmulKernel {
  const all = [...axes.batch, ...axes.m, ...axes.n, ...axes.k];
  const [nBatch, nM, nN] = [axes.batch.length, axes.m.length, axes.n.length];
  const isM = (at: number) => at >= nBatch && at < nBatch + nM;
  const isN = (at: number) => at >= nBatch + nM && at < nBatch + nM + nN;
  const stays = (at: number, operand: "A" | "B") => axes.still[at] === operand && at < nBatch;
  const inA = all.map((extent, at) => isN(at) || stays(at, "A") ? undefined : extent);
  const inB = all.map((extent, at) => isM(at) || stays(at, "B") ? undefined : extent);
  const [layoutA, layoutB] = [strides(inA, a), strides(inB, b)];
  const axis = (at: number): MatmulAxis => ({
    variable: `x${at}`,
    extent: all[at] ?? 1,
    strideA: layoutA.strides[at] ?? 0,
    strideB: layoutB.strides[at] ?? 0,
  });
  const range = (from: number, count: number) =>
    Array.from({ length: count }, (_, position) => axis(from + position));
  const outAxes = range(0, nBatch + nM + nN);
  const outElements = outAxes.reduce((total, { extent }) => total * extent, 1);
  const buffers: KernelBuffer[] = [
    { name: "a", dtype: "f32", elements: a.offset + layoutA.elements, access: "read" },
    { name: "b", dtype: "f32", elements: b.offset + layoutB.elements, access: "read" },
  ];
  return {
    kind: "matmul",
    name: "matmul",
    a: { buffer: 0, offset: a.offset },
    b: { buffer: 1, offset: b.offset },
    batch: range(0, nBatch),
    m: range(nBatch, nM),
    n: range(nBatch + nM, nN),
    k: range(nBatch + nM + nN, axes.k.length),
    epilogue: epilogueOf(epilogue, outAxes, outElements, buffers),
    buffers,
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
  elements: number,
  buffers: KernelBuffer[],
): Statement[] {
  const declare = (name: string, access: "read" | "write" | "update", length = elements) =>
    buffers.push({ name, dtype: "f32", elements: length, access }) - 1;
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

/** The size of a sum of products of {@linkcode noise}, whose square is 1/12 on average. */
function typicalSum(kernel: MatmulKernel): number {
  return Math.sqrt(kernel.k.reduce((total, axis) => total * axis.extent, 1)) / 12;
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
const axes = fc.record({
  batch: fc.oneof(
    fc.constant([] as number[]),
    fc.tuple(fc.integer({ min: 1, max: 4 })),
    fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 3 })),
  ),
  m: axisExtents,
  n: axisExtents,
  k: fc.oneof(axisExtents, fc.constantFrom([500], [13, 40], [0])),
  still: fc.tuple(fc.constantFrom("A", "B", "none"), fc.constantFrom("A", "B", "none")),
}).filter(({ batch, m, n, k }) =>
  [...batch, ...m, ...n, ...k].reduce((total, extent) => total * extent, 1) < 4e6
);
const epilogues = fc.constantFrom<EpilogueKind>(
  "plain",
  "biasGelu",
  "residualAndSum",
  "transposed",
);
const microkernels = fc.constantFrom(...Object.keys(MICROKERNELS) as MicrokernelName[]);

for (const relaxedSimd of [true, false]) {
  const kind = relaxedSimd ? "relaxed" : "plain";
  Deno.test(`wasm matmul (${kind} SIMD) agrees with its definition`, () => {
    fc.assert(
      fc.property(
        axes,
        operandShape,
        operandShape,
        epilogues,
        microkernels,
        (axes, a, b, epilogue, microkernel) => {
          const kernel = matmul(axes, a, b, epilogue);
          for (const comparison of compareTemplate(kernel, { relaxedSimd, microkernel }, noise)) {
            const error = relativeError(comparison, typicalSum(kernel));
            assert(error < 3e-6, `${comparison.name} is off by ${error}`);
          }
        },
      ),
      { numRuns: 100 },
    );
  });

  Deno.test(`wasm matmul (${kind} SIMD) in several blocks of every axis`, () => {
    const packed = { order: [0, 1, 2], gap: 0, offset: 3 };
    const turned = { order: [2, 1, 0], gap: 1, offset: 0 };
    const pairs = relaxedSimd
      ? [[packed, packed], [turned, turned]] as const
      : [[packed, turned], [turned, packed]] as const;
    for (const [a, b] of pairs) {
      const axes = { batch: [], m: [250], n: [137], k: [400], still: [] };
      const kernel = matmul(axes, a, b, "biasGelu");
      for (const comparison of compareTemplate(kernel, { relaxedSimd }, noise)) {
        const error = relativeError(comparison, typicalSum(kernel));
        assert(error < 3e-6, `${comparison.name} is off by ${error}`);
      }
    }
  });
}

Deno.test("wasm matmul: parts of a long k are summed apart, then added", () => {
  const turned = { order: [6, 5, 4, 3, 2, 1, 0], gap: 0, offset: 2 };
  const cases = [
    { batch: [], m: [37], n: [29], k: [1500], still: [] },
    { batch: [2], m: [5, 6], n: [3, 4], k: [40, 31], still: [] },
  ];
  for (const axes of cases) {
    for (const epilogue of ["biasGelu", "residualAndSum"] as const) {
      const kernel = matmul(axes, turned, turned, epilogue);
      const { emitted } = loadTemplate(kernel, { relaxedSimd: true });
      assertEquals(emitted.phases.length, 2);
      for (const comparison of compareTemplate(kernel, { relaxedSimd: true }, noise)) {
        const error = relativeError(comparison, typicalSum(kernel));
        assert(error < 3e-6, `${comparison.name} is off by ${error}`);
      }
    }
  }
});

Deno.test("wasm matmul: NaN and infinity reach exactly the results that they belong to", () => {
  const shape = { order: [0, 1, 2], gap: 0, offset: 0 };
  const kernel = matmul(
    { batch: [], m: [13], n: [11], k: [37], still: [] },
    shape,
    shape,
    "plain",
  );
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
  const shape = { order: [], gap: 0, offset: 0 };
  const kernel = matmul({ batch: [], m: [2], n: [2], k: [2], still: [] }, shape, shape, "plain");
  const microkernel = "9x9" as MicrokernelName;
  assertThrows(
    () => loadTemplate(kernel, { relaxedSimd: true, microkernel }),
    RangeError,
    "No microkernel 9x9; there are 6x8, 5x8, 4x8",
  );
});
