import fc from "../support/fast_check.ts";
import {
  type FunctionBuilder,
  type FunctionType,
  type MemoryType,
  ModuleBuilder,
  type ValueType,
} from "../../backends/wasm/encoder.ts";
import type { AddressType } from "../../backends/wasm/address_instructions.ts";
import { ByteBuffer } from "../../backends/wasm/byte_buffer.ts";
import { wasmFeatures } from "../../backends/wasm/features.ts";
import { allocate } from "../../backends/wasm/memory.ts";
import {
  F32X4_OPS,
  F64X2_OPS,
  I16X8_OPS,
  I32X4_OPS,
  I64X2_OPS,
  I8X16_OPS,
} from "../../backends/wasm/opcodes.ts";
import { assert, assertEquals, assertStringIncludes, assertThrows } from "../support/assert.ts";

type Callable = (...parameters: (number | bigint)[]) => number;

function exported(instance: WebAssembly.Instance, name: string): Callable {
  const value = instance.exports[name];
  if (typeof value !== "function") throw new TypeError(`The module exports no function ${name}`);
  // An exported function of numbers, as the test's own module declares it.
  return value as Callable;
}

interface Built {
  readonly call: Callable;
  readonly memory: WebAssembly.Memory;
  readonly bytes: Uint8Array;
}

function build(
  params: FunctionType["params"],
  results: readonly ValueType[],
  body: (f: FunctionBuilder, module: ModuleBuilder) => void,
  type: MemoryType = { pages: 1, shared: false },
  addressType: AddressType = "i32",
): Built {
  const module = new ModuleBuilder(addressType);
  module.importMemory("env", "memory", type);
  const f = module.function("main", { params, results });
  body(f, module);
  module.export("main", f.index);
  const bytes = module.build();
  const memory = allocate({ ...type, addressType });
  const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
  return { call: exported(instance, "main"), memory, bytes };
}

/** Runs a vector function of the vectors at addresses 16 and 32; the result's 16 bytes. */
function onVectors(a: ArrayBuffer, b: ArrayBuffer, body: (f: FunctionBuilder) => void) {
  const { call, memory } = build([], [], (f) => {
    f.i32.const(0);
    body(f);
    f.v128.store();
  });
  new Uint8Array(memory.buffer).set(new Uint8Array(a), 16);
  new Uint8Array(memory.buffer).set(new Uint8Array(b), 32);
  call();
  return memory.buffer.slice(0, 16);
}

function pushOperands(f: FunctionBuilder): void {
  f.i32.const(0);
  f.v128.load(16);
  f.i32.const(16);
  f.v128.load(16, 4);
}

Deno.test("LEB128 of known numbers", () => {
  const encode = (write: (to: ByteBuffer) => void) => {
    const out = new ByteBuffer();
    write(out);
    return [...out.view()];
  };
  assertEquals(encode((to) => to.u32(624485)), [0xe5, 0x8e, 0x26]);
  assertEquals(encode((to) => to.u32(0xffffffff)), [0xff, 0xff, 0xff, 0xff, 0x0f]);
  assertEquals(encode((to) => to.s32(-123456)), [0xc0, 0xbb, 0x78]);
  assertEquals(encode((to) => to.s32(64)), [0xc0, 0x00]);
  assertEquals(encode((to) => to.s32(-64)), [0x40]);
  assertEquals(encode((to) => to.s64(-1n)), [0x7f]);
  assertThrows(() => encode((to) => to.u32(-1)), RangeError, "got -1");
  assertEquals(encode((to) => to.u53(624485)), [0xe5, 0x8e, 0x26]);
  assertEquals(encode((to) => to.u53(2 ** 32)), [0x80, 0x80, 0x80, 0x80, 0x10]);
  const most = encode((to) => to.u53(2 ** 53 - 1));
  assertEquals(most, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f]);
  for (const wrong of [-1, 0.5, 2 ** 53]) {
    assertThrows(() => encode((to) => to.u53(wrong)), RangeError, `got ${wrong}`);
  }
  assertThrows(() => encode((to) => to.s32(0.5)), RangeError, "got 0.5");
});

Deno.test("constants of every size survive", () => {
  fc.assert(fc.property(
    fc.oneof(fc.integer(), fc.constantFrom(0, -1, 63, 64, -64, -65, 8191, 8192, 2 ** 31 - 1)),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    fc.float(),
    (word, long, real) => {
      const { call, memory } = build([], ["i32"], (f) => {
        f.i32.const(0);
        f.i64.const(long);
        f.i64.store();
        f.i32.const(8);
        f.f32.const(real);
        f.f32.store();
        f.i32.const(word);
      });
      assertEquals(call(), word);
      const view = new DataView(memory.buffer);
      assertEquals(view.getBigInt64(0, true), long);
      assertEquals(view.getFloat32(8, true), real);
    },
  ));
});

Deno.test("structured control: loops, blocks, branches and tables", () => {
  const { call } = build(["i32"], ["i32"], (f) => {
    const sum = f.local("i32");
    const i = f.local("i32");
    f.block((done) => {
      f.loop((next) => {
        f.get(i);
        f.get(f.param(0));
        f.i32.ge_s();
        f.brIf(done);
        f.get(i);
        f.i32.const(3);
        f.i32.rem_u();
        f.if(() => {
          f.get(sum);
          f.get(i);
          f.i32.add();
          f.set(sum);
        }, () => {
          f.get(sum);
          f.i32.const(100);
          f.i32.add();
          f.set(sum);
        });
        f.get(i);
        f.i32.const(1);
        f.i32.add();
        f.set(i);
        f.br(next);
      });
    });
    f.get(sum);
  });
  assertEquals(call(7), 100 + 1 + 2 + 100 + 4 + 5 + 100);

  const table = build(["i32"], ["i32"], (f) => {
    f.block((otherwise) => {
      f.block((one) => {
        f.block((zero) => {
          f.get(f.param(0));
          f.brTable([zero, one], otherwise);
        });
        f.i32.const(10);
        f.return();
      });
      f.i32.const(20);
      f.return();
    });
    f.i32.const(30);
  });
  assertEquals([table.call(0), table.call(1), table.call(7)], [10, 20, 30]);
  assertThrows(
    () =>
      build([], [], (f) => {
        let closed = { depth: 0 };
        f.block((outer) => f.block((label) => closed = { depth: label.depth + outer.depth }));
        f.br(closed);
      }),
    RangeError,
    "main branches to a block that is closed",
  );
});

Deno.test("functions call each other, directly, through the table, and through imports", () => {
  const module = new ModuleBuilder();
  const type = { params: ["i32"], results: ["i32"] } as const;
  const triple = module.importFunction("env", "triple", type);
  const twice = module.function("twice", type);
  twice.get(twice.param(0));
  twice.i32.const(1);
  twice.i32.shl();
  const main = module.function("main", type);
  main.get(main.param(0));
  main.call(triple);
  main.call(twice.index);
  main.i32.const(1);
  main.callIndirect(type);
  module.table([triple, twice.index]);
  module.export("main", main.index);
  assertThrows(() => module.importFunction("env", "late", type), TypeError, "env.late");
  const instance = new WebAssembly.Instance(new WebAssembly.Module(module.build()), {
    env: { triple: (x: number) => 3 * x },
  });
  assertEquals(exported(instance, "main")(5), 60);
  assertEquals(module.typeIndex({ params: ["i32"], results: ["i32"] }), 0);
});

Deno.test("a trap names the function", () => {
  const { call } = build([], [], (f, module) => {
    const kernel = module.function("kernel softmax[197]", { params: [], results: [] });
    kernel.unreachable();
    f.call(kernel.index);
  });
  const error = assertThrows(() => call(), WebAssembly.RuntimeError);
  assertStringIncludes(error.stack ?? "", "kernel softmax[197]");
});

Deno.test("data segments, fill and copy", () => {
  const { call, memory } = build([], [], (f, module) => {
    module.data(new Uint8Array([1, 2, 3]), 100);
    const passive = module.data(new Uint8Array([9, 8, 7, 6]));
    f.i32.const(200);
    f.i32.const(1);
    f.i32.const(2);
    f.memoryInit(passive);
    f.i32.const(300);
    f.i32.const(100);
    f.i32.const(3);
    f.memoryCopy();
    f.i32.const(400);
    f.i32.const(5);
    f.i32.const(2);
    f.memoryFill();
  });
  call();
  const bytes = new Uint8Array(memory.buffer);
  assertEquals([...bytes.slice(200, 203)], [8, 7, 0]);
  assertEquals([...bytes.slice(300, 304)], [1, 2, 3, 0]);
  assertEquals([...bytes.slice(400, 403)], [5, 5, 0]);
});

Deno.test("vector loads and stores: splats, zeros, lanes, widening", () => {
  const source = new Float32Array([1.5, -2, 3.25, 4]);
  const halves = new Uint16Array([1, 2, 0xffff, 4, 5, 6, 7, 8]);
  const run = (body: (f: FunctionBuilder) => void) => onVectors(source.buffer, halves.buffer, body);
  const floats = (body: (f: FunctionBuilder) => void) => [...new Float32Array(run(body))];
  const words = (body: (f: FunctionBuilder) => void) => [...new Int32Array(run(body))];
  const at = (address: number, load: (f: FunctionBuilder) => void) => (f: FunctionBuilder) => {
    f.i32.const(address);
    load(f);
  };
  assertEquals(floats(at(16, (f) => f.v128.load32_splat(8))), [3.25, 3.25, 3.25, 3.25]);
  assertEquals(floats(at(16, (f) => f.v128.load64_splat())), [1.5, -2, 1.5, -2]);
  assertEquals(floats(at(20, (f) => f.v128.load32_zero())), [-2, 0, 0, 0]);
  assertEquals(floats(at(24, (f) => f.v128.load64_zero())), [3.25, 4, 0, 0]);
  assertEquals(words(at(32, (f) => f.v128.load16x4_u())), [1, 2, 0xffff, 4]);
  assertEquals(words(at(32, (f) => f.v128.load16x4_s())), [1, 2, -1, 4]);
  assertEquals(
    floats((f) => {
      f.i32.const(28);
      f.f32x4.constSplat(7);
      f.v128.load32_lane(2);
    }),
    [7, 7, 4, 7],
  );
  const { call, memory } = build([], [], (f) => {
    f.i32.const(4);
    f.v128.const([...new Uint8Array(new Float32Array([1, 2, 3, 4]).buffer)]);
    f.v128.store32_lane(3, 8);
  });
  call();
  assertEquals([...new Float32Array(memory.buffer, 0, 5)], [0, 0, 0, 4, 0]);
});

type Lane = (a: number, b: number) => number;
const MASK = (holds: boolean) => holds ? -1 : 0;

const INT_LANES: Readonly<Record<string, Lane>> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: Math.imul,
  eq: (a, b) => MASK(a === b),
  ne: (a, b) => MASK(a !== b),
  lt_s: (a, b) => MASK(a < b),
  lt_u: (a, b) => MASK(a >>> 0 < b >>> 0),
  gt_s: (a, b) => MASK(a > b),
  gt_u: (a, b) => MASK(a >>> 0 > b >>> 0),
  le_s: (a, b) => MASK(a <= b),
  le_u: (a, b) => MASK(a >>> 0 <= b >>> 0),
  ge_s: (a, b) => MASK(a >= b),
  ge_u: (a, b) => MASK(a >>> 0 >= b >>> 0),
  min_s: Math.min,
  max_s: Math.max,
  min_u: (a, b) => Math.min(a >>> 0, b >>> 0),
  max_u: (a, b) => Math.max(a >>> 0, b >>> 0),
};

const FLOAT_LANES: Readonly<Record<string, Lane>> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  min: Math.min,
  max: Math.max,
  pmin: (a, b) => b < a ? b : a,
  pmax: (a, b) => a < b ? b : a,
  abs: (_, b) => Math.abs(b),
  neg: (_, b) => -b,
  sqrt: (_, b) => Math.sqrt(b),
  ceil: (_, b) => Math.ceil(b),
  floor: (_, b) => Math.floor(b),
  trunc: (_, b) => Math.trunc(b),
};

Deno.test("lane arithmetic of i32x4 and i64x2", () => {
  const a = new Int32Array([5, -7, 2 ** 31 - 1, -(2 ** 31)]);
  const b = new Int32Array([5, 3, -2, 9]);
  for (const [name, lane] of Object.entries(INT_LANES)) {
    const opcode = name as keyof typeof I32X4_OPS & keyof FunctionBuilder["i32x4"];
    const got = new Int32Array(onVectors(a.buffer, b.buffer, (f) => {
      pushOperands(f);
      (f.i32x4[opcode] as () => void)();
    }));
    assertEquals([...got], [...a].map((x, i) => lane(x, b[i] ?? NaN) | 0), name);
  }
  const wide = new BigInt64Array([-5n, 2n ** 40n]);
  const other = new BigInt64Array([7n, 3n]);
  const product = onVectors(wide.buffer, other.buffer, (f) => {
    pushOperands(f);
    f.i64x2.mul();
  });
  assertEquals([...new BigInt64Array(product)], [-35n, 3n * 2n ** 40n]);
});

Deno.test("lane arithmetic of f32x4 and f64x2", () => {
  const a = new Float32Array([1.5, -2.5, NaN, -0.75]);
  const b = new Float32Array([2.25, -7.75, 1, Infinity]);
  const wideA = new Float64Array([1.5, NaN]);
  const wideB = new Float64Array([-2.25, 3]);
  for (const [name, lane] of Object.entries(FLOAT_LANES)) {
    const op = name as "add";
    const unary = lane.toString().startsWith("(_");
    const got = new Float32Array(onVectors(a.buffer, b.buffer, (f) => {
      pushOperands(f);
      f.f32x4[op]();
      if (!unary) return;
      const kept = f.local("v128");
      f.set(kept);
      f.drop();
      f.get(kept);
    }));
    assertEquals([...got], [...a].map((x, i) => Math.fround(lane(x, b[i] ?? 0))), name);
    const wide = new Float64Array(onVectors(wideA.buffer, wideB.buffer, (f) => {
      pushOperands(f);
      f.f64x2[op]();
      if (!unary) return;
      const kept = f.local("v128");
      f.set(kept);
      f.drop();
      f.get(kept);
    }));
    assertEquals([...wide], [...wideA].map((x, i) => lane(x, wideB[i] ?? 0)), `f64x2 ${name}`);
  }
});

Deno.test("conversions, extended products and narrowing", () => {
  const numbers = new Float32Array([1.9, -1.9, NaN, 1e20]);
  const truncated = onVectors(numbers.buffer, numbers.buffer, (f) => {
    f.i32.const(16);
    f.v128.load();
    f.i32x4.trunc_sat_f32x4_s();
  });
  assertEquals([...new Int32Array(truncated)], [1, -1, 0, 2 ** 31 - 1]);
  const words = new Int32Array([-1, 2, 70000, -70000]);
  const narrowed = onVectors(words.buffer, words.buffer, (f) => {
    pushOperands(f);
    f.i16x8.narrow_i32x4_u();
  });
  assertEquals([...new Uint16Array(narrowed)], [0, 2, 65535, 0, 0, 2, 65535, 0]);
  const low = onVectors(words.buffer, new Int32Array([3, 4, 5, 6]).buffer, (f) => {
    pushOperands(f);
    f.i64x2.extmul_high_i32x4_s();
  });
  assertEquals([...new BigInt64Array(low)], [350000n, -420000n]);
  const shuffled = onVectors(words.buffer, new Int32Array([3, 4, 5, 6]).buffer, (f) => {
    pushOperands(f);
    f.i32x4.shuffle([7, 0, 5, 2]);
  });
  assertEquals([...new Int32Array(shuffled)], [6, -1, 4, 70000]);
});

Deno.test("every vector instruction without immediates has a valid opcode", () => {
  const tables = {
    i8x16: I8X16_OPS,
    i16x8: I16X8_OPS,
    i32x4: I32X4_OPS,
    i64x2: I64X2_OPS,
    f32x4: F32X4_OPS,
    f64x2: F64X2_OPS,
  };
  const shapes: { params: ValueType[]; result: ValueType }[] = [
    { params: ["v128", "v128"], result: "v128" },
    { params: ["v128"], result: "v128" },
    { params: ["v128", "v128", "v128"], result: "v128" },
    { params: ["v128", "i32"], result: "v128" },
    { params: ["v128"], result: "i32" },
    { params: ["i32"], result: "v128" },
    { params: ["i64"], result: "v128" },
    { params: ["f32"], result: "v128" },
    { params: ["f64"], result: "v128" },
  ];
  for (const [space, table] of Object.entries(tables)) {
    for (const [name, opcode] of Object.entries(table)) {
      const valid = shapes.some(({ params, result }) => {
        const module = new ModuleBuilder();
        const f = module.function("op", { params, results: [result] });
        params.forEach((_, position) => f.get(f.param(position)));
        const methods: Readonly<Record<string, unknown>> = f[space as keyof typeof tables];
        (methods[name] as () => void)();
        return WebAssembly.validate(module.build());
      });
      assert(valid, `${space}.${name} (${opcode}) fits no signature`);
    }
  }
});

Deno.test("atomics work on shared memory", () => {
  const { call, memory } = build(["i32"], ["i32"], (f) => {
    f.atomic.fence();
    f.i32.const(0);
    f.get(f.param(0));
    f.atomic.rmw_add(4);
    f.drop();
    f.i32.const(8);
    f.i32.const(1);
    f.atomic.store();
    f.i32.const(0);
    f.i32.const(0);
    f.i64.const(-1n);
    f.atomic.wait32(8);
    f.i32.const(4);
    f.i32.const(0);
    f.i32.const(7);
    f.atomic.rmw_cmpxchg(8);
    f.i32.add();
    f.i32.const(0);
    f.i32.const(1);
    f.atomic.notify();
    f.i32.add();
    f.i32.const(0);
    f.atomic.load(4);
    f.i32.add();
  }, { pages: 2, shared: true });
  assertEquals(call(41), 1 + 0 + 0 + 41);
  assertEquals([...new Int32Array(memory.buffer, 0, 4)], [0, 41, 1, 7]);
});

const addressTypes: readonly AddressType[] = wasmFeatures().memory64 ? ["i32", "i64"] : ["i32"];

for (const addressType of addressTypes) {
  const address = (value: number) => addressType === "i32" ? value : BigInt(value);
  const compile = (
    params: FunctionType["params"],
    body: (f: FunctionBuilder, module: ModuleBuilder) => void,
    type: MemoryType = { pages: 1, shared: false },
  ) => build(params, [], body, type, addressType);

  Deno.test(`addresses (${addressType}): arithmetic, and tables of them`, () => {
    const { call, memory } = compile(["address", "i32"], (f) => {
      const [base, index] = [f.param(0), f.param(1)];
      const at = f.local("address");
      assertEquals([base.type, index.type, at.type], [addressType, "i32", addressType]);
      // The table's entry 2 becomes base + 12 * index, where -5 is then stored.
      f.address.const(2 * f.address.bytes);
      f.get(base);
      f.get(index);
      f.address.plus(12);
      f.address.store(64);
      f.address.const(f.address.bytes);
      f.address.load(64 + f.address.bytes);
      f.set(at);
      f.get(at);
      f.i32.const(-5);
      f.i32.store();
      f.get(index);
      f.address.times(-4);
      f.get(at);
      f.address.add();
      f.i32.const(-6);
      f.i32.store();
      f.get(at);
      f.get(index);
      f.address.plus();
      f.i32.const(7);
      f.i32.store8();
    });
    for (const index of [5, -5]) {
      call(address(1004), index);
      const words = new DataView(memory.buffer);
      assertEquals(words.getInt32(1004 + 12 * index, true), -5);
      assertEquals(words.getInt32(1004 + 8 * index, true), -6);
      assertEquals(words.getInt8(1004 + 13 * index), 7);
    }
  });

  Deno.test(`addresses (${addressType}): segments, fill and copy`, () => {
    const { call, memory } = compile([], (f, module) => {
      module.data(new Uint8Array([1, 2, 3]), 100);
      const passive = module.data(new Uint8Array([9, 8, 7, 6]));
      f.address.const(200);
      f.i32.const(5);
      f.i32.const(3);
      f.address.times(1);
      f.memoryFill();
      f.address.const(300);
      f.address.const(100);
      f.address.const(3);
      f.memoryCopy();
      f.address.const(400);
      f.i32.const(1);
      f.i32.const(2);
      f.memoryInit(passive);
    });
    call();
    const bytes = (at: number) => [...new Uint8Array(memory.buffer, at, 4)];
    assertEquals(bytes(100), [1, 2, 3, 0]);
    assertEquals(bytes(200), [5, 5, 5, 0]);
    assertEquals(bytes(300), [1, 2, 3, 0]);
    assertEquals(bytes(400), [8, 7, 0, 0]);
  });

  Deno.test(`addresses (${addressType}): atomics on shared memory`, () => {
    const { call, memory } = compile(["i32"], (f) => {
      f.address.const(0);
      f.get(f.param(0));
      f.atomic.rmw_add(64);
      f.drop();
      f.address.const(64);
      f.i32.const(0);
      f.i64.const(-1n);
      f.atomic.wait32();
      f.drop();
      f.address.const(128);
      f.address.const(0);
      f.atomic.load(64);
      f.atomic.store();
      f.address.const(0);
      f.i32.const(1);
      f.atomic.notify(64);
      f.drop();
    }, { pages: 1, shared: true });
    call(41);
    const words = new Int32Array(memory.buffer);
    assertEquals([words[16], words[32]], [41, 41]);
  });
}

Deno.test("addresses beyond 4 GiB, in the address and in an instruction's offset", () => {
  if (!wasmFeatures().memory64) return;
  const far = 2 ** 32 + 4096;
  const { call, memory } = build(
    ["address"],
    ["i32"],
    (f) => {
      f.get(f.param(0));
      f.i32.const(17);
      f.i32.store(4);
      f.address.const(8);
      f.address.const(8);
      f.i32.load(far - 4);
      f.i32.const(1);
      f.i32.add();
      f.i32.store(far);
      f.get(f.param(0));
      f.i32.load(8);
    },
    { pages: 2 ** 16 + 1, shared: false },
    "i64",
  );
  assertEquals(call(BigInt(far)), 18);
  assertEquals([...new Int32Array(memory.buffer, far, 3)], [0, 17, 18]);
  assertEquals([...new Int32Array(memory.buffer, 0, 4)], [0, 0, 0, 0]);
});

Deno.test("misplaced immediates are refused", () => {
  const module = new ModuleBuilder();
  const f = module.function("main", { params: ["i32"], results: [] });
  assertThrows(() => f.v128.load(0, 32), RangeError, "divides 16, got 32");
  assertThrows(() => f.v128.load(0, 3), RangeError, "got 3");
  assertThrows(() => f.v128.const([1]), RangeError, "got 1");
  assertThrows(() => f.param(1), RangeError, "main has 1 parameters");
});

Deno.test("the engine's features are what validation says", () => {
  const features = wasmFeatures();
  assertEquals(Object.keys(features), ["simd", "relaxedSimd", "threads", "memory64"]);
  assert(features.simd && features.threads, "Deno has SIMD and threads");
});
