import fc from "../support/fast_check.ts";
import type { Expr, LoopKernel, Statement } from "../../compiler/loop_ir.ts";
import { type PlainLoopKernel, withSizes } from "../../compiler/sizes.ts";
import { wasmFeatures } from "../../backends/wasm/features.ts";
import { interpretKernel } from "../../backends/reference/loop_interpreter.ts";
import {
  type BufferData,
  f16Bits,
  f16Value,
  readElement,
} from "../../backends/reference/storage.ts";
import { assert, assertEquals } from "../support/assert.ts";
import {
  accumulate,
  accumulator,
  binary,
  buffer,
  cast,
  choice,
  constant,
  define,
  load,
  loopKernel,
  plainLoop,
  product,
  reduce,
  store,
  sum,
  unary,
  upTo,
  variable,
  vectorLoop,
  whole,
} from "../support/loop_ir.ts";
import { compileKernel } from "../support/wasm_kernel.ts";

const FEATURES = wasmFeatures();
const MODES = [
  { relaxed: false, addresses: "i32" },
  ...FEATURES.relaxedSimd ? [{ relaxed: true, addresses: "i32" } as const] : [],
  ...FEATURES.memory64 ? [{ relaxed: false, addresses: "i64" } as const] : [],
] as const;

function fill(data: BufferData, seed: number, scale = 3): void {
  let state = seed * 2654435761 >>> 0;
  for (let index = 0; index < data.length; index++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const value = (state / 2 ** 32 - 0.5) * 2 * scale;
    if (data instanceof Uint16Array) data[index] = f16Bits(value);
    else data[index] = data instanceof Float32Array ? value : state % 17;
  }
}

function assertClose(
  kernel: PlainLoopKernel,
  got: readonly BufferData[],
  want: readonly BufferData[],
  tolerance: number,
): void {
  const bound = kernel.buffers.filter(({ access }) => access !== "scratch");
  bound.forEach(({ name, dtype, elements }, position) => {
    const [a, b] = [got[position], want[position]];
    assert(a !== undefined && b !== undefined);
    for (let index = 0; index < elements; index++) {
      const [x, y] = [readElement(a, dtype, index), readElement(b, dtype, index)];
      if (Object.is(x, y) || x === y) continue;
      const difference = Math.abs(x - y) / Math.max(1, Math.abs(y));
      assert(difference <= tolerance, `${kernel.name}: ${name}[${index}] is ${x}, not ${y}`);
    }
  });
}

/**
 * Runs the kernel emitted and interpreted on the same numbers, and once more in two parts, whose
 * results must have the same bits.
 */
function check(
  kernel: LoopKernel,
  prepare: (data: readonly BufferData[]) => void = (data) =>
    data.forEach((d, at) => fill(d, at + 1)),
  tolerance = 2e-6,
  sizes: readonly number[] = [],
): BufferData[][] {
  const plain = withSizes(kernel, sizes);
  return MODES.map(({ relaxed, addresses }) => {
    const whole = compileKernel(kernel, relaxed, sizes, addresses);
    prepare(whole.data);
    const inputs = whole.data.map((data) => data.slice());
    const want = whole.data.map((data) => data.slice());
    interpretKernel(kernel, want, sizes);
    whole.run();
    assertClose(plain, whole.data, want, tolerance);
    const results = whole.data.map((data) => data.slice());
    whole.data.forEach((data, at) => data.set(inputs[at] ?? []));
    const middle = Math.floor(plain.parallel.extent / 2);
    whole.run(middle);
    whole.run(0, middle);
    whole.data.forEach((data, at) => assertEquals(data.slice(), results[at]));
    return results;
  });
}

const u = variable("u");
const c = variable("c");
const k = variable("k");

function rowIndex(columns: number, column: Expr = c): Expr {
  return sum(product(u, whole(columns)), column);
}

function softmaxKernel(rows: number, columns: number): LoopKernel {
  const value = variable("e", "f32");
  return loopKernel(
    "softmax",
    [buffer(rows * columns), buffer(rows * columns, "write"), buffer(columns, "scratch")],
    rows,
    [
      reduce([upTo("c", columns)], [accumulator("m", "max", load(0, rowIndex(columns)))]),
      reduce([upTo("c", columns)], [accumulator("s", "sum", value)], [
        define(
          "e",
          unary("exp", binary("sub", load(0, rowIndex(columns)), variable("m", "f32"))),
        ),
        store(2, c, value),
      ]),
      vectorLoop(upTo("c", columns), [
        store(1, rowIndex(columns), binary("div", load(2, c), variable("s", "f32"))),
      ]),
    ],
  );
}

Deno.test("softmax of rows", () => {
  for (const columns of [1, 3, 4, 17, 197]) check(softmaxKernel(5, columns));
});

Deno.test("softmax of a row with NaN is NaN everywhere", () => {
  const [[, result] = []] = check(softmaxKernel(2, 37), ([x]) => {
    assert(x !== undefined);
    fill(x, 1);
    x[40] = NaN;
  });
  assert(result !== undefined);
  assert(result.subarray(0, 37).every((value) => value > 0));
  assert(result.subarray(37).every((value) => Number.isNaN(value)));
});

Deno.test("layer norm of rows", () => {
  const columns = 45;
  const x = load(0, rowIndex(columns));
  const mean = product(variable("s", "f32"), constant(1 / columns));
  const centred = binary("sub", x, variable("mean", "f32"));
  check(loopKernel(
    "layerNorm",
    [buffer(7 * columns), buffer(columns), buffer(columns), buffer(7 * columns, "write")],
    7,
    [
      reduce([upTo("c", columns)], [accumulator("s", "sum", x)]),
      define("mean", mean),
      reduce([upTo("c", columns)], [accumulator("v", "sum", product(centred, centred))]),
      define(
        "r",
        unary(
          "rsqrt",
          sum(product(variable("v", "f32"), constant(1 / columns)), constant(1e-6)),
        ),
      ),
      vectorLoop(upTo("c", columns), [
        store(
          3,
          rowIndex(columns),
          sum(product(centred, variable("r", "f32"), load(1, c)), load(2, c)),
        ),
      ]),
    ],
  ));
});

Deno.test("column sums in blocks of lanes", () => {
  for (const columns of [5, 16, 70]) {
    const rows = 9;
    const start = product(u, whole(16));
    const end = binary("min", sum(start, whole(16)), whole(columns));
    const value = load(0, sum(product(k, whole(columns)), c));
    check(loopKernel(
      "columnSums",
      [buffer(rows * columns), buffer(columns, "write"), buffer(columns, "write")],
      Math.ceil(columns / 16),
      [vectorLoop({ variable: "c", start, end }, [
        reduce([upTo("k", rows)], [
          accumulator("s", "sum", product(value, value)),
          accumulator("m", "min", value),
        ]),
        store(1, c, variable("s", "f32")),
        store(2, c, variable("m", "f32")),
      ])],
    ));
  }
});

Deno.test("rows summed in a loop over rows use the lanes for columns", () => {
  const value = load(0, sum(product(c, whole(30)), k));
  const kernel = loopKernel("rowSums", [buffer(600), buffer(20, "write")], 1, [
    vectorLoop(upTo("c", 20), [
      reduce([upTo("k", 30)], [accumulator("s", "sum", value)]),
      store(1, c, variable("s", "f32")),
    ]),
  ]);
  check(kernel);
});

Deno.test("maps of odd lengths, with offsets and strides", () => {
  for (const length of [1, 2, 3, 4, 5, 7, 15, 16, 17, 31, 64, 67]) {
    const x = load(0, sum(c, whole(2)));
    const strided = load(0, product(c, whole(3)));
    const reversed = load(0, binary("sub", whole(length - 1), c));
    check(loopKernel(
      "map",
      [buffer(3 * length + 2), buffer(length, "write"), buffer(2 * length, "write")],
      1,
      [vectorLoop(upTo("c", length), [
        store(1, c, sum(product(x, strided), unary("abs", reversed))),
        store(2, sum(product(c, whole(2)), whole(1)), binary("sub", x, constant(1))),
      ])],
    ));
  }
});

Deno.test("a loop of unknown length", () => {
  for (const length of [0, 1, 6, 23]) {
    const kernel = loopKernel(
      "ragged",
      [buffer(1, "read", "i32"), buffer(40), buffer(40, "write")],
      1,
      [vectorLoop(upTo("c", load(0, whole(0), "i32")), [
        store(2, c, unary("tanh", load(1, c))),
      ])],
    );
    check(kernel, ([count, x]) => {
      assert(count !== undefined && x !== undefined);
      count[0] = length;
      fill(x, 3);
    });
  }
});

Deno.test("gather: rows by index, and elements by index", () => {
  const row = load(1, u, "i32");
  check(loopKernel(
    "gather",
    [
      buffer(17 * 10),
      buffer(6, "read", "i32"),
      buffer(60, "write"),
      buffer(10, "read", "i32"),
      buffer(60, "write"),
    ],
    6,
    [vectorLoop(upTo("c", 10), [
      store(2, rowIndex(10), load(0, sum(product(row, whole(10)), c))),
      store(4, rowIndex(10), load(0, sum(product(load(3, c, "i32"), whole(10)), u))),
    ])],
  ));
});

Deno.test("guarded loads do not leave their buffer: padding and concatenation", () => {
  const inside = binary(
    "and",
    binary("greaterEqual", c, whole(3)),
    binary("less", c, whole(11)),
  );
  const shifted = load(0, sum(product(u, whole(8)), binary("sub", c, whole(3))));
  check(loopKernel("pad", [buffer(32), buffer(4 * 16, "write")], 4, [
    vectorLoop(upTo("c", 16), [
      store(1, rowIndex(16), choice("guarded", inside, shifted, constant(-1))),
    ]),
  ]));
  const first = binary("less", u, whole(2));
  const left = load(0, rowIndex(9));
  const right = load(1, sum(product(binary("sub", u, whole(2)), whole(9)), c));
  check(loopKernel("concat", [buffer(18), buffer(27), buffer(45, "write")], 5, [
    vectorLoop(upTo("c", 9), [
      store(2, rowIndex(9), unary("exp", choice("guarded", first, left, right))),
    ]),
  ]));
});

Deno.test("f16 and bf16 loads are exact and stores round to even, on every f16 pattern", () => {
  const kernel = loopKernel(
    "halves",
    [
      buffer(65536, "read", "f16"),
      buffer(65536, "write", "f32"),
      buffer(65536, "write", "f16"),
      buffer(65536, "write", "bf16"),
      buffer(65536, "read", "bf16"),
      buffer(65536, "write", "f32"),
    ],
    8,
    [vectorLoop(upTo("c", 8192), [
      store(1, rowIndex(8192), load(0, rowIndex(8192))),
      store(2, rowIndex(8192), product(load(0, rowIndex(8192)), constant(0.7001))),
      store(3, rowIndex(8192), product(load(0, rowIndex(8192)), constant(0.7001))),
      store(5, rowIndex(8192), load(4, rowIndex(8192))),
    ])],
  );
  const [[bits, values] = []] = check(kernel, (data) => {
    for (const at of [0, 4]) data[at]?.forEach((_, index, all) => all[index] = index);
  }, 0);
  assert(bits !== undefined && values !== undefined);
  for (let index = 0; index < 65536; index++) assertEquals(values[index], f16Value(index));
});

Deno.test("rounding to storage types in scalar and vector code", () => {
  const rounded = (storage: "f16" | "bf16", a: Expr): Expr => ({
    kind: "roundTo",
    type: "f32",
    storage,
    a,
  });
  check(
    loopKernel("roundTo", [buffer(999), buffer(999, "write"), buffer(999, "write")], 3, [
      vectorLoop(upTo("c", 333), [
        store(1, rowIndex(333), rounded("f16", load(0, rowIndex(333)))),
        store(2, rowIndex(333), rounded("bf16", load(0, rowIndex(333)))),
      ]),
    ]),
    ([x]) => {
      assert(x !== undefined);
      fill(x, 7, 1);
      x.forEach((value, index) => x[index] = value * 2 ** (index % 60 - 40));
      x.set([65519, 65520, -65536, Infinity, -Infinity, NaN, 2 ** -25, 3 * 2 ** -26, -0], 100);
    },
    0,
  );
});

Deno.test("argmax takes the first largest; NaN is largest", () => {
  const kernel = (columns: number) =>
    loopKernel("argmax", [buffer(6 * columns), buffer(6, "write", "i32")], 6, [
      reduce([upTo("c", columns)], [accumulator("a", "argmax", load(0, rowIndex(columns)))]),
      store(1, u, variable("a")),
    ]);
  for (const columns of [1, 2, 5, 16, 39]) {
    check(kernel(columns), ([x]) => {
      assert(x !== undefined);
      x.forEach((_, index) => x[index] = Math.imul(index, 40503) >>> 5 & 3);
      x.fill(-Infinity, columns, 2 * columns);
      x[3 * columns - 1] = NaN;
      x[Math.floor(2.5 * columns)] = NaN;
    });
  }
});

Deno.test("argmax over two axes, and in lanes", () => {
  const value = load(0, sum(product(k, whole(23)), c));
  check(loopKernel("argmaxAll", [buffer(7 * 23), buffer(1, "write", "i32")], 1, [
    reduce([upTo("k", 7), upTo("c", 23)], [accumulator("a", "argmax", value)]),
    store(1, whole(0), variable("a")),
  ]));
  check(loopKernel("argmaxColumns", [buffer(7 * 23), buffer(23, "write", "i32")], 1, [
    vectorLoop(upTo("c", 23), [
      reduce([upTo("k", 7)], [accumulator("a", "argmax", value)]),
      store(1, c, variable("a")),
    ]),
  ]));
});

Deno.test("threefry bits are the same in vectors and in scalars", () => {
  const word = (which: "first" | "second" | "xor", low: Expr): Expr => ({
    kind: "threefry",
    type: "u32",
    word: which,
    key0: constant(0x12345678, "u32"),
    key1: load(0, whole(0), "u32"),
    counter0: constant(0, "u32"),
    counter1: cast("u32", low),
  });
  check(loopKernel(
    "bits",
    [buffer(1, "read", "u32"), ...[1, 2, 3].map(() => buffer(22, "write", "u32"))],
    2,
    [vectorLoop(upTo("c", 11), [
      store(1, rowIndex(11), word("first", rowIndex(11))),
      store(2, rowIndex(11), word("second", rowIndex(11))),
      store(3, rowIndex(11), word("xor", rowIndex(11))),
    ])],
  ));
});

Deno.test("accumulate adds in order, in lanes and alone", () => {
  const row = load(1, k, "i32");
  check(loopKernel(
    "scatter",
    [buffer(6 * 19), buffer(6, "read", "i32"), buffer(20 * 19, "update"), buffer(20, "update")],
    1,
    [plainLoop(upTo("k", 6), [
      define("row", row),
      vectorLoop(upTo("c", 19), [
        accumulate(
          2,
          sum(product(variable("row"), whole(19)), c),
          load(0, sum(product(k, whole(19)), c)),
        ),
      ]),
      accumulate(3, variable("row"), constant(1.5)),
    ])],
  ));
});

Deno.test("whole numbers: every operation, in vectors and scalars", () => {
  const [a, b] = [load(0, rowIndex(50), "i32"), load(1, rowIndex(50), "i32")];
  const ops = [
    "add",
    "sub",
    "mul",
    "div",
    "rem",
    "max",
    "min",
    "and",
    "or",
    "xor",
    "shiftLeft",
    "shiftRight",
  ] as const;
  for (const type of ["i32", "u32"] as const) {
    const kernel = loopKernel(
      `whole_${type}`,
      [
        buffer(150, "read", "i32"),
        buffer(150, "read", "i32"),
        ...ops.map(() => buffer(150, "write", type)),
        buffer(150, "write", "bool"),
      ],
      3,
      [vectorLoop(upTo("c", 50), [
        ...ops.map((op, at) =>
          store(2 + at, rowIndex(50), binary(op, cast(type, a), cast(type, b)))
        ),
        store(2 + ops.length, rowIndex(50), binary("less", cast(type, a), cast(type, b))),
      ])],
    );
    check(kernel, ([left, right]) => {
      assert(left !== undefined && right !== undefined);
      fill(left, 5);
      fill(right, 6);
      left.forEach((value, index) => left[index] = Math.imul(value - 8, 2 ** (index % 28)));
      right.forEach((value, index) => right[index] = value - 8);
      left.set([-(2 ** 31), 7, -7, -(2 ** 31)], 60);
      right.set([-1, 0, 2, 0], 60);
    });
  }
});

Deno.test("floats: every operation and conversion, in vectors and scalars", () => {
  const [a, b] = [load(0, rowIndex(50)), load(1, rowIndex(50))];
  const unaries = [
    "neg",
    "abs",
    "sign",
    "exp",
    "log",
    "log1p",
    "sqrt",
    "rsqrt",
    "reciprocal",
    "tanh",
    "erf",
    "sigmoid",
    "sin",
    "cos",
    "floor",
    "ceil",
    "round",
  ] as const;
  const binaries = ["add", "sub", "mul", "div", "rem", "pow", "max", "min"] as const;
  const values = [
    ...unaries.map((op) => unary(op, a)),
    ...binaries.map((op) => binary(op, a, b)),
    binary("max", a, constant(0)),
    binary("min", constant(0.5), a),
    choice("select", binary("less", a, b), a, b),
    cast("f32", unary("not", binary("lessEqual", a, b))),
    cast("f32", cast("i32", a)),
    cast("f32", cast("u32", a)),
    cast("f32", cast("bool", a)),
  ];
  const kernel = loopKernel(
    "floats",
    [buffer(150), buffer(150), ...values.map(() => buffer(150, "write"))],
    3,
    [vectorLoop(upTo("c", 50), values.map((value, at) => store(2 + at, rowIndex(50), value)))],
  );
  check(kernel, ([left, right]) => {
    assert(left !== undefined && right !== undefined);
    fill(left, 5);
    fill(right, 6);
    left.set([0, -0, 1, -1, 2.5, 3.5, -2.5, Infinity, -Infinity, NaN, 1e10, -1e10, 5], 98);
    right.set([0, 0, 0, NaN, 1, NaN, 2, 3, 3, 3, 7, 7, Infinity], 98);
  }, 1e-6);
});

Deno.test("reductions of whole numbers and bools", () => {
  const value = load(0, rowIndex(41), "i32");
  const flag = binary("greater", value, whole(15));
  check(loopKernel(
    "wholeReductions",
    [
      buffer(3 * 41, "read", "i32"),
      ...[1, 2, 3].map(() => buffer(3, "write", "i32")),
      ...[1, 2].map(() => buffer(3, "write", "bool")),
    ],
    3,
    [
      reduce([upTo("c", 41)], [
        accumulator("s", "sum", value),
        accumulator("m", "max", value),
        accumulator("n", "min", value),
        accumulator("any", "max", flag),
        accumulator("all", "min", flag),
      ]),
      ...["s", "m", "n"].map((name, at) => store(1 + at, u, variable(name))),
      ...["any", "all"].map((name, at) => store(4 + at, u, variable(name, "bool"))),
    ],
  ));
});

Deno.test("an expression shared many times over is emitted once", () => {
  let value = load(0, c);
  for (let depth = 0; depth < 60; depth++) {
    value = product(sum(value, value), constant(0.5));
  }
  const kernel = loopKernel("shared", [buffer(21), buffer(21, "write")], 1, [
    vectorLoop(upTo("c", 21), [store(1, c, value)]),
  ]);
  check(kernel);
  assert(compileKernel(kernel, false).size < 10000);
});

Deno.test("loads of what the kernel writes see the new values", () => {
  const kernel = loopKernel("inPlace", [buffer(30, "update"), buffer(10, "scratch")], 3, [
    vectorLoop(upTo("c", 10), [store(1, c, product(load(0, rowIndex(10)), constant(2)))]),
    plainLoop(upTo("k", 3), [
      vectorLoop(upTo("c", 10), [store(1, c, sum(load(1, c), load(1, c)))]),
    ]),
    vectorLoop(upTo("c", 10), [store(0, rowIndex(10), load(1, c))]),
  ]);
  check(kernel);
});

/** Elements of the two inputs of random kernels: more than any index below can reach. */
const RANDOM_ELEMENTS = 400;

/** Values of whole-number variables in scope, as an index below {@linkcode RANDOM_ELEMENTS}. */
function randomIndex(names: readonly string[]): fc.Arbitrary<Expr> {
  const factors = fc.array(fc.constantFrom(0, 1, 1, 2, 5), { minLength: 3, maxLength: 3 });
  return fc.tuple(factors, fc.nat(40)).map(([multiples, start]) =>
    names.reduce(
      (index, name, at) => sum(index, product(variable(name), whole(multiples[at % 3] ?? 0))),
      whole(start),
    )
  );
}

function randomValue(
  names: readonly string[],
  floats: readonly string[],
  depth: number,
): fc.Arbitrary<Expr> {
  const leaves: fc.Arbitrary<Expr>[] = [
    randomIndex(names).map((index) => load(0, index)),
    randomIndex(names).map((index) => load(1, index)),
    randomIndex(names).map((index) => cast("f32", binary("rem", index, whole(7)))),
    fc.constantFrom(-1.5, 0.25, 3).map((value) => constant(value)),
    ...floats.map((name) => fc.constant(variable(name, "f32"))),
  ];
  if (depth === 0) return fc.oneof(...leaves);
  const inner = randomValue(names, floats, depth - 1);
  const condition = fc.tuple(randomIndex(names), fc.nat(60))
    .map(([index, limit]) => binary("less", index, whole(limit)));
  return fc.oneof(
    ...leaves,
    fc.tuple(fc.constantFrom("add", "sub", "mul", "max", "min"), inner, inner)
      .map(([op, a, b]) => binary(op, a, b)),
    fc.tuple(fc.constantFrom("tanh", "sigmoid", "abs", "neg", "erf"), inner)
      .map(([op, a]) => unary(op, a)),
    fc.tuple(fc.constantFrom("select", "guarded"), condition, inner, inner)
      .map(([kind, which, a, b]) => choice(kind, which, a, b)),
    inner.map((a) => product(a, a)),
  );
}

/** A kernel of two nested loops with a reduction before and one inside, all of random shape. */
const randomKernel: fc.Arbitrary<LoopKernel> = fc.record({
  extent: fc.integer({ min: 1, max: 4 }),
  columns: fc.integer({ min: 1, max: 21 }),
  depth: fc.integer({ min: 1, max: 9 }),
  outer: randomValue(["u", "k"], [], 2),
  shared: randomValue(["u", "c"], ["s"], 2),
  inner: randomValue(["u", "c", "k"], ["s", "v"], 2),
  folds: fc.tuple(fc.constantFrom("sum", "max", "min"), fc.constantFrom("sum", "max", "min")),
  stored: randomValue(["u", "c"], ["s", "v", "t"], 2),
  vectorize: fc.boolean(),
  stride: fc.constantFrom(1, 2),
  dtype: fc.constantFrom("f32", "bf16"),
}).map(
  ({ extent, columns, depth, outer, shared, inner, folds, stored, vectorize, stride, dtype }) => {
    const body: Statement[] = [
      define("v", shared),
      reduce([upTo("k", depth)], [accumulator("t", folds[1], inner)]),
      store(2, sum(product(u, whole(stride * columns)), product(c, whole(stride))), stored),
      accumulate(3, rowIndex(columns), variable("v", "f32")),
    ];
    const loop = { kind: "loop", range: upTo("c", columns), vectorize, body } as const;
    return loopKernel(
      "random",
      [
        buffer(RANDOM_ELEMENTS),
        buffer(RANDOM_ELEMENTS, "read", dtype),
        buffer(extent * columns * stride, "write"),
        buffer(extent * columns, "update"),
      ],
      extent,
      [reduce([upTo("k", depth)], [accumulator("s", folds[0], outer)]), loop],
    );
  },
);

Deno.test("random kernels do what the interpreter does", () => {
  fc.assert(
    fc.property(randomKernel, (kernel) => {
      check(kernel, (data) => data.forEach((part, at) => fill(part, at + 1, 1)), 1e-4);
    }),
    { numRuns: 300 },
  );
});
