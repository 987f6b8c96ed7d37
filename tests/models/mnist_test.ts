import fc from "../support/fast_check.ts";
import {
  IdxError,
  loadMnist,
  mnistFolder,
  normalizePixels,
  parseIdx,
  parseMnistSplit,
} from "../../models/mnist.ts";
import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "../support/assert.ts";

/** An idx file of these dims, with this element type, and this data. */
function idx(dims: readonly number[], data: ArrayLike<number>, type = 8): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(4 + 4 * dims.length + data.length);
  bytes.set([0, 0, type, dims.length]);
  const view = new DataView(bytes.buffer);
  dims.forEach((dim, axis) => view.setUint32(4 + 4 * axis, dim));
  bytes.set(data, 4 + 4 * dims.length);
  return bytes;
}

function refused(bytes: Uint8Array, message: string, value: string, wanted: string): void {
  const error = assertThrows(() => parseIdx(bytes, "some-idx"), IdxError);
  assertEquals(error.message, `Cannot read idx file some-idx: ${message}`);
  assertEquals([error.file, error.value, error.wanted], ["some-idx", value, wanted]);
}

const files = { images: "images-idx3", labels: "labels-idx1" };

Deno.test("an idx file of unsigned bytes is parsed as a view, at any alignment", () => {
  const dims = fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 1, maxLength: 8 });
  fc.assert(fc.property(dims, fc.integer({ min: 0, max: 3 }), (shape, shift) => {
    const count = shape.reduce((product, dim) => product * dim, 1);
    const data = Uint8Array.from({ length: count }, (_, index) => index);
    const bytes = new Uint8Array([...new Uint8Array(shift), ...idx(shape, data)]).subarray(shift);
    const parsed = parseIdx(bytes, "f");
    assertEquals(parsed, { shape, data });
    assert(parsed.data.buffer === bytes.buffer);
  }));
});

Deno.test("a corrupt idx file is refused, naming the file, the value and what was wanted", () => {
  refused(
    Uint8Array.of(0, 0, 8),
    "its length is 3 bytes, wanted at least 4",
    "3 bytes",
    "at least 4",
  );
  refused(
    Uint8Array.of(0x12, 0x34, 8, 1),
    "its start is 0x1234, wanted two zero bytes",
    "0x1234",
    "two zero bytes",
  );
  refused(
    Uint8Array.of(0x1f, 0x8b, 8, 0),
    "its start is that of a gzip file, wanted two zero bytes",
    "that of a gzip file",
    "two zero bytes",
  );
  const byte = "0x08 (unsigned byte)";
  const float = "0x0d (float)";
  refused(idx([1], [0, 0, 0, 0], 13), `its element type is ${float}, wanted ${byte}`, float, byte);
  const unknown = "0x00 (unknown)";
  refused(idx([1], [0], 0), `its element type is ${unknown}, wanted ${byte}`, unknown, byte);
  refused(idx([], []), "its rank is 0, wanted 1 to 8", "0", "1 to 8");
  refused(Uint8Array.of(0, 0, 8, 255), "its rank is 255, wanted 1 to 8", "255", "1 to 8");
  refused(
    idx([2, 2], []).subarray(0, 11),
    "its length is 11 bytes, wanted at least 12 for 2 dims",
    "11 bytes",
    "at least 12 for 2 dims",
  );
  refused(
    idx([2, 3], [1, 2, 3, 4, 5]),
    "its length is 17 bytes, wanted 18 for the shape [2, 3]",
    "17 bytes",
    "18 for the shape [2, 3]",
  );
  refused(
    idx([2, 3], new Uint8Array(7)),
    "its length is 19 bytes, wanted 18 for the shape [2, 3]",
    "19 bytes",
    "18 for the shape [2, 3]",
  );
  const huge = 2 ** 32 - 1;
  const dims = [huge, huge, huge];
  const shape = `${(BigInt(huge) ** 3n) + 16n} for the shape [${dims.join(", ")}]`;
  refused(idx(dims, []), `its length is 16 bytes, wanted ${shape}`, "16 bytes", shape);
});

Deno.test("images and labels that do not belong together are refused", () => {
  const image = new Uint8Array(784);
  const images = idx([1, 28, 28], image);
  const labels = idx([1], [9]);
  const split = parseMnistSplit(images, labels, files);
  assertEquals(split, { images: image, labels: Uint8Array.of(9), count: 1 });
  const check = (imageBytes: Uint8Array, labelBytes: Uint8Array, message: string) => {
    const error = assertThrows(() => parseMnistSplit(imageBytes, labelBytes, files), IdxError);
    assertEquals(error.message, `Cannot read idx file ${message}`);
  };
  check(
    idx([1, 14, 56], image),
    labels,
    "images-idx3: its shape is [1, 14, 56], wanted [images, 28, 28]",
  );
  check(labels, labels, "images-idx3: its shape is [1], wanted [images, 28, 28]");
  check(images, images, "labels-idx1: its shape is [1, 28, 28], wanted [labels]");
  check(
    images,
    idx([2], [1, 2]),
    "labels-idx1: its number of labels is 2, wanted 1, the number of images in images-idx3",
  );
  check(images, idx([1], [10]), "labels-idx1: its label 0 is 10, wanted 0 to 9");
});

Deno.test("the whole of MNIST is read, with its published statistics", async () => {
  const { train, test } = await loadMnist();
  assertEquals([train.count, test.count], [60_000, 10_000]);
  assertEquals(train.images.length, 60_000 * 784);
  assertEquals(test.images.length, 10_000 * 784);
  const histogram = (labels: Uint8Array) => {
    const counts = new Array<number>(10).fill(0);
    for (const label of labels) counts[label] = (counts[label] ?? 0) + 1;
    return counts;
  };
  assertEquals(
    histogram(train.labels),
    [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
  );
  assertEquals(histogram(test.labels), [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]);
  assertEquals([...train.labels.subarray(0, 8)], [5, 0, 4, 1, 9, 2, 1, 3]);
  let sum = 0;
  let squares = 0;
  for (const pixel of train.images) {
    sum += pixel;
    squares += pixel * pixel;
  }
  const mean = sum / train.images.length / 255;
  assertAlmostEquals(mean, 0.1307, 5e-5);
  const deviation = Math.sqrt(squares / train.images.length / 255 ** 2 - mean ** 2);
  assertAlmostEquals(deviation, 0.3081, 5e-5);
});

Deno.test("a folder without the files is an error that names the missing one", async () => {
  const folder = await Deno.makeTempDir({ prefix: "fovea_mnist_" });
  try {
    const error = await assertRejects(() => loadMnist(folder), Deno.errors.NotFound);
    assertStringIncludes(error.message, "idx3-ubyte");
  } finally {
    await Deno.remove(folder);
  }
  assert((await Deno.stat(mnistFolder())).isDirectory);
});

Deno.test("pixels are normalised to [-1, 1]", () => {
  const pixels = Uint8Array.from({ length: 256 }, (_, value) => value);
  const values = normalizePixels(pixels);
  assertEquals([values[0], values[255]], [-1, 1]);
  values.forEach((value, pixel) => assertEquals(value, Math.fround(pixel / 127.5 - 1)));
});
