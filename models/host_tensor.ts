/** Tensors as they lie in a file or in JavaScript's memory: an element type, a shape, a typed array. */

/**
 * The typed array that holds each element type. `f16` and `bf16` are raw bits; a `bool` is a byte, 0 or 1.
 */
export interface HostData {
  readonly f64: Float64Array;
  readonly f32: Float32Array;
  readonly f16: Uint16Array;
  readonly bf16: Uint16Array;
  readonly i64: BigInt64Array;
  readonly i32: Int32Array;
  readonly i16: Int16Array;
  readonly i8: Int8Array;
  readonly u64: BigUint64Array;
  readonly u32: Uint32Array;
  readonly u16: Uint16Array;
  readonly u8: Uint8Array;
  readonly bool: Uint8Array;
}

/** Element types of tensors on the host: more than the graph computes in, since files hold more. */
export type HostDType = keyof HostData;

/**
 * A tensor on the host, row-major. A union over `D`: testing `dtype` narrows `data`. A scalar has the
 * shape `[]`.
 */
export type HostTensor<D extends HostDType = HostDType> = {
  readonly [K in D]: {
    readonly dtype: K;
    readonly shape: readonly number[];
    readonly data: HostData[K];
  };
}[D];

interface HostStorage<K extends HostDType> {
  readonly bytes: number;
  view(buffer: ArrayBuffer): HostData[K];
  holds(data: ArrayBufferView): boolean;
}

const STORAGE: { readonly [K in HostDType]: HostStorage<K> } = {
  f64: storage((buffer) => new Float64Array(buffer)),
  f32: storage((buffer) => new Float32Array(buffer)),
  f16: storage((buffer) => new Uint16Array(buffer)),
  bf16: storage((buffer) => new Uint16Array(buffer)),
  i64: storage((buffer) => new BigInt64Array(buffer)),
  i32: storage((buffer) => new Int32Array(buffer)),
  i16: storage((buffer) => new Int16Array(buffer)),
  i8: storage((buffer) => new Int8Array(buffer)),
  u64: storage((buffer) => new BigUint64Array(buffer)),
  u32: storage((buffer) => new Uint32Array(buffer)),
  u16: storage((buffer) => new Uint16Array(buffer)),
  u8: storage((buffer) => new Uint8Array(buffer)),
  bool: storage((buffer) => new Uint8Array(buffer)),
};

function storage<K extends HostDType>(
  view: (buffer: ArrayBuffer) => HostData[K],
): HostStorage<K> {
  const empty = view(new ArrayBuffer(0));
  return {
    bytes: empty.BYTES_PER_ELEMENT,
    view,
    holds: (data) => data.constructor === empty.constructor,
  };
}

/** Bytes of one element on the host and in a file. */
export function hostBytesPerElement(dtype: HostDType): number {
  return STORAGE[dtype].bytes;
}

/**
 * Elements of a tensor of this shape, or what is wrong with it: a dim that is not a whole number >= 0, or
 * a product beyond 2^53 - 1.
 */
export function countElements(shape: readonly number[]): number | string {
  for (const dim of shape) {
    if (!Number.isSafeInteger(dim) || dim < 0 || Object.is(dim, -0)) {
      return `dim ${Object.is(dim, -0) ? "-0" : dim} is not a whole number between 0 and 2^53 - 1`;
    }
  }
  if (shape.includes(0)) return 0;
  let count = 1;
  for (const dim of shape) {
    count *= dim;
    if (!Number.isSafeInteger(count)) return "its number of elements exceeds 2^53 - 1";
  }
  return count;
}

/** A tensor whose data is not yet known to fit its dtype. */
interface UncheckedTensor {
  readonly dtype: HostDType;
  readonly shape: readonly number[];
  readonly data: HostData[HostDType];
}

/** What is wrong with a tensor: shape, dtype and data that do not fit together; undefined when sound. */
export function hostTensorProblem(tensor: UncheckedTensor): string | undefined {
  if (!Object.hasOwn(STORAGE, tensor.dtype)) return `dtype ${String(tensor.dtype)} is unknown`;
  const count = countElements(tensor.shape);
  if (typeof count === "string") return `shape [${tensor.shape}] is not legal: ${count}`;
  if (!ArrayBuffer.isView(tensor.data) || !STORAGE[tensor.dtype].holds(tensor.data)) {
    const found = Object.prototype.toString.call(tensor.data).slice("[object ".length, -1);
    return `data of dtype ${tensor.dtype} cannot lie in ${found}`;
  }
  if (tensor.data.length !== count) {
    return `shape [${tensor.shape}] wants ${count} elements, but data has ${tensor.data.length}`;
  }
  return tensor.dtype === "bool" ? boolProblem(tensor.data) : undefined;
}

function boolProblem(data: HostData[HostDType]): string | undefined {
  const index = data.findIndex((byte: number | bigint) => byte > 1);
  if (index < 0) return undefined;
  return `bool element ${index} is the byte ${data[index]}, wanted 0 or 1`;
}

/**
 * A tensor over `data`, which is kept, not copied.
 *
 * @throws {RangeError} when shape, dtype and data do not fit together, or a bool is neither 0 nor 1.
 */
export function hostTensor<D extends HostDType>(
  dtype: D,
  shape: readonly number[],
  data: HostData[D],
): HostTensor<D> {
  const tensor: HostTensor<D> = { dtype, shape: [...shape], data };
  const problem = hostTensorProblem(tensor);
  if (problem !== undefined) throw new RangeError(`Cannot make a host tensor: ${problem}`);
  return tensor;
}

/**
 * A tensor over a buffer of little-endian elements, which it keeps, not yet checked: see
 * `hostTensorProblem`. Every platform that Deno and the browsers run on is little-endian, so the buffer
 * is viewed as it is.
 *
 * @throws {RangeError} when the buffer is not a whole number of elements.
 */
export function viewHostTensor<D extends HostDType>(
  dtype: D,
  shape: readonly number[],
  buffer: ArrayBuffer,
): HostTensor<D> {
  const view: (buffer: ArrayBuffer) => HostData[D] = STORAGE[dtype].view;
  return { dtype, shape, data: view(buffer) };
}

/** The bytes of a tensor's elements, in place: writing to one writes to the other. */
export function hostTensorBytes(tensor: HostTensor): Uint8Array {
  const { buffer, byteOffset, byteLength } = tensor.data;
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** bf16 bits to f32: the upper half of an f32's bits, so exact. */
export function bf16ToFloat32(bits: Uint16Array): Float32Array<ArrayBuffer> {
  const words = new Uint32Array(bits.length);
  for (let index = 0; index < bits.length; index++) words[index] = (bits[index] ?? 0) << 16;
  return new Float32Array(words.buffer);
}

/** IEEE 754 binary16 bits to f32: exact, subnormals and infinities included. */
export function f16ToFloat32(bits: Uint16Array): Float32Array<ArrayBuffer> {
  const values = new Float32Array(bits.length);
  for (let index = 0; index < bits.length; index++) values[index] = f16Value(bits[index] ?? 0);
  return values;
}

function f16Value(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

/**
 * The elements of a tensor of f32, f16, bf16 or f64 as f32. The f32 tensor's own array is returned, not a
 * copy; f64 is rounded to nearest even.
 *
 * @throws {TypeError} for an integer or bool tensor, whose meaning as a float only the caller knows.
 */
export function hostTensorToFloat32(tensor: HostTensor): Float32Array {
  switch (tensor.dtype) {
    case "f32":
      return tensor.data;
    case "f16":
      return f16ToFloat32(tensor.data);
    case "bf16":
      return bf16ToFloat32(tensor.data);
    case "f64":
      return Float32Array.from(tensor.data);
    default:
      throw new TypeError(
        `Cannot read a tensor of dtype ${tensor.dtype} as f32, wanted f32, f16, bf16 or f64`,
      );
  }
}
