import { type FunctionBuilder, ModuleBuilder } from "../../backends/wasm/encoder.ts";
import {
  type MathFunction,
  mathFunction,
  powFunction,
} from "../../backends/wasm/math/functions.ts";
import { wasmFeatures } from "../../backends/wasm/features.ts";
import { erf } from "../../graph/ops/special.ts";
import { assert, assertEquals } from "../support/assert.ts";

/** Samples for each function and each way of spreading them. */
const SAMPLES = 2 ** 18;
const PAGES = Math.ceil(3 * 4 * SAMPLES / 65536);

interface Judged {
  readonly exact: (x: number) => number;
  /** The promised bound. */
  readonly ulps: number;
  /** Interval that is sampled evenly, beside all exponents. */
  readonly dense: readonly [number, number];
  readonly relaxed: boolean;
}

const sigmoid = (x: number) => x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x));

const FUNCTIONS: Readonly<Record<MathFunction, Omit<Judged, "relaxed">>> = {
  exp: { exact: Math.exp, ulps: 2, dense: [-105, 89] },
  log: { exact: Math.log, ulps: 1, dense: [0, 4] },
  log1p: { exact: Math.log1p, ulps: 1, dense: [-1, 3] },
  tanh: { exact: Math.tanh, ulps: 3, dense: [-10, 10] },
  erf: { exact: erf, ulps: 3, dense: [-4.5, 4.5] },
  sigmoid: { exact: sigmoid, ulps: 3.5, dense: [-105, 20] },
  sin: { exact: Math.sin, ulps: 2, dense: [-8192, 8192] },
  cos: { exact: Math.cos, ulps: 2, dense: [-8192, 8192] },
};

const EDGES = [
  0,
  -0,
  1,
  -1,
  0.5,
  Infinity,
  -Infinity,
  NaN,
  2 ** -149,
  -(2 ** -149),
  2 ** -126,
  3.4028234663852886e38,
  -3.4028234663852886e38,
  88.72283,
  88.722839,
  -87.33654,
  -103.97208,
  -103.9721,
  -104.5,
  -0.9999999403953552,
  0.4142135,
  -0.29289323,
  8388608,
  16777216,
  1048576,
  1048577,
  7.853981633974483e-1,
  1.5707963705062866,
  3.1415927410125732,
  2.5e9,
  1e30,
];

/** f32 inputs: every exponent and sign equally often, then the interval, then the edges. */
function inputs(dense: readonly [number, number]): Float32Array {
  const values = new Float32Array(2 * SAMPLES + 32);
  const bits = new Uint32Array(values.buffer);
  let state = 12345;
  const random = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  for (let index = 0; index < SAMPLES; index++) {
    bits[index] = Math.floor((index + random()) * (2 ** 32 / SAMPLES));
    const [from, to] = dense;
    values[SAMPLES + index] = from + (index + random()) / SAMPLES * (to - from);
  }
  values.set(EDGES, 2 * SAMPLES);
  return values;
}

type Loop = (count: number) => void;

/** A loop over vectors: `body` pushes the result for the vector at the pushed address. */
function overVectors(
  makeCall: (module: ModuleBuilder) => (f: FunctionBuilder, pushAddress: () => void) => void,
): { run: Loop; memory: WebAssembly.Memory } {
  const module = new ModuleBuilder();
  module.importMemory("env", "memory", { pages: PAGES, shared: false });
  const call = makeCall(module);
  const f = module.function("run", { params: ["i32"], results: [] });
  const at = f.local("i32");
  f.loop((next) => {
    f.get(at);
    call(f, () => f.get(at));
    f.v128.store();
    f.get(at);
    f.i32.const(16);
    f.i32.add();
    f.tee(at);
    f.get(f.param(0));
    f.i32.lt_u();
    f.brIf(next);
  });
  module.export("run", f.index);
  const memory = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES });
  const instance = new WebAssembly.Instance(new WebAssembly.Module(module.build()), {
    env: { memory },
  });
  // The module above exports this one function.
  const run = instance.exports["run"] as Loop;
  return { run: (count) => run(4 * count), memory };
}

function evaluate(name: MathFunction, relaxed: boolean, values: Float32Array): Float32Array {
  const { run, memory } = overVectors((module) => {
    const index = mathFunction(module, name, relaxed);
    return (f, pushAddress) => {
      pushAddress();
      f.v128.load();
      f.call(index);
    };
  });
  const data = new Float32Array(memory.buffer, 0, values.length);
  data.set(values);
  run(values.length);
  return data;
}

/** Distance between neighbouring f32 around a real number. */
function unit(value: number): number {
  const exponent = Math.floor(Math.log2(Math.abs(value)));
  return 2 ** (Math.min(Math.max(exponent, -126), 127) - 23);
}

/** How many units in the last place `got` is from `want`; 0 for equal specials, else Infinity. */
function ulpError(got: number, want: number): number {
  if (Object.is(got, want)) return 0;
  if (Number.isNaN(got) || Number.isNaN(want)) {
    return Number.isNaN(got) === Number.isNaN(want) ? 0 : Infinity;
  }
  // Infinity stands for everything beyond the largest f32.
  const limit = (value: number) => Math.min(Math.max(value, -(2 ** 128)), 2 ** 128);
  return Math.abs(limit(got) - limit(want)) / unit(limit(want) === 0 ? 2 ** -149 : limit(want));
}

function worst(values: Float32Array, got: Float32Array, exact: (x: number) => number) {
  let error = 0;
  let at = NaN;
  let result = NaN;
  for (let index = 0; index < values.length; index++) {
    const x = values[index] ?? 0;
    const current = ulpError(got[index] ?? 0, exact(x));
    if (current <= error) continue;
    error = current;
    at = x;
    result = got[index] ?? 0;
  }
  return { error, text: `${error} ulp off at ${at}: got ${result}, want ${exact(at)}` };
}

for (const relaxed of wasmFeatures().relaxedSimd ? [false, true] : [false]) {
  for (const [name, { exact, ulps, dense }] of Object.entries(FUNCTIONS)) {
    Deno.test(`${name} is at most ${ulps} ulp off${relaxed ? ", fused" : ""}`, () => {
      const values = inputs(dense);
      const got = evaluate(name as MathFunction, relaxed, values);
      const { error, text } = worst(values, got, exact);
      assert(error <= ulps, text);
    });
  }
}

Deno.test("exact values and limits", () => {
  const at = (name: MathFunction, x: number) => {
    const [got = NaN] = evaluate(name, false, new Float32Array([x, 0, 0, 0]));
    return got;
  };
  assertEquals(at("exp", 0), 1);
  assertEquals(at("exp", -Infinity), 0);
  assertEquals(at("exp", 88.73), Infinity);
  assertEquals(at("log", 1), 0);
  assertEquals(at("log", 0), -Infinity);
  assertEquals(at("log", -1), NaN);
  assertEquals(at("log1p", -1), -Infinity);
  assertEquals(at("log1p", -0), -0);
  assertEquals([at("tanh", 20), at("tanh", -Infinity), at("tanh", -0)], [1, -1, -0]);
  assertEquals([at("erf", 5), at("erf", -Infinity), at("erf", -0)], [1, -1, -0]);
  assertEquals([at("sigmoid", -Infinity), at("sigmoid", Infinity)], [0, 1]);
  assertEquals([at("sin", Infinity), at("cos", -Infinity), at("sin", -0)], [NaN, NaN, -0]);
  for (const name of Object.keys(FUNCTIONS)) assertEquals(at(name as MathFunction, NaN), NaN);
});

function power(bases: Float32Array, exponents: Float32Array): Float32Array {
  const { run, memory } = overVectors((module) => {
    const index = powFunction(module);
    return (f, pushAddress) => {
      pushAddress();
      f.v128.load();
      pushAddress();
      f.v128.load(4 * SAMPLES);
      f.call(index);
    };
  });
  new Float32Array(memory.buffer).set(bases);
  new Float32Array(memory.buffer, 4 * SAMPLES).set(exponents);
  run(bases.length);
  return new Float32Array(memory.buffer, 0, bases.length);
}

Deno.test("pow is at most 1 ulp off, and Math.pow's special cases hold", () => {
  const specials = [
    0,
    -0,
    1,
    -1,
    0.5,
    -0.5,
    2,
    -2,
    3,
    -3,
    Infinity,
    -Infinity,
    NaN,
    2 ** -149,
    1e38,
  ];
  const random = inputs([-3, 30]);
  const bases = new Float32Array(SAMPLES);
  const exponents = new Float32Array(SAMPLES);
  for (let index = 0; index < SAMPLES; index++) {
    const a = random[index] ?? 0;
    // Exponents that keep the result in range more often than not.
    const scale = 40 / (1 + Math.abs(Math.log2(Math.abs(a))));
    bases[index] = index % 2 === 0 ? a : Math.abs(random[SAMPLES + index] ?? 0);
    exponents[index] = index % 3 === 0 ? index % 13 - 6 : Math.sin(index) * scale;
  }
  specials.forEach((a, row) => {
    specials.forEach((b, column) => {
      bases[row * specials.length + column] = a;
      exponents[row * specials.length + column] = b;
    });
  });
  const got = power(bases, exponents);
  let error = 0;
  let text = "";
  for (let index = 0; index < SAMPLES; index++) {
    const [a = 0, b = 0, value = 0] = [bases[index], exponents[index], got[index]];
    const want = a ** b;
    const current = ulpError(value, want);
    if (current <= error) continue;
    error = current;
    text = `${error} ulp off at ${a} ** ${b}: got ${value}, want ${want}`;
  }
  assert(error <= 1, text);
});
