import fc from "../support/fast_check.ts";
import {
  bf16ToFloat32,
  countElements,
  f16ToFloat32,
  hostBytesPerElement,
  type HostDType,
  type HostTensor,
  hostTensor,
  hostTensorBytes,
  hostTensorToFloat32,
  viewHostTensor,
} from "../../models/host_tensor.ts";
import {
  decodeSafetensors,
  encodeSafetensors,
  SafetensorsError,
} from "../../models/safetensors.ts";
import { readSafetensors, writeSafetensors } from "../../models/safetensors_file.ts";
import { FILE_DTYPES } from "../../models/safetensors_header.ts";
import {
  parseStrictJson,
  plainJson,
  StrictJsonError,
  type StrictJsonLimits,
} from "../../models/strict_json.ts";
import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "../support/assert.ts";

/** A file with this header text, or these header bytes, and this data. */
function file(header: string | Uint8Array, data: ArrayLike<number> = []): Uint8Array<ArrayBuffer> {
  const text = typeof header === "string" ? new TextEncoder().encode(header) : header;
  const bytes = new Uint8Array(8 + text.length + data.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(text, 8);
  bytes.set(data, 8 + text.length);
  return bytes;
}

function entry(dtype: string, shape: unknown, offsets: unknown): string {
  return JSON.stringify({ dtype, shape, data_offsets: offsets });
}

function refused(bytes: Uint8Array, message: string, tensor?: string): void {
  const error = assertThrows(
    () => decodeSafetensors(bytes, { source: "w.safetensors" }),
    SafetensorsError,
    message,
  );
  assertEquals(error.path, "w.safetensors");
  assertEquals(error.tensor, tensor);
  assertStringIncludes(error.message, "Cannot read safetensors file w.safetensors: ");
}

async function inFolder(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "fovea_safetensors_" });
  try {
    await run(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const names = fc.oneof(
  fc.string({ unit: "binary", maxLength: 12 }),
  fc.constantFrom("__proto__", "constructor", "toString", "", '"\\\n\u0000', "a/b.c", "\u{1f600}"),
).filter((name) => name !== "__metadata__");

const tensors: fc.Arbitrary<HostTensor> = fc.tuple(
  fc.constantFrom<HostDType>(...FILE_DTYPES.values()),
  fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 4 }),
).chain(([dtype, shape]) => {
  const length = Number(countElements(shape)) * hostBytesPerElement(dtype);
  return fc.uint8Array({ minLength: length, maxLength: length }).map((random) => {
    const bytes = dtype === "bool" ? random.map((byte) => byte & 1) : random;
    return viewHostTensor(dtype, shape, bytes.slice().buffer);
  });
});

const named = fc.uniqueArray(fc.tuple(names, tensors), {
  selector: ([name]) => name,
  maxLength: 6,
});
const metadatas = fc.uniqueArray(fc.tuple(names, fc.string({ unit: "binary" })), {
  selector: ([key]) => key,
  maxLength: 3,
});

function assertSameTensors(
  actual: ReadonlyMap<string, HostTensor>,
  expected: readonly (readonly [string, HostTensor])[],
): void {
  assertEquals(actual.size, expected.length);
  for (const [name, tensor] of expected) {
    const found = actual.get(name);
    assert(found !== undefined, `tensor ${JSON.stringify(name)} is missing`);
    assertEquals(found.dtype, tensor.dtype);
    assertEquals(found.shape, tensor.shape);
    // Bytes, so that the payloads of NaNs count too.
    assertEquals(hostTensorBytes(found), hostTensorBytes(tensor));
  }
}

Deno.test("a safetensors file built by hand decodes, and encodes to the same bytes", () => {
  const header = '{"__metadata__":{"by":"hand"},' +
    '"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},' +
    '"i":{"dtype":"I8","shape":[1,2],"data_offsets":[8,10]}}' + " ".repeat(6);
  const data = [0x00, 0x00, 0x80, 0x3f, 0x00, 0x00, 0x00, 0xc0, 0xff, 0x7f];
  const golden = file(header, data);
  assertEquals([...golden.subarray(0, 8)], [144, 0, 0, 0, 0, 0, 0, 0]);
  const { tensors, metadata } = decodeSafetensors(golden);
  assertEquals([...tensors], [
    ["w", { dtype: "f32", shape: [2], data: Float32Array.of(1, -2) }],
    ["i", { dtype: "i8", shape: [1, 2], data: Int8Array.of(-1, 127) }],
  ]);
  assertEquals(metadata, new Map([["by", "hand"]]));
  assertEquals(encodeSafetensors([...tensors].reverse(), metadata), golden);
});

Deno.test("the writer pads the header with spaces to a multiple of 8", () => {
  const bytes = encodeSafetensors([["a", hostTensor("u8", [], Uint8Array.of(7))]]);
  const header = '{"a":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}    ';
  assertEquals(bytes, file(header, [7]));
  assertEquals(encodeSafetensors([]), file("{}      "));
});

Deno.test("the writer sorts by width, then by dtype, then by the code points of the name", () => {
  const f32 = (value: number) => hostTensor("f32", [], Float32Array.of(value));
  const bytes = encodeSafetensors([
    ["\u{1f600}", f32(1)],
    ["\uff5e", f32(2)],
    ["b", hostTensor("bool", [], Uint8Array.of(1))],
    ["h", hostTensor("bf16", [], Uint16Array.of(1))],
    ["ab", f32(3)],
    ["a", f32(4)],
    ["u", hostTensor("u64", [], BigUint64Array.of(1n))],
  ]);
  const sorted = ["u", "a", "ab", "\uff5e", "\u{1f600}", "h", "b"];
  assertEquals([...decodeSafetensors(bytes).tensors.keys()], sorted);
});

Deno.test("random tensors and metadata survive a round trip, in memory at any alignment", () => {
  fc.assert(
    fc.property(named, metadatas, fc.integer({ min: 0, max: 7 }), (list, metadata, shift) => {
      const bytes = encodeSafetensors(list, metadata);
      const shifted = new Uint8Array(bytes.length + shift);
      shifted.set(bytes, shift);
      const file = decodeSafetensors(shifted.subarray(shift));
      shifted.fill(0xee);
      assertSameTensors(file.tensors, list);
      assertEquals([...file.metadata], metadata);
      assertEquals(encodeSafetensors(file.tensors, file.metadata), bytes);
    }),
    { numRuns: 200 },
  );
});

Deno.test("random tensors survive a round trip through a file", async () => {
  await inFolder(async (folder) => {
    const path = `${folder}/w.safetensors`;
    await fc.assert(
      fc.asyncProperty(named, metadatas, async (list, metadata) => {
        await writeSafetensors(path, list, metadata);
        const file = await readSafetensors(path);
        assertSameTensors(file.tensors, list);
        assertEquals([...file.metadata], metadata);
        assertEquals(await Deno.readFile(path), encodeSafetensors(list, metadata));
      }),
      { numRuns: 20 },
    );
  });
});

Deno.test("a tensor over a part of shared memory is written as that part", async () => {
  await inFolder(async (folder) => {
    const arena = new Float32Array(new SharedArrayBuffer(64));
    arena.set([1, 2, 3, 4, 5]);
    const path = `${folder}/shared.safetensors`;
    await writeSafetensors(path, [["part", hostTensor("f32", [2], arena.subarray(2, 4))]]);
    const { tensors } = await readSafetensors(path);
    assertEquals(tensors.get("part")?.data, Float32Array.of(3, 4));
  });
});

Deno.test("a file with any byte changed or cut decodes or is refused by name", () => {
  const header = `{"__metadata__":{"k":"v"},"a":${entry("F32", [2], [0, 8])},` +
    `"b":${entry("BOOL", [2, 1], [8, 10])}}`;
  const sound = file(header, [0, 0, 128, 63, 0, 0, 0, 64, 1, 0]);
  decodeSafetensors(sound);
  const at = fc.integer({ min: 0, max: sound.length - 1 });
  fc.assert(
    fc.property(at, fc.integer({ min: 0, max: 255 }), fc.boolean(), (place, byte, cut) => {
      const bytes = cut ? sound.slice(0, place) : sound.with(place, byte);
      if (cut) assertThrows(() => decodeSafetensors(bytes), SafetensorsError);
      try {
        decodeSafetensors(bytes);
      } catch (error) {
        assert(error instanceof SafetensorsError, String(error));
      }
    }),
    { numRuns: 1000 },
  );
});

Deno.test("a file that is too short, or whose header length lies, is refused", () => {
  refused(new Uint8Array(0), "it has 0 bytes, wanted at least 8");
  refused(new Uint8Array(7), "it has 7 bytes, wanted at least 8");
  refused(
    file("{}").subarray(0, 9),
    "truncated: the header states a length of 2 bytes, but only 1",
  );
  const long = new Uint8Array(64).fill(0x20);
  new DataView(long.buffer).setBigUint64(0, 100_000_001n, true);
  refused(long, "states a length of 100000001 bytes, wanted at most 100000000");
  refused(new Uint8Array(64).fill(0xff), "states a length of 18446744073709551615 bytes");
});

Deno.test("a Git-LFS pointer is recognised, with the size of what it points to", () => {
  const pointer = "version https://git-lfs.github.com/spec/v1\n" +
    `oid sha256:${"0f".repeat(32)}\nsize 346293852\n`;
  refused(
    new TextEncoder().encode(pointer),
    "this is a Git-LFS pointer, 346293852 bytes; fetch the file itself",
  );
});

Deno.test("a header that is not one strict JSON object is refused", () => {
  refused(file(""), 'the header must start with "{", but it is empty');
  refused(file(" {}"), 'the header must start with "{", but it starts with the byte 32');
  refused(file("\ufeff{}"), "but it starts with the byte 239");
  refused(file(Uint8Array.of(0x7b, 0x22, 0xff, 0x22)), "the header is not UTF-8");
  refused(file("{} x"), "not strict JSON: Expected the end of the text");
  refused(file('{"a":'), "not strict JSON: Expected a value, but the text ends at character 5");
  const a = entry("U8", [0], [0, 0]);
  refused(file(`{"a":${a},"a":${a}}`), 'Duplicate key "a" at character');
  refused(file(`{"a":${a},"\\u0061":${a}}`), 'Duplicate key "a" at character');
  refused(file('{"a":{"dtype":"U8","dtype":"I8"}}'), 'Duplicate key "dtype" at character');
  refused(file(`{"__metadata__":{},"__metadata__":{}}`), 'Duplicate key "__metadata__"');
  refused(file('{"a":{"shape":[[1]]}}'), "Nesting exceeds 3 levels");
  refused(file('{"\\ud800":1}'), "Lone surrogate");
});

Deno.test("metadata other than strings is refused", () => {
  refused(file('{"__metadata__":[]}'), "__metadata__ is an array of 0, wanted an object");
  refused(file('{"__metadata__":{"k":1}}'), '__metadata__ "k" is 1, wanted a string');
});

Deno.test("a malformed entry is refused, naming the tensor and the field", () => {
  const one = (text: string, data: ArrayLike<number> = []) => file(`{"layer.w":${text}}`, data);
  const check = (text: string, message: string) => refused(one(text), message, "layer.w");
  check("1", 'tensor "layer.w": entry is 1, wanted an object');
  check('{"dtype":"F32","shape":[]}', "data_offsets is missing, wanted an array [begin, end]");
  check('{"shape":[],"data_offsets":[0,0]}', "dtype is missing, wanted a string");
  check('{"dtype":"F32","data_offsets":[0,0]}', "shape is missing, wanted an array");
  check(
    '{"dtype":"F32","shape":[0],"data_offsets":[0,0],"strides":[1]}',
    'unknown field "strides"',
  );
  check(entry("F33", [0], [0, 0]), 'dtype "F33" is unknown, wanted one of BOOL, U8');
  check(entry("f32", [0], [0, 0]), 'dtype "f32" is unknown');
  check(entry("__proto__", [0], [0, 0]), 'dtype "__proto__" is unknown');
  check(entry("F8_E4M3", [0], [0, 0]), "dtype F8_E4M3 is legal but not readable here");
  check(entry("U8", [-1], [0, 0]), "shape[0] is -1, wanted a whole number between 0 and 2^53 - 1");
  check(entry("U8", [0, 1.5], [0, 0]), "shape[1] is 1.5, wanted a whole number");
  check(entry("U8", ["2"], [0, 0]), 'shape[0] is "2", wanted a whole number');
  check('{"dtype":"U8","shape":[-0],"data_offsets":[0,0]}', "shape[0] is -0, wanted");
  check('{"dtype":"U8","shape":[9007199254740993],"data_offsets":[0,0]}', "shape[0] is 90071992");
  check(entry("U8", Array(65).fill(1), [0, 1]), "shape has 65 dims, wanted at most 64");
  check(entry("U8", [2 ** 40, 2 ** 40], [0, 0]), "its number of elements exceeds 2^53 - 1");
  check(entry("U8", [1], [0]), "data_offsets is an array of 1, wanted an array [begin, end]");
  check(entry("U8", [1], [0, null]), "data_offsets[1] is null, wanted a whole number");
  check(entry("U8", [1], [3, 2]), "data_offsets [3, 2] end before they begin");
  check(
    entry("F32", [2, 3], [0, 20]),
    "dtype f32 and shape [2,3] take 24 bytes, but data_offsets span 20",
  );
  // 2^50 elements would be a petabyte: refused by the layout, with nothing allocated.
  check(
    entry("U8", [2 ** 50], [0, 2 ** 50]),
    "truncated: data_offsets [0, 1125899906842624] reach",
  );
});

Deno.test("tensors that do not cover the data exactly once are refused", () => {
  const two = (a: [number, number], b: [number, number], data: number) =>
    file(
      `{"a":${entry("U8", [a[1] - a[0]], a)},"b":${entry("U8", [b[1] - b[0]], b)}}`,
      new Uint8Array(data),
    );
  decodeSafetensors(two([4, 8], [0, 4], 8));
  refused(
    two([0, 5], [4, 8], 8),
    'tensor "b": data_offsets [4, 8] overlaps tensor "a", which ends at 5',
    "b",
  );
  refused(two([0, 4], [0, 4], 4), 'data_offsets [0, 4] overlaps tensor "a"', "b");
  refused(
    two([0, 4], [6, 8], 8),
    'data_offsets [6, 8] leaves a hole of 2 bytes after tensor "a", which ends at 4',
    "b",
  );
  refused(two([1, 4], [4, 8], 8), "leaves a hole of 1 bytes after the header", "a");
  refused(
    two([0, 4], [4, 8], 7),
    "it is truncated: data_offsets [4, 8] reach beyond the 7 bytes of data",
    "b",
  );
  refused(
    two([0, 4], [4, 8], 11),
    'it is oversized: 3 bytes follow tensor "b", the last in it',
  );
  refused(file("{}", [1]), "it is oversized: 1 bytes follow the header, the last in it");
});

Deno.test("a bool that is neither 0 nor 1 is refused", () => {
  const bytes = file(`{"m":${entry("BOOL", [3], [0, 3])}}`, [1, 0, 2]);
  refused(bytes, 'tensor "m": bool element 2 is the byte 2, wanted 0 or 1', "m");
});

Deno.test("a file on disk is refused by the same rules, naming its path", async () => {
  await inFolder(async (folder) => {
    const path = `${folder}/bad.safetensors`;
    await Deno.writeFile(path, file(`{"a":${entry("U8", [4], [0, 4])}}`, [1, 2, 3]));
    const error = await assertRejects(() => readSafetensors(path), SafetensorsError);
    assertStringIncludes(
      error.message,
      `Cannot read safetensors file ${path}: tensor "a": it is truncated`,
    );
    assertEquals([error.path, error.tensor], [path, "a"]);
    await Deno.writeFile(path, new Uint8Array(3));
    await assertRejects(() => readSafetensors(path), SafetensorsError, "it has 3 bytes");
    await assertRejects(() => readSafetensors(`${folder}/none`), Deno.errors.NotFound);
    if (Deno.build.os !== "windows") {
      await assertRejects(() => readSafetensors(folder), SafetensorsError, "not a regular file");
    }
  });
});

Deno.test("the writer refuses what the reader would, before it writes", async () => {
  const scalar = hostTensor("f32", [], Float32Array.of(1));
  const check = (list: [string, HostTensor][], message: string) =>
    assertThrows(() => encodeSafetensors(list), SafetensorsError, message);
  check([["a", scalar], ["a", scalar]], 'tensor "a": its name is repeated');
  check([["__metadata__", scalar]], "its name is reserved");
  check([["\ud800", scalar]], "its name holds a lone surrogate");
  check([["a", { ...scalar, shape: Array(65).fill(1) }]], "its shape has 65 dims");
  check([["a", { ...scalar, shape: [2] }]], "shape [2] wants 2 elements, but data has 1");
  check([["a", { ...scalar, shape: [0.5] }]], "dim 0.5 is not a whole number");
  check(
    [["a", { dtype: "bool", shape: [], data: Uint8Array.of(9) }]],
    "bool element 0 is the byte 9",
  );
  const lies: HostTensor = JSON.parse('{"dtype":"c64","shape":[],"data":[]}');
  check([["a", lies]], "dtype c64 is unknown");
  const list: HostTensor = JSON.parse('{"dtype":"f32","shape":[1],"data":[1]}');
  check([["a", list]], "data of dtype f32 cannot lie in Array");
  assertThrows(() => encodeSafetensors([], [["k", "\udc00"]]), SafetensorsError, "lone surrogate");
  assertThrows(
    () => encodeSafetensors([], [["k", "1"], ["k", "2"]]),
    SafetensorsError,
    'metadata "k" is repeated',
  );
  await inFolder(async (folder) => {
    const path = `${folder}/w.safetensors`;
    const bad: HostTensor = { ...scalar, shape: [3] };
    const write = () => writeSafetensors(path, [["a", bad]]);
    await assertRejects(write, SafetensorsError, `Cannot write safetensors file ${path}`);
    assertEquals([...Deno.readDirSync(folder)], []);
  });
});

Deno.test("f16 converts to f32 exactly, for all 65,536 bit patterns", () => {
  const bits = Uint16Array.from({ length: 65536 }, (_, index) => index);
  const expected = new Float16Array(bits.buffer);
  // Element by element: the payload and sign of a NaN are free.
  f16ToFloat32(bits).forEach((value, index) => {
    assert(Object.is(value, expected[index]), `bits ${index}: ${value} is not ${expected[index]}`);
  });
});

Deno.test("bf16 converts to f32 as the upper half of its bits", () => {
  const bits = Uint16Array.of(0x3f80, 0xc000, 0x8000, 0x7f80, 0x0001, 0x4049);
  const expected = Float32Array.of(1, -2, -0, Infinity, 2 ** -133, 3.140625);
  assertEquals(bf16ToFloat32(bits), expected);
  assert(Number.isNaN(bf16ToFloat32(Uint16Array.of(0x7fc0))[0]));
});

Deno.test("float tensors are read as f32, and others are refused", () => {
  const f32 = hostTensor("f32", [1], Float32Array.of(0.1));
  assert(hostTensorToFloat32(f32) === f32.data);
  const values = [
    hostTensor("f64", [], Float64Array.of(0.1)),
    hostTensor("f16", [], Uint16Array.of(0x2e66)),
    hostTensor("bf16", [], Uint16Array.of(0x3dcd)),
  ].map((tensor) => hostTensorToFloat32(tensor)[0] ?? NaN);
  assertEquals(values[0], Math.fround(0.1));
  assertAlmostEquals(values[1] ?? NaN, 0.1, 1e-4);
  assertAlmostEquals(values[2] ?? NaN, 0.1, 1e-3);
  const integers = hostTensor("i32", [1], Int32Array.of(1));
  assertThrows(() => hostTensorToFloat32(integers), TypeError, "dtype i32 as f32, wanted f32, f16");
});

Deno.test("a host tensor whose shape, dtype and data disagree is refused", () => {
  assertThrows(
    () => hostTensor("f32", [2, 2], new Float32Array(3)),
    RangeError,
    "wants 4 elements",
  );
  assertThrows(() => hostTensor("f32", [-1], new Float32Array(1)), RangeError, "dim -1 is not");
  assertEquals(countElements([0, 2 ** 52, 2 ** 52]), 0);
});

Deno.test("strict JSON agrees with JSON.parse on every JSON text", () => {
  fc.assert(
    fc.property(fc.json(), (text) => {
      assertEquals<unknown>(plainJson(parseStrictJson(text)), JSON.parse(text));
    }),
  );
  const spaced = ' {"a" : [ 1 , -0.5e+2 ,\t"\\u00e9\\n" , true , null ] ,\r\n"__proto__":{} } ';
  assertEquals<unknown>(plainJson(parseStrictJson(spaced)), JSON.parse(spaced));
});

Deno.test("strict JSON refuses whatever JSON.parse refuses, and bounds what it accepts", () => {
  fc.assert(
    fc.property(
      fc.json(),
      fc.nat(),
      fc.constantFrom("", ",", '"', "}", "[", "0", "\\", "\n"),
      (text, place, insert) => {
        const at = place % (text.length + 1);
        const broken = text.slice(0, at) + insert + text.slice(at + (insert === "" ? 1 : 0));
        try {
          JSON.parse(broken);
        } catch {
          assertThrows(() => parseStrictJson(broken), StrictJsonError);
        }
      },
    ),
    { numRuns: 500 },
  );
  const check = (text: string, message: string, limits: StrictJsonLimits = {}) =>
    assertThrows(() => parseStrictJson(text, limits), StrictJsonError, message);
  check("1e999", "Number is too large at character 0");
  check('"abc', "Unterminated string at character 0");
  check('"\\x41"', "Invalid escape in a string at character 0");
  check('"\t"', "Control character in a string at character 1");
  check("[1,2,3]", "More than 2 members", { maxMembers: 2 });
  check("[".repeat(100_000), "Nesting exceeds 64 levels");
  check("[1 2]", `Expected ',' or ']', but found "2" at character 3`);
});
