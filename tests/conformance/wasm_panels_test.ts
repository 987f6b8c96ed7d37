/** Weights that lie in memory as panels: which do, and that nobody can tell but by the time it takes. */
import { compile, type InputPiece, type MicrokernelName, wasm } from "../../backends/mod.ts";
import { movePanels } from "../../backends/wasm/panel_packing.ts";
import { planPanelStorage } from "../../backends/wasm/panel_storage.ts";
import { MICROKERNELS } from "../../backends/wasm/templates/microkernel.ts";
import type { PanelLayout } from "../../backends/wasm/templates/panels.ts";
import { lowerGraph } from "../../compiler/pipeline.ts";
import { contract, dim, mul, neg, spec, sub, trace, type TracedGraph } from "../../graph/mod.ts";
import { assertEquals } from "../support/assert.ts";
import fc from "../support/fast_check.ts";

const NAMES = Object.keys(MICROKERNELS) as MicrokernelName[];

const layouts = fc.record<PanelLayout>({
  k: fc.integer({ min: 1, max: 70 }),
  columns: fc.integer({ min: 1, max: 17 }).map((groups) => 4 * groups),
  isTransposed: fc.boolean(),
  widest: fc.constantFrom(4, 8, 16),
});

/** Where the panels' words come from in the matrix, by the layout's definition. */
function sources({ k, columns, isTransposed, widest }: PanelLayout): number[] {
  const places: number[] = [];
  for (let first = 0; first < columns;) {
    const left = columns - first;
    const width = [16, 8, 4].find((width) => width <= widest && width <= left) ?? 4;
    for (let row = 0; row < k; row++) {
      for (let column = first; column < first + width; column++) {
        places.push(isTransposed ? column * k + row : row * columns + column);
      }
    }
    first += width;
  }
  return places;
}

Deno.test("panels: a matrix goes in by pieces and comes out as it was", () => {
  fc.assert(fc.property(layouts, fc.array(fc.nat(4000), { maxLength: 6 }), (layout, cuts) => {
    const size = layout.k * layout.columns;
    const flat = Int32Array.from({ length: size }, (_, at) => 7 * at + 1);
    const panels = new Int32Array(size);
    const ends = [...cuts.map((cut) => cut % size), size].sort((a, b) => a - b);
    ends.forEach((end, index) => {
      const start = ends[index - 1] ?? 0;
      movePanels(layout, panels, flat.subarray(start, end), start, "pack");
    });
    assertEquals([...panels], sources(layout).map((from) => flat[from]));
    const back = new Int32Array(size);
    movePanels(layout, panels, back, 0, "unpack");
    assertEquals(back, flat);
  }));
});

/** Paths of the inputs that lie in panels. */
function stored(graph: TracedGraph, donate: Readonly<Record<string, string>> = {}): string[] {
  const program = lowerGraph(graph, { target: { alignment: 64 }, donate });
  const { layouts } = planPanelStorage(program, 8);
  return program.inputs.flatMap(({ path, buffer }) => layouts.has(buffer) ? [path] : []).sort();
}

const square = spec("f32", [8, 8]);

Deno.test("panels: weights of products lie in panels, as rows or as columns", () => {
  const graph = trace(
    { x: spec("f32", [5, 8]), w: spec("f32", [8, 12]), v: spec("f32", [8, 12]) },
    ({ x, w, v }) => ({
      y: contract("i j, k j -> i k", contract("i k, k j -> i j", x, w), v),
    }),
  );
  assertEquals(stored(graph), ["v", "w"]);
});

Deno.test("panels: parts and terms that share kernels keep their weights apart, in panels", () => {
  const graph = trace(
    { x: spec("f32", [5, 8]), q: square, k: square, o: square },
    ({ x, q, k, o }) => {
      const [a, b] = [contract("i k, k j -> i j", x, q), contract("i k, k j -> i j", x, k)];
      return { a, y: contract("i k, k j -> i j", mul(a, b), o) };
    },
  );
  assertEquals(stored(graph), ["k", "o", "q"]);
});

Deno.test("panels: what is read in any other way, written or returned is left as it is", () => {
  const specs = { x: spec("f32", [5, 8]), w: square, v: square };
  assertEquals(
    stored(trace(specs, ({ x, w }) => ({ y: contract("i k, k j -> i j", x, w), n: neg(w) }))),
    [],
    "read element by element",
  );
  assertEquals(
    stored(trace(specs, ({ x, w, v }) => ({
      y: contract("i k, k j -> i j", x, w),
      z: contract("i j, k j -> i k", contract("i k, k j -> i j", x, v), w),
    }))),
    ["v"],
    "as rows and as columns",
  );
  assertEquals(
    stored(trace(specs, ({ w, v }) => ({ y: contract("i k, k j -> i j", w, v) }))),
    ["v"],
    "a left operand",
  );
  assertEquals(
    stored(trace(specs, ({ x, w }) => ({ y: contract("i k, k j -> i j", x, w), w }))),
    [],
    "returned",
  );
  const step = trace(
    specs,
    ({ x, w }) => ({ y: contract("i k, k j -> i j", x, w), w: sub(w, 1) }),
  );
  assertEquals(stored(step, { w: "w" }), [], "donated");
  const narrow = trace(
    { x: spec("f32", [5, 8]), w: spec("f32", [8, 10]) },
    ({ x, w }) => ({ y: contract("i k, k j -> i j", x, w) }),
  );
  assertEquals(stored(narrow), [], "columns that would have to be padded");
});

Deno.test("panels: steps of one kernel agree on its operands", () => {
  const specs = { x: spec("f32", [5, 8]), w: square, v: square };
  const graph = trace(specs, ({ x, w, v }) => {
    const hidden = contract("i k, k j -> i j", x, w);
    return { y: contract("i k, k j -> i j", hidden, v), n: neg(v) };
  });
  const { kernels, steps } = lowerGraph(graph, { target: { alignment: 64 } });
  const products = steps.filter(({ kernel }) => kernels[kernel]?.kind === "matmul");
  assertEquals(new Set(products.map(({ kernel }) => kernel)).size, 1);
  assertEquals(stored(graph), []);
});

const weightShapes = fc.record({
  m: fc.oneof(fc.integer({ min: 1, max: 9 }), fc.constantFrom(33, 97)),
  k: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.constantFrom(515, 768)),
  n: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.constantFrom(64, 100, 196)),
  isTransposed: fc.boolean(),
});

/** Small whole numbers, whose products add up without rounding. */
function whole(length: number, seed: number): Float32Array {
  return Float32Array.from({ length }, (_, at) => (Math.imul(at + seed, 0x9e3779b1) >>> 28) - 8);
}

function multiply(x: Float32Array, w: Float32Array, { m, k, n, isTransposed }: {
  readonly m: number;
  readonly k: number;
  readonly n: number;
  readonly isTransposed: boolean;
}): Float32Array {
  return Float32Array.from({ length: m * n }, (_, at) => {
    const [i, j] = [Math.floor(at / n), at % n];
    let total = 0;
    for (let l = 0; l < k; l++) {
      total += (x[i * k + l] ?? NaN) * (w[isTransposed ? j * k + l : l * n + j] ?? NaN);
    }
    return total;
  });
}

/** Elements in pieces of changing length. */
function* inPieces(path: string, data: Float32Array): Generator<InputPiece> {
  for (
    let start = 0, length = 1;
    start < data.length;
    start += length, length = 3 * length % 1021
  ) {
    yield { path, data: data.slice(start, start + length) };
  }
}

async function checkProduct(
  shape: Parameters<typeof multiply>[2],
  microkernel: MicrokernelName,
  threads: number,
): Promise<void> {
  const { m, k, n, isTransposed } = shape;
  const weightShape = isTransposed ? [n, k] : [k, n];
  const graph = trace(
    { x: spec("f32", [dim("rows"), k]), w: spec("f32", weightShape) },
    ({ x, w }) =>
      isTransposed ? contract("i k, j k -> i j", x, w) : contract("i k, k j -> i j", x, w),
  );
  using program = await compile(graph, {
    backend: wasm({ microkernel, threads }),
    bind: { rows: m },
  });
  const x = whole(m * k, 1);
  const [first, second] = [whole(k * n, 2), whole(k * n, 3)];
  const check = async (w: Float32Array) => {
    assertEquals((await program.run()).data, multiply(x, w, shape));
    assertEquals((await program.get("w")).data, w);
  };
  program.set({ x, w: first });
  await check(first);
  program.set({ w: second });
  await check(second);
  await program.load({
    tensors: [{ path: "w", dtype: "f32", shape: weightShape }],
    pieces: () => inPieces("w", first),
  });
  await check(first);
}

for (const threads of [1, 2]) {
  Deno.test(`panels: set, set again and loaded in pieces, on ${threads} threads`, async () => {
    await fc.assert(
      fc.asyncProperty(weightShapes, fc.constantFrom(...NAMES), async (shape, microkernel) => {
        await checkProduct(shape, microkernel, threads);
      }),
      { numRuns: 40 },
    );
  });
}

Deno.test("panels: bits of NaN come back as they were", async () => {
  const graph = trace(
    { x: spec("f32", [1, 2]), w: spec("f32", [2, 4]) },
    ({ x, w }) => contract("i k, k j -> i j", x, w),
  );
  using program = await compile(graph, { backend: wasm({ threads: 1 }), checkInputs: false });
  const bits = Uint32Array.from({ length: 8 }, (_, at) => 0x7f800001 + 0x10101 * at);
  program.set({ x: new Float32Array(2), w: new Float32Array(bits.buffer) });
  const { data } = await program.get("w");
  assertEquals(new Uint32Array(data.buffer, data.byteOffset, data.length), bits);
});
