import fc from "../support/fast_check.ts";
import { compile, InputError, reference, wasm } from "../../backends/mod.ts";
import { add, cast, mul, spec, sum, trace } from "../../graph/mod.ts";
import { ByteReader } from "../../models/byte_reader.ts";
import { bf16ToFloat32, f16ToFloat32, hostTensor } from "../../models/host_tensor.ts";
import { hostKey, hostWords } from "../../models/random_words.ts";
import { encodeSafetensors, type NamedTensors } from "../../models/safetensors.ts";
import { SafetensorsError } from "../../models/safetensors_header.ts";
import { WeightsError } from "../../models/weights.ts";
import { loadParametersInto, saveParameters } from "../../models/weights_file.ts";
import { streamParameters } from "../../models/weights_stream.ts";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "../support/assert.ts";

const graph = trace(
  {
    parameters: {
      kernel: spec("f32", [3, 5]),
      bias: spec("f32", []),
      half: spec("bf16", [7]),
      mask: spec("bool", [3]),
      words: spec("u32", [2]),
    },
    x: spec("f32", []),
  },
  ({ parameters: { kernel, bias, half }, x }) =>
    mul(add(add(sum(kernel), bias), sum(cast(half, "f32"))), x),
);

const words = (count: number, seed = 1) => hostWords(hostKey(seed), count);
const numbers = (count: number) => Float32Array.from(words(count), (word) => word / 2 ** 31 - 1);

const kernel = numbers(15);
const half = Uint16Array.from(words(7), (word) => word & 0x3fff);
const good: NamedTensors = [
  ["kernel", hostTensor("f32", [3, 5], kernel)],
  ["bias", hostTensor("f32", [], Float32Array.of(0.5))],
  ["half", hostTensor("bf16", [7], half)],
  ["mask", hostTensor("bool", [3], Uint8Array.of(1, 0, 1))],
  ["words", hostTensor("u32", [2], words(2))],
];

/** Replaces tensors of the good file; undefined takes one away. */
function changed(changes: Readonly<Record<string, ReturnType<typeof hostTensor> | undefined>>) {
  const tensors = new Map(good);
  for (const [name, tensor] of Object.entries(changes)) {
    if (tensor === undefined) tensors.delete(name);
    else tensors.set(name, tensor);
  }
  return encodeSafetensors(tensors);
}

/** Chunks of these lengths, over and over, all in the same memory. */
function* chunked(bytes: Uint8Array, lengths: readonly number[]): Generator<Uint8Array> {
  const memory = new Uint8Array(Math.max(...lengths));
  for (let at = 0, index = 0; at < bytes.length; index++) {
    const length = lengths[index % lengths.length] ?? 1;
    const part = bytes.subarray(at, at + length);
    memory.fill(0xff).set(part);
    yield memory.subarray(0, part.length);
    at += length;
  }
}

const program = () => compile(graph, { backend: wasm({ threads: 1 }) });

Deno.test("weights: bytes in chunks of any length give what the tensors give", async () => {
  using streamed = await program();
  using whole = await program();
  whole.set({
    parameters: {
      kernel,
      bias: 0.5,
      half,
      mask: [true, false, true],
      words: words(2),
    },
  });
  const wanted = await whole.get("parameters");
  const bytes = encodeSafetensors(good);
  const lengths = fc.array(fc.integer({ min: 0, max: 40 }), { minLength: 1, maxLength: 5 })
    .filter((lengths) => lengths.some((length) => length > 0));
  await fc.assert(fc.asyncProperty(lengths, async (lengths) => {
    await streamParameters(streamed, chunked(bytes, lengths));
    assertEquals(await streamed.get("parameters"), wanted);
  }));
  assertEquals(await streamed.run({ x: 2 }), await whole.run({ x: 2 }));
});

Deno.test("weights: a byte stream that only has a reader, as in some browsers", async () => {
  using streamed = await program();
  const stream = new Blob([encodeSafetensors(good)]).stream();
  Object.defineProperty(stream, Symbol.asyncIterator, { value: undefined });
  await streamParameters(streamed, stream);
  const { data } = await streamed.get("parameters/kernel");
  assertEquals(data, kernel);
});

Deno.test("weights: pieces are smaller than large tensors", async () => {
  const size = 700_001;
  const large = trace(
    { parameters: { w: spec("f32", [size]) } },
    ({ parameters: { w } }) => sum(w),
  );
  using streamed = await compile(large, { backend: wasm({ threads: 1 }) });
  const data = numbers(size);
  const lengths: number[] = [];
  const watched = {
    inputs: streamed.inputs,
    load: (source: Parameters<typeof streamed.load>[0]) =>
      streamed.load({
        tensors: source.tensors,
        async *pieces() {
          for await (const piece of source.pieces()) {
            lengths.push(piece.data.length);
            yield piece;
          }
        },
      }),
  };
  await streamParameters(watched, [encodeSafetensors([["w", hostTensor("f32", [size], data)]])]);
  assertEquals(lengths, [2 ** 18, 2 ** 18, size - 2 ** 19]);
  assertEquals((await streamed.get("parameters/w")).data, data);
});

Deno.test("weights: f16 and bf16 become f32, f32 becomes bf16", async () => {
  using streamed = await program();
  const bits = Uint16Array.from(words(15), (word) => word & 0xbbff);
  const widened = [
    ["f16", f16ToFloat32(bits)],
    ["bf16", bf16ToFloat32(bits)],
  ] as const;
  for (const [dtype, values] of widened) {
    const file = changed({ kernel: hostTensor(dtype, [3, 5], bits) });
    await streamParameters(streamed, chunked(file, [7]));
    assertEquals((await streamed.get("parameters/kernel")).data, values);
  }
  await streamed.load({
    tensors: [{ path: "parameters/half", dtype: "f32", shape: [7] }],
    pieces:
      () => [{ path: "parameters/half", data: Float32Array.of(1, 2, 1.00390625, 4, 5, 6, 7) }],
  });
  assertEquals(
    (await streamed.get("parameters/half")).data.slice(0, 4),
    Uint16Array.of(0x3f80, 0x4000, 0x3f80, 0x4080),
  );
});

Deno.test("weights: what the program does not want is refused before any data is taken", async () => {
  using streamed = await program();
  await streamParameters(streamed, [encodeSafetensors(good)]);
  const cases: [Parameters<typeof changed>[0], string][] = [
    [{ bias: undefined }, 'here: "bias" is missing, wanted f32[]'],
    [
      { kernel: hostTensor("f32", [5, 3], kernel) },
      'here: "kernel" is f32[5, 3], wanted f32[3, 5]',
    ],
    [{ bias: hostTensor("f64", [], Float64Array.of(1)) }, 'here: "bias" is f64[], wanted f32[]'],
    [{ bias: hostTensor("i64", [], BigInt64Array.of(1n)) }, 'here: "bias" is i64[], wanted f32[]'],
    [{ half: hostTensor("f16", [7], half) }, 'here: "half" is f16[7], wanted bf16[7]'],
    [{ scale: hostTensor("f32", [], Float32Array.of(1)) }, 'here: the model has no "scale"'],
  ];
  for (const [changes, message] of cases) {
    const file = changed(changes);
    const header = 8 + Number(new DataView(file.buffer).getBigUint64(0, true));
    let taken = 0;
    const bytes = function* (): Generator<Uint8Array> {
      for (; taken < file.length; taken++) yield file.subarray(taken, taken + 1);
    };
    const error = await assertRejects(
      () => streamParameters(streamed, bytes(), { source: "here" }),
      WeightsError,
    );
    assertEquals(error.message, message);
    assert(taken <= Math.max(header, 512), `${taken} bytes taken of a header of ${header}`);
  }
  await streamed.run({ x: 1 });
});

Deno.test("weights: a stream that fails half-way leaves the program unset until the next", async () => {
  using streamed = await program();
  // A header longer than the first look at the file, so that the data is met while it is loaded.
  const bytes = encodeSafetensors(good, [["note", "x".repeat(600)]]);
  await streamParameters(streamed, [bytes]);
  await streamed.run({ x: 1 });
  const broken: [Iterable<Uint8Array>, Parameters<typeof assertRejects>[1], string][] = [
    [[bytes.subarray(0, -1)], SafetensorsError, "it is truncated"],
    [[bytes, Uint8Array.of(0)], SafetensorsError, "it is oversized"],
    [
      (function* () {
        yield bytes.subarray(0, -4);
        throw new TypeError("connection lost");
      })(),
      TypeError,
      "connection lost",
    ],
    [
      [changed({ kernel: hostTensor("f32", [3, 5], kernel.with(8, NaN)) })],
      InputError,
      'Input "parameters/kernel" has NaN at [1, 3]',
    ],
  ];
  for (const [chunks, type, message] of broken) {
    await assertRejects(() => streamParameters(streamed, chunks), type, message);
    const missing = await assertRejects(() => streamed.run({ x: 1 }), InputError);
    assertStringIncludes(missing.message, 'Missing inputs "parameters/');
    await streamParameters(streamed, [bytes]);
    await streamed.run({ x: 1 });
  }
  using unchecked = await compile(graph, { backend: reference(), checkInputs: false });
  const withNaN = changed({ kernel: hostTensor("f32", [3, 5], kernel.with(8, NaN)) });
  await streamParameters(unchecked, [withNaN]);
  assertEquals((await unchecked.get("parameters/kernel")).data[8], NaN);
});

Deno.test("weights: a malformed header, a pointer, a length that is known to be wrong", async () => {
  using streamed = await program();
  const pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n";
  const bytes = encodeSafetensors(good);
  const cases: [Uint8Array, string, number?][] = [
    [new TextEncoder().encode(pointer), "12345 bytes; fetch the file itself"],
    [bytes.subarray(0, 5), "it has 5 bytes, wanted at least 8"],
    [bytes.subarray(0, 40), "it is truncated"],
    [new Uint8Array(600).fill(255), "this may not be a safetensors file"],
    [bytes, "it is truncated", bytes.length - 1],
    [bytes, "it is oversized", bytes.length + 1],
  ];
  for (const [chunk, message, length] of cases) {
    const known = length === undefined ? {} : { bytes: length };
    const options = { source: "w.safetensors", ...known };
    const error = await assertRejects(
      () => streamParameters(streamed, [chunk], options),
      SafetensorsError,
      message,
    );
    assertStringIncludes(error.message, "Cannot read safetensors file w.safetensors: ");
  }
});

Deno.test("weights: a part of a file, under other names", async () => {
  using streamed = await program();
  const tensors = [
    ...[...good].map(([name, tensor]) => [`model.${name}`, tensor] as const),
    ["step", hostTensor("i64", [3], BigInt64Array.of(1n, 2n, 3n))] as const,
  ];
  const rename = (name: string) => name.startsWith("model.") ? name.slice(6) : undefined;
  await streamParameters(streamed, chunked(encodeSafetensors(tensors), [11]), { rename });
  assertEquals((await streamed.get("parameters/kernel")).data, kernel);
  await assertRejects(
    () =>
      streamParameters(streamed, [encodeSafetensors(tensors)], {
        rename: (name) => name === "model.mask" || name === "step" ? "mask" : rename(name),
      }),
    WeightsError,
    'the stream: "step" and "model.mask" are both "mask"',
  );
});

Deno.test("weights: a file that was saved is read straight into a program", async () => {
  const one = trace({ held: { w: spec("f32", [2, 3]) } }, ({ held }) => sum(held.w));
  using first = await compile(one, { backend: wasm({ threads: 1 }) });
  using second = await compile(one, { backend: wasm({ threads: 2 }) });
  const path = await Deno.makeTempFile();
  try {
    first.set({ held: { w: numbers(6) } });
    await saveParameters(path, await first.get("held"));
    await loadParametersInto(second, path, { at: "held" });
    assertEquals(await second.get("held"), await first.get("held"));
    await Deno.truncate(path, (await Deno.stat(path)).size - 1);
    const error = await assertRejects(
      () => loadParametersInto(second, path, { at: "held" }),
      SafetensorsError,
      "it is truncated",
    );
    assertEquals(error.path, path);
    // Known from the file's length, so nothing was written.
    assertEquals(await second.get("held"), await first.get("held"));
  } finally {
    await Deno.remove(path);
  }
  const folder = await Deno.makeTempDir();
  try {
    await assertRejects(() => loadParametersInto(second, folder, { at: "held" }));
  } finally {
    await Deno.remove(folder);
  }
});

Deno.test("byte reader: bytes are taken in any lengths, and the source is told of the end", async () => {
  const lengths = fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 1, maxLength: 6 })
    .filter((lengths) => lengths.some((length) => length > 0));
  await fc.assert(fc.asyncProperty(lengths, lengths, async (given, wanted) => {
    const bytes = Uint8Array.from(words(50), (word) => word);
    const reader = new ByteReader(chunked(bytes, given));
    const found: number[] = [];
    for (let index = 0; found.length < bytes.length; index++) {
      const length = wanted[index % wanted.length] ?? 1;
      const present = await reader.peek(length);
      assert(present.length >= Math.min(length, bytes.length - found.length));
      found.push(...reader.take(length));
    }
    assertEquals(Uint8Array.from(found), bytes);
    assertEquals((await reader.peek(1)).length, 0);
  }));
  let ended = false;
  const reader = new ByteReader((function* () {
    try {
      for (;;) yield Uint8Array.of(1, 2);
    } finally {
      ended = true;
    }
  })());
  await reader.peek(3);
  await reader.close();
  assert(ended);
});

Deno.test("weights: no second copy of them is held while they are loaded", async () => {
  const script = new URL("./peak_of_loading.ts", import.meta.url);
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--no-check", script.href],
  }).output();
  assert(success, new TextDecoder().decode(stderr));
  const mebibytes = Number(new TextDecoder().decode(stdout)) / 2 ** 20;
  // The weights themselves, 64, and what the engine needs for the code that copies them.
  assert(mebibytes > 60 && mebibytes < 80, `${mebibytes} MiB`);
});
