import fc from "../support/fast_check.ts";
import type { Expr, KernelBuffer, LoopKernel, MatmulKernel } from "../../compiler/loop_ir.ts";
import { interpretKernel } from "../../backends/reference/loop_interpreter.ts";
import { threefry2x32 } from "../../backends/reference/scalar_functions.ts";
import {
  bf16Bits,
  bf16Value,
  f16Bits,
  f16Value,
  roundToStorage,
} from "../../backends/reference/storage.ts";
import { assert, assertEquals, assertThrows } from "../support/assert.ts";

const i32 = (value: number): Expr => ({ kind: "const", type: "i32", value });
const at = (name: string): Expr => ({ kind: "var", type: "i32", name });
const acc: Expr = { kind: "var", type: "f32", name: "acc" };
const binary = (op: "add" | "mul", a: Expr, b: Expr): Expr => ({
  kind: "binary",
  op,
  type: a.type,
  a,
  b,
});
const f32Buffer = (
  name: string,
  elements: number,
  access: KernelBuffer["access"] = "read",
): KernelBuffer => ({ name, dtype: "f32", elements, access });

Deno.test("half precision agrees with Float16Array on every bit pattern", () => {
  const halves = new Float16Array(new Uint16Array(65536).map((_, bits) => bits).buffer);
  const bits = new Uint16Array(halves.buffer);
  for (let index = 0; index < 65536; index++) {
    const value = halves[index] ?? 0;
    assertEquals(f16Value(index), value);
    if (!Number.isNaN(value)) assertEquals(f16Bits(value), bits[index]);
  }
});

Deno.test("rounding to half precision agrees with Math.f16round", () => {
  fc.assert(fc.property(fc.float(), fc.integer({ min: 1, max: 0x7bff }), (x, bits) => {
    assertEquals(roundToStorage(x, "f16"), Math.f16round(x));
    const tie = (f16Value(bits) + f16Value(bits - 1)) / 2;
    assertEquals(f16Value(f16Bits(tie)), Math.f16round(tie));
  }));
});

Deno.test("bf16 keeps the upper half of an f32, rounded to even", () => {
  assertEquals(bf16Bits(1), 0x3f80);
  assertEquals(bf16Bits(1 + 2 ** -8), 0x3f80);
  assertEquals(bf16Bits(1 + 3 * 2 ** -8), 0x3f82);
  assertEquals(bf16Bits(-3.4e38), 0xff80);
  assertEquals(bf16Bits(2 ** -133), 1);
  assertEquals(bf16Value(0xc040), -3);
  assert(Number.isNaN(bf16Value(bf16Bits(NaN))));
});

Deno.test("threefry agrees with the published test vectors", () => {
  assertEquals(threefry2x32(0, 0, 0, 0), [0x6b200159, 0x99ba4efe]);
  assertEquals(threefry2x32(0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff), [
    0x1cb996fc,
    0xbb002be7,
  ]);
});

Deno.test("a kernel reduces, stores and accumulates", () => {
  const kernel: LoopKernel = {
    kind: "loops",
    name: "rows",
    buffers: [
      f32Buffer("x", 6),
      f32Buffer("half", 3, "scratch"),
      f32Buffer("sum", 2, "write"),
      f32Buffer("total", 2, "update"),
      { name: "best", dtype: "i32", elements: 2, access: "write" },
    ],
    parallel: { variable: "row", extent: 2 },
    body: [
      {
        kind: "reduce",
        ranges: [{ variable: "k", start: i32(0), end: i32(3) }],
        body: [
          {
            kind: "let",
            name: "v",
            value: {
              kind: "load",
              type: "f32",
              buffer: 0,
              index: binary("add", binary("mul", at("row"), i32(3)), at("k")),
            },
          },
          {
            kind: "store",
            buffer: 1,
            index: at("k"),
            value: { kind: "var", type: "f32", name: "v" },
          },
        ],
        accumulators: [
          { name: "s", type: "f32", op: "sum", value: { kind: "var", type: "f32", name: "v" } },
          { name: "m", type: "i32", op: "argmax", value: { kind: "var", type: "f32", name: "v" } },
        ],
      },
      {
        kind: "store",
        buffer: 2,
        index: at("row"),
        value: { kind: "var", type: "f32", name: "s" },
      },
      { kind: "store", buffer: 4, index: at("row"), value: at("m") },
      {
        kind: "accumulate",
        buffer: 3,
        index: at("row"),
        value: { kind: "load", type: "f32", buffer: 1, index: i32(1) },
      },
    ],
  };
  const sum = new Float64Array(2);
  const total = new Float32Array([10, 20]);
  const best = new Int32Array(2);
  interpretKernel(kernel, [new Float32Array([1, 2, 3, NaN, 5, NaN]), sum, total, best]);
  assertEquals([...sum], [6, NaN]);
  assertEquals([...total], [12, 25]);
  assertEquals([...best], [2, 0]);
  assertThrows(
    () => interpretKernel(kernel, [new Float32Array(5), sum, total, best]),
    RangeError,
    "Buffer x of kernel rows has 6 elements, its memory 5",
  );
  const outside = { ...kernel, parallel: { variable: "row", extent: 3 } };
  assertThrows(
    () => interpretKernel(outside, [new Float32Array(6), sum, total, best]),
    RangeError,
    "Kernel rows loads x[6], which has 6 elements",
  );
});

Deno.test("a matmul with two row axes, a transposed operand and an epilogue", () => {
  const kernel: MatmulKernel = {
    kind: "matmul",
    name: "matmul",
    buffers: [f32Buffer("a", 8), f32Buffer("b", 6), f32Buffer("out", 12, "write")],
    parts: [{
      batch: [],
      m: [{ variable: "m0", extent: 2 }, { variable: "m1", extent: 2 }],
      n: [{ variable: "n", extent: 3 }],
      terms: [{
        a: { buffer: 0, offset: 0, batchStrides: [], freeStrides: [4, 2], kStrides: [1] },
        b: { buffer: 1, offset: 0, batchStrides: [], freeStrides: [2], kStrides: [1] },
        k: [2],
      }],
      epilogue: [{
        kind: "store",
        buffer: 2,
        index: binary(
          "add",
          binary("mul", binary("add", binary("mul", at("m0"), i32(2)), at("m1")), i32(3)),
          at("n"),
        ),
        value: binary("mul", acc, { kind: "const", type: "f32", value: 2 }),
      }],
    }],
  };
  const out = new Float32Array(12);
  interpretKernel(kernel, [
    new Float32Array([1, 2, 3, 4, 5, 6, 7, 8]),
    new Float32Array([1, 0, 0, 1, 1, 1]),
    out,
  ]);
  assertEquals([...out], [2, 4, 6, 6, 8, 14, 10, 12, 22, 14, 16, 30]);
});
