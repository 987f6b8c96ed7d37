import { InputError } from "../../backends/errors.ts";
import { coordinates, type HostPort, toHostTensor } from "../../backends/host_array.ts";
import { editDistance, suggestion } from "../../backends/nearest_name.ts";
import type { DType } from "../../graph/dtype.ts";
import { assert, assertEquals, assertStringIncludes, assertThrows } from "../support/assert.ts";

function port(dtype: DType, shape: readonly number[]): HostPort {
  return { path: "images", dtype, shape };
}

function refused(dtype: DType, shape: readonly number[], value: unknown, part: string): void {
  const error = assertThrows(() => toHostTensor(port(dtype, shape), value, true), InputError);
  assertStringIncludes(error.message, 'Input "images"');
  assertStringIncludes(error.message, part);
}

Deno.test("host array: an array that fits is taken as it is", () => {
  const data = Float32Array.of(1, 2, 3, Infinity, -Infinity, 0);
  const tensor = toHostTensor(port("f32", [2, 3]), data, true);
  assert(tensor.data === data);
  assertEquals(tensor.shape, [2, 3]);
  assert(toHostTensor(port("f32", [2, 3]), { data, shape: [2, 3] }, true).data === data);
});

Deno.test("host array: scalars are numbers or truth values", () => {
  assertEquals(toHostTensor(port("f32", []), 0.1, true).data, Float32Array.of(0.1));
  assertEquals(toHostTensor(port("i32", []), -3, true).data, Int32Array.of(-3));
  assertEquals(toHostTensor(port("u32", []), 2 ** 32 - 1, true).data, Uint32Array.of(2 ** 32 - 1));
  assertEquals(toHostTensor(port("bool", []), true, true).data, Uint8Array.of(1));
  refused("i32", [], 1.5, "wanted a whole number");
  refused("u32", [], -1, "wanted a whole number from 0 to 4294967295");
  refused("f32", [], true, "wanted a number");
  refused("bool", [], 1, "wanted true or false");
  refused("f32", [2], 1, "wanted a Float32Array of length 2");
});

Deno.test("host array: wrong length, shape and element type are refused with what was wanted", () => {
  refused("f32", [2, 3], new Float32Array(5), "is f32[2, 3], but got 5 elements: wanted 6");
  refused("f32", [2, 3], { data: new Float32Array(6), shape: [3, 2] }, "but got shape [3, 2]");
  refused("f32", [6], new Float64Array(6), "but got Float64Array: wanted a Float32Array");
  refused("i32", [1], { data: Int32Array.of(1), dtype: "u32" }, "but got element type u32");
  refused("f32", [6], {}, "but got Object");
  refused("f32", [6], "six", "but got string");
  refused("f32", [6], null, "but got null");
});

Deno.test("host array: bools are bytes of 0 and 1, or truth values", () => {
  const tensor = toHostTensor(port("bool", [3]), [true, false, true], true);
  assertEquals(tensor.data, Uint8Array.of(1, 0, 1));
  assertEquals(toHostTensor(port("bool", [2]), Uint8Array.of(0, 1), true).data.length, 2);
  refused("bool", [2, 2], Uint8Array.of(0, 1, 1, 7), "holds 7 at [1, 1]");
  refused("bool", [2], [true, 1], "holds number 1 at [1]");
});

Deno.test("host array: NaN is refused with its coordinates, and only if asked", () => {
  const data = new Float32Array(4 * 6);
  data[3 * 6 + 5] = NaN;
  refused("f32", [4, 6], data, 'Input "images" has NaN at [3, 5]');
  assertEquals(toHostTensor(port("f32", [4, 6]), data, false).data, data);
  refused("f16", [2], Uint16Array.of(0x7c00, 0x7c01), "has NaN at [1]");
  refused("bf16", [2], Uint16Array.of(0xff80, 0xffc0), "has NaN at [1]");
  assertEquals(toHostTensor(port("bf16", [1]), Uint16Array.of(0x7f80), true).data[0], 0x7f80);
});

Deno.test("host array: f32 numbers are rounded to 16 bits, ties to even", () => {
  const bf16 = toHostTensor(
    port("bf16", [4]),
    Float32Array.of(1, 1.00390625, 1.01171875, -2),
    true,
  );
  assertEquals(bf16.data, Uint16Array.of(0x3f80, 0x3f80, 0x3f82, 0xc000));
  const f16 = toHostTensor(
    port("f16", [4]),
    Float32Array.of(1, 1 + 2 ** -11, 65520, 2 ** -25),
    true,
  );
  assertEquals(f16.data, Uint16Array.of(0x3c00, 0x3c00, 0x7c00, 0));
});

Deno.test("host array: coordinates of a flat index", () => {
  assertEquals(coordinates([], 0), "[]");
  assertEquals(coordinates([2, 3, 4], 23), "[1, 2, 3]");
});

Deno.test("nearest name: distance and suggestions", () => {
  assertEquals(editDistance("kitten", "sitting"), 3);
  assertEquals(editDistance("", "abc"), 3);
  assertEquals(suggestion("imagez", ["labels", "images"]), '; did you mean "images"?');
  assertEquals(suggestion("parameters", ["labels", "images"]), "");
});
