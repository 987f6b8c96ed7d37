import {
  type Backend,
  compile,
  type HostTensor,
  InputError,
  type InputPiece,
  type InputSource,
  programCache,
  reference,
  UnusableProgramError,
  wasm,
} from "../../backends/mod.ts";
import { add, cast, dim, less, mul, spec, sum, trace } from "../../graph/mod.ts";
import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "../support/assert.ts";
import { gpuTest } from "../support/gpu.ts";

const batch = dim("batch");

const scaleGraph = trace(
  { images: spec("f32", [batch, 2]), scale: spec("f32", []) },
  ({ images, scale }) => ({ scaled: mul(images, scale), total: sum(images) }),
);

/** Adds the gradient to two parameters, and counts the steps. */
const stepGraph = trace(
  {
    state: {
      parameters: [{ kernel: spec("f32", [2]) }, { kernel: spec("f32", [3]) }],
      step: spec("i32", []),
    },
    gradient: spec("f32", []),
  },
  ({ state, gradient }) => {
    const [first, second] = state.parameters;
    return {
      state: {
        parameters: [
          { kernel: add(first.kernel, gradient) },
          { kernel: add(second.kernel, gradient) },
        ],
        step: add(state.step, 1),
      },
      loss: sum(first.kernel),
    };
  },
);

const initialState = {
  parameters: [{ kernel: Float32Array.of(1, 2) }, { kernel: Float32Array.of(3, 4, 5) }],
  step: 0,
} as const;

const BACKENDS = [reference(), wasm({ threads: 1 }), wasm({ threads: 2 })];

/** A test on every backend. */
function test(name: string, run: (backend: Backend) => Promise<void>): void {
  for (const backend of BACKENDS) {
    const { name: device, threads } = backend.capabilities;
    Deno.test(`${name} (${device}, ${threads} threads)`, () => run(backend));
  }
  gpuTest(`${name} (webgpu)`, run);
}

test("program: results have the traced structure, with element type and shape", async (backend) => {
  using program = await compile(scaleGraph, { backend, bind: { batch: 2 } });
  const { scaled, total } = await program.run({ images: Float32Array.of(1, 2, 3, 4), scale: 10 });
  assertEquals(scaled, { dtype: "f32", shape: [2, 2], data: Float32Array.of(10, 20, 30, 40) });
  assertEquals(total, { dtype: "f32", shape: [], data: Float32Array.of(10) });
});

test("program: inputs stay set until they are set again", async (backend) => {
  using program = await compile(scaleGraph, { backend, bind: { batch: 1 } });
  program.set({ scale: 2 });
  const first = await program.run({ images: Float32Array.of(1, 2) });
  assertEquals(first.scaled.data, Float32Array.of(2, 4));
  const second = await program.run({ scale: 3 });
  assertEquals(second.scaled.data, Float32Array.of(3, 6));
  const third = await program.run();
  assertEquals(third.scaled.data, Float32Array.of(3, 6));
  const images: HostTensor<"f32"> = await program.get("images");
  assertEquals(images.data, Float32Array.of(1, 2));
});

test("program: runs may be started before earlier ones are awaited", async (backend) => {
  using program = await compile(stepGraph, { backend, donate: { state: "state" } });
  program.set({ state: initialState });
  const losses = [1, 10, 100].map(async (gradient) =>
    (await program.run({ gradient })).loss.data[0]
  );
  const parameters = program.get("state/parameters/0/kernel");
  program.set({ state: initialState });
  assertEquals(await Promise.all(losses), [3, 5, 25]);
  assertEquals((await parameters).data, Float32Array.of(112, 113));
});

test("program: results may be views, which hold until the next run", async (backend) => {
  using program = await compile(scaleGraph, { backend, bind: { batch: 2 } });
  const views = { views: true };
  const { scaled, total } = await program.run({ images: Float32Array.of(1, 2, 3, 4), scale: 10 });
  const viewed = await program.run({ images: Float32Array.of(5, 6, 7, 8) }, views);
  assertEquals([...viewed.scaled.data], [50, 60, 70, 80]);
  assertEquals([...viewed.total.data], [26]);
  assertEquals([...scaled.data, ...total.data], [10, 20, 30, 40, 10], "an earlier copy");
  await program.run({ scale: 100 });
  const inPlace = backend.capabilities.name === "wasm";
  assertEquals([...viewed.scaled.data], inPlace ? [500, 600, 700, 800] : [50, 60, 70, 80]);
});

test("program: a bool's view is a byte an element", async (backend) => {
  const graph = trace({ x: spec("f32", [3]) }, ({ x }) => less(x, 2));
  using program = await compile(graph, { backend });
  const { dtype, data } = await program.run({ x: Float32Array.of(1, 2, -3) }, { views: true });
  assertEquals({ dtype, data }, { dtype: "bool", data: Uint8Array.of(1, 0, 1) });
});

test("program: inputs that were never set are named", async (backend) => {
  using program = await compile(scaleGraph, { backend, bind: { batch: 1 } });
  await assertRejects(() => program.run(), InputError, 'Missing inputs "images", "scale"');
  const images = Float32Array.of(1, 2);
  await assertRejects(() => program.run({ images }), InputError, 'Missing input "scale"');
  await assertRejects(() => program.get("images"), InputError, '"images" has never been set');
});

test("program: unknown inputs are refused with the nearest name", async (backend) => {
  using program = await compile(scaleGraph, { backend, bind: { batch: 1 } });
  const misspelt: object = { imagez: Float32Array.of(1, 2) };
  const error = assertThrows(() => program.set(misspelt), InputError);
  assertEquals(error.message, 'There is no input "imagez"; did you mean "images"?');
  const foreign: object = { parameters: 1 };
  const listed = assertThrows(() => program.set(foreign), InputError);
  assertEquals(listed.message, 'There is no input "parameters"; there are "images", "scale"');
});

test("program: a refused run changes nothing", async (backend) => {
  using program = await compile(scaleGraph, { backend, bind: { batch: 1 } });
  program.set({ images: Float32Array.of(1, 2), scale: 2 });
  await assertRejects(
    () => program.run({ scale: 5, images: Float32Array.of(1, NaN) }),
    InputError,
    'Input "images" has NaN at [0, 1]',
  );
  assertEquals((await program.run()).scaled.data, Float32Array.of(2, 4));
});

test("program: donated outputs become the next run's inputs", async (backend) => {
  using program = await compile(stepGraph, { backend, donate: { state: "state" } });
  const first = await program.run({ state: initialState, gradient: 1 });
  assertEquals(first, { loss: { dtype: "f32", shape: [], data: Float32Array.of(3) } });
  const second = await program.run({ gradient: 10 });
  assertEquals(second.loss.data, Float32Array.of(5));
  const state = await program.get("state");
  assertEquals(state.step.data, Int32Array.of(2));
  assertEquals(state.parameters[1].kernel.data, Float32Array.of(14, 15, 16));
  assertEquals(await program.get("state/parameters/0/kernel"), {
    dtype: "f32",
    shape: [2],
    data: Float32Array.of(12, 13),
  });
});

test("program: one half of the state donated", async (backend) => {
  const donate = { "state/parameters": "state/parameters" } as const;
  using program = await compile(stepGraph, { backend, donate });
  const result = await program.run({ state: initialState, gradient: 1 });
  assertEquals(Object.keys(result.state), ["step"]);
  assertEquals(result.state.step.data, Int32Array.of(1));
  assertEquals((await program.get("state/step")).data, Int32Array.of(0));
});

test("program: a group where a tensor is wanted, and the other way round", async (backend) => {
  using program = await compile(stepGraph, { backend });
  const number: object = { state: 1 };
  assertThrows(() => program.set(number), InputError, 'Input "state" is a group of 3 inputs');
  const group: object = { gradient: { value: 1 } };
  assertThrows(() => program.set(group), InputError, 'Input "gradient" is f32[], but got Object');
});

test("program: functions make inputs one at a time, when they are written", async (backend) => {
  using program = await compile(scaleGraph, { backend, bind: { batch: 1 } });
  const made: string[] = [];
  const images = () => {
    made.push("images");
    return Float32Array.of(1, 2);
  };
  assertThrows(() => program.set({ images, scale: Float32Array.of(1, 2) }), InputError);
  assertEquals(made, []);
  program.set({ images, scale: () => 3 });
  assertEquals(made, ["images"]);
  assertEquals((await program.run()).scaled.data, Float32Array.of(3, 6));
  const failing = () => {
    throw new RangeError("no more");
  };
  assertThrows(() => program.set({ images: failing }), RangeError, "no more");
  await assertRejects(() => program.run(), InputError, 'Missing input "images"');
  assertThrows(() => program.set({ images: () => Float32Array.of(1) }), InputError, "1 elements");
  await assertRejects(() => program.run(), InputError, 'Missing input "images"');
  assertEquals((await program.run({ images })).scaled.data, Float32Array.of(3, 6));
});

const images = { path: "images", dtype: "f32", shape: [2, 2] } as const;

test("program: an input comes in pieces", async (backend) => {
  using program = await compile(scaleGraph, { backend, bind: { batch: 2 } });
  assertEquals(program.inputs.map(({ path }) => path), ["images", "scale"]);
  program.set({ scale: 10 });
  const data = new Float32Array(3);
  const tooMany = function* (): Generator<InputPiece> {
    yield { path: "images", data: data.fill(1) };
    yield { path: "images", data: data.subarray(1).fill(2) };
  };
  await assertRejects(
    () => program.load({ tensors: [images], pieces: tooMany }),
    InputError,
    "got 2 elements where 1 are left",
  );
  await assertRejects(() => program.run(), InputError, 'Missing input "images"');
  await program.load({
    tensors: [images],
    async *pieces() {
      yield { path: "images", data: data.fill(1) };
      assertThrows(() => program.set({ images: data }), InputError, '"images" is being loaded');
      await assertRejects(() => program.run(), InputError, 'Missing input "images"');
      await assertRejects(
        () => program.load({ tensors: [images], pieces: () => [] }),
        InputError,
        '"images" is being loaded',
      );
      yield { path: "images", data: data.subarray(2).fill(2) };
    },
  });
  assertEquals((await program.run()).scaled.data, Float32Array.of(10, 10, 10, 20));
});

test("program: a source that is not what the program wants", async (backend) => {
  using program = await compile(scaleGraph, { backend, bind: { batch: 2 } });
  program.set({ images: Float32Array.of(1, 2, 3, 4), scale: 10 });
  const never = () => {
    throw new TypeError("a piece was asked for");
  };
  const wrong: [InputSource["tensors"], string][] = [
    [[{ ...images, path: "imagez" }], 'There is no input "imagez"; did you mean "images"?'],
    [[images, images], 'The source names input "images" twice'],
    [[{ ...images, shape: [4] }], 'Input "images" is f32[2, 2], but the source\'s is f32[4]'],
    [[{ ...images, dtype: "i32" }], 'Input "images" is f32[2, 2], but the source\'s is i32[2, 2]'],
  ];
  for (const [tensors, message] of wrong) {
    await assertRejects(() => program.load({ tensors, pieces: never }), InputError, message);
    assertEquals((await program.run()).scaled.data, Float32Array.of(10, 20, 30, 40));
  }
  const bad: [InputPiece[], string][] = [
    [[{ path: "images", data: new Float32Array(3) }], 'gave 3 elements of "images", wanted 4'],
    [[{ path: "scale", data: new Float32Array(1) }], 'The source gave "scale": wanted "images"'],
    [[{ path: "images", data: new Int32Array(4) }], "got Int32Array: wanted a Float32Array"],
    [
      [
        { path: "images", data: new Float32Array(2) },
        { path: "images", data: Float32Array.of(0, NaN) },
      ],
      'Input "images" has NaN at [1, 1]',
    ],
  ];
  for (const [pieces, message] of bad) {
    await assertRejects(
      () => program.load({ tensors: [images], pieces: () => pieces }),
      InputError,
      message,
    );
    await assertRejects(() => program.run(), InputError, 'Missing input "images"');
  }
});

test("program: bare specs and bare results", async (backend) => {
  const graph = trace(spec("bf16", [3]), (x) => mul(cast(x, "f32"), 2));
  using program = await compile(graph, { backend });
  const result = await program.run(Float32Array.of(1, 2, 1.00390625));
  assertEquals(result.data, Float32Array.of(2, 4, 2));
  assertEquals((await program.get("input")).data, Uint16Array.of(0x3f80, 0x4000, 0x3f80));
});

test("program: unbound, unknown and misspelt dims", async (backend) => {
  await assertRejects(() => compile(scaleGraph, { backend }), RangeError, "batch");
  const error = await assertRejects(
    () => compile(scaleGraph, { backend, bind: { batch: 1, bacth: 2 } }),
    RangeError,
  );
  assertStringIncludes(error.message, 'Cannot bind "bacth"');
  assertStringIncludes(error.message, 'did you mean "batch"?');
});

test("program: a donation that does not fit is refused", async (backend) => {
  const donate = { gradient: "gradient" } as const;
  await assertRejects(() => compile(stepGraph, { backend, donate }), RangeError, "gradient");
});

test("program: disposal", async (backend) => {
  const program = await compile(scaleGraph, { backend, bind: { batch: 1 } });
  program[Symbol.dispose]();
  program[Symbol.dispose]();
  assert(program.disposed);
  const images = Float32Array.of(1, 2);
  await assertRejects(() => program.run({ images, scale: 1 }), UnusableProgramError, "disposed");
});

test("program: kernels, memory and description", async (backend) => {
  using program = await compile(scaleGraph, { backend, bind: { batch: 1 } });
  assert(program.kernels().some(({ nodes }) => nodes.some(({ op }) => op === "mul")));
  assert(program.memory().totalBytes > 0);
  assertStringIncludes(program.describe(), backend.capabilities.name);
});

test("program cache: one program for each binding", async (backend) => {
  using programs = programCache(scaleGraph, { backend });
  const [one, again] = await Promise.all([programs.for({ batch: 1 }), programs.for({ batch: 1 })]);
  const two = await programs.for({ batch: 2 });
  assert(one === again);
  assert(one !== two);
  const { scaled } = await two.run({ images: Float32Array.of(1, 2, 3, 4), scale: 2 });
  assertEquals(scaled.shape, [2, 2]);
  one[Symbol.dispose]();
  assert(await programs.for({ batch: 1 }) !== one, "a disposed program is made anew");
  await assertRejects(() => programs.for({}), RangeError, "batch");
});

test("program cache: disposing it disposes its programs", async (backend) => {
  const programs = programCache(scaleGraph, { backend });
  const one = await programs.for({ batch: 1 });
  const pending = programs.for({ batch: 2 });
  programs[Symbol.dispose]();
  assert(one.disposed);
  await assertRejects(() => pending, UnusableProgramError);
  await assertRejects(() => programs.for({ batch: 1 }), UnusableProgramError);
});
