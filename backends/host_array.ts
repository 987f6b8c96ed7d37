/** Tensors on the host: what goes into a program and what comes out of it. */
import { type DType, isFloat, isHalf } from "../graph/dtype.ts";
import { formatShape, type StaticShape, staticSize } from "../graph/shape.ts";
import { InputError } from "./errors.ts";
import { bf16Bits, f16Bits } from "./reference/storage.ts";

/** The typed array that holds each element type; f16 and bf16 are raw bits, a bool is 0 or 1. */
export interface HostDataOf {
  f32: Float32Array;
  f16: Uint16Array;
  bf16: Uint16Array;
  i32: Int32Array;
  u32: Uint32Array;
  bool: Uint8Array;
}

/** Any of the arrays. */
export type HostData = HostDataOf[DType];

/** Numbers with their element type and shape, row-major. */
export interface HostTensor<D extends DType = DType> {
  readonly dtype: D;
  readonly shape: StaticShape;
  readonly data: HostDataOf[D];
}

/** The arrays accepted for each element type. f32 numbers are rounded to f16 and bf16. */
export interface HostInputDataOf {
  f32: Float32Array;
  f16: Uint16Array | Float32Array;
  bf16: Uint16Array | Float32Array;
  i32: Int32Array;
  u32: Uint32Array;
  bool: Uint8Array | readonly boolean[];
}

/** What may be given for an input: an array, an array with its shape, or a scalar's number. */
export type HostValue<D extends DType = DType> = D extends DType ?
    | HostInputDataOf[D]
    | {
      readonly data: HostInputDataOf[D];
      readonly shape?: StaticShape;
      readonly dtype?: DType;
    }
    | (D extends "bool" ? boolean : number)
  : never;

/** What an input wants. */
export interface HostPort {
  readonly path: string;
  readonly dtype: DType;
  readonly shape: StaticShape;
}

const ARRAYS = {
  f32: Float32Array,
  f16: Uint16Array,
  bf16: Uint16Array,
  i32: Int32Array,
  u32: Uint32Array,
  bool: Uint8Array,
} as const;

const WANTED: Readonly<Record<DType, string>> = {
  f32: "a Float32Array",
  f16: "a Uint16Array of bits, or a Float32Array to be rounded",
  bf16: "a Uint16Array of bits, or a Float32Array to be rounded",
  i32: "an Int32Array",
  u32: "a Uint32Array",
  bool: "a Uint8Array of 0 and 1, or an array of booleans",
};

const INTEGER_LIMITS = { i32: [-(2 ** 31), 2 ** 31 - 1], u32: [0, 2 ** 32 - 1] } as const;

/** A zeroed array for this element type. */
export function hostData<D extends DType>(dtype: D, elements: number): HostDataOf[D] {
  // The table's row and the result's type are both picked by the same key.
  return new ARRAYS[dtype](elements) as HostDataOf[D];
}

/** An array over bytes, which must be aligned to the element type's size. */
export function viewHostData<D extends DType>(dtype: D, bytes: Uint8Array): HostDataOf[D] {
  const Data: new (buffer: ArrayBufferLike, start: number, length: number) => HostData =
    ARRAYS[dtype];
  const length = bytes.byteLength / ARRAYS[dtype].BYTES_PER_ELEMENT;
  // As above.
  return new Data(bytes.buffer, bytes.byteOffset, length) as HostDataOf[D];
}

/** Whether the value is one tensor, not a structure of them. */
export function isHostValue(value: unknown): boolean {
  if (typeof value === "number" || typeof value === "boolean") return true;
  if (ArrayBuffer.isView(value)) return true;
  if (Array.isArray(value)) return value.length === 0 || typeof value[0] === "boolean";
  return typeof value === "object" && value !== null && "data" in value &&
    (ArrayBuffer.isView(value.data) || Array.isArray(value.data));
}

/**
 * The value as an array of the input's element type. Arrays that fit are not copied.
 *
 * @throws {InputError} When length, shape or element type are not the input's, an integer or bool
 *   cannot hold a value, or (with `checkNaN`) a number is NaN.
 */
export function toHostTensor(port: HostPort, value: unknown, checkNaN: boolean): HostTensor {
  const { dtype, shape } = port;
  const data = typeof value === "number" || typeof value === "boolean"
    ? scalarData(port, value)
    : arrayData(port, unwrap(port, value));
  if (checkNaN && isFloat(dtype)) refuseNaN(port, data, 0);
  return { dtype, shape, data };
}

/**
 * Elements of an input, any number of those from the place `start` on, as an array of its element type.
 *
 * @throws {InputError} As {@linkcode toHostTensor}.
 */
export function toHostPiece(
  port: HostPort,
  data: unknown,
  start: number,
  checkNaN: boolean,
): HostData {
  const elements = elementsOf(port, data, start);
  const left = staticSize(port.shape) - start;
  if (elements.length > left) {
    throw new InputError(
      `${subject(port)}, but got ${elements.length} elements where ${left} are left`,
    );
  }
  if (checkNaN && isFloat(port.dtype)) refuseNaN(port, elements, start);
  return elements;
}

function subject(port: HostPort): string {
  return `Input "${port.path}" is ${port.dtype}${formatShape(port.shape)}`;
}

function scalarData(port: HostPort, value: number | boolean): HostData {
  const { dtype, shape } = port;
  if (shape.length > 0) {
    throw new InputError(
      `${subject(port)}, but got the ${typeof value} ${value}: wanted ${WANTED[dtype]} of length ` +
        `${staticSize(shape)}`,
    );
  }
  if ((dtype === "bool") !== (typeof value === "boolean")) {
    const wanted = dtype === "bool" ? "true or false" : "a number";
    throw new InputError(`${subject(port)}, but got ${typeof value} ${value}: wanted ${wanted}`);
  }
  const number = Number(value);
  if (dtype === "i32" || dtype === "u32") {
    const [low, high] = INTEGER_LIMITS[dtype];
    if (!Number.isInteger(number) || number < low || number > high) {
      throw new InputError(
        `${subject(port)}, but got ${value}: wanted a whole number from ${low} to ${high}`,
      );
    }
  }
  if (isHalf(dtype)) return roundedBits(Float32Array.of(number), dtype);
  const data = hostData(dtype, 1);
  data[0] = number;
  return data;
}

/** The bare array in a `{data, shape}` pair, whose shape and element type are checked. */
function unwrap(port: HostPort, value: unknown): unknown {
  if (ArrayBuffer.isView(value) || Array.isArray(value)) return value;
  if (typeof value !== "object" || value === null || !("data" in value)) {
    throw new InputError(
      `${subject(port)}, but got ${nameOf(value)}: wanted ${WANTED[port.dtype]}`,
    );
  }
  if ("shape" in value && value.shape !== undefined) {
    const given = Array.isArray(value.shape) ? value.shape : [value.shape];
    const same = given.length === port.shape.length &&
      port.shape.every((size, axis) => size === given[axis]);
    if (!same) {
      throw new InputError(`${subject(port)}, but got shape [${given.join(", ")}]`);
    }
  }
  if ("dtype" in value && value.dtype !== undefined && value.dtype !== port.dtype) {
    const rounds = value.dtype === "f32" && isHalf(port.dtype);
    if (!rounds) throw new InputError(`${subject(port)}, but got element type ${value.dtype}`);
  }
  return value.data;
}

function nameOf(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  return typeof value === "object" ? value.constructor?.name ?? "an object" : typeof value;
}

function arrayData(port: HostPort, data: unknown): HostData {
  const elements = elementsOf(port, data, 0);
  const wanted = staticSize(port.shape);
  if (elements.length === wanted) return elements;
  throw new InputError(`${subject(port)}, but got ${elements.length} elements: wanted ${wanted}`);
}

/** The array with the input's element type; its first element stands at the place `start`. */
function elementsOf(port: HostPort, data: unknown, start: number): HostData {
  const { dtype } = port;
  const fits = data instanceof ARRAYS[dtype];
  const rounds = isHalf(dtype) && data instanceof Float32Array;
  const booleans = dtype === "bool" && Array.isArray(data);
  if (!fits && !rounds && !booleans) {
    throw new InputError(`${subject(port)}, but got ${nameOf(data)}: wanted ${WANTED[dtype]}`);
  }
  if (rounds) return roundedBits(data, dtype);
  if (booleans) return booleanData(port, data, start);
  if (dtype === "bool") refuseOtherThanBits(port, data as Uint8Array, start);
  return data as HostData;
}

/** f32 numbers rounded to the nearest f16 or bf16, ties to even, as raw bits. */
export function roundedBits(data: Float32Array, dtype: "f16" | "bf16"): Uint16Array {
  return Uint16Array.from(data, dtype === "f16" ? f16Bits : bf16Bits);
}

function booleanData(port: HostPort, values: readonly unknown[], start: number): Uint8Array {
  return Uint8Array.from(values, (value, index) => {
    if (typeof value === "boolean") return value ? 1 : 0;
    const place = coordinates(port.shape, start + index);
    throw new InputError(`${subject(port)}, but holds ${nameOf(value)} ${value} at ${place}`);
  });
}

function refuseOtherThanBits(port: HostPort, data: Uint8Array, start: number): void {
  const index = data.findIndex((value) => value > 1);
  if (index < 0) return;
  throw new InputError(
    `${subject(port)}, but holds ${data[index]} at ${coordinates(port.shape, start + index)}: ` +
      "wanted 0 or 1",
  );
}

function refuseNaN(port: HostPort, data: HostData, start: number): void {
  const index = data instanceof Uint16Array
    ? firstNaNBits(data, port.dtype === "f16" ? 0x7c00 : 0x7f80)
    : firstNaN(data);
  if (index < 0) return;
  throw new InputError(`Input "${port.path}" has NaN at ${coordinates(port.shape, start + index)}`);
}

function firstNaN(data: HostData): number {
  // The engine's own search takes an eighth of the loop's time, and mostly there is none.
  if (!data.includes(NaN)) return -1;
  for (let index = 0; index < data.length; index++) {
    const value = data[index];
    if (value !== value) return index;
  }
  return -1;
}

/** `infinity` is the bit pattern of +infinity: only NaNs have larger magnitudes. */
function firstNaNBits(data: Uint16Array, infinity: number): number {
  return data.findIndex((bits) => (bits & 0x7fff) > infinity);
}

/** The place of a flat index in a shape, as `[3, 5]`. */
export function coordinates(shape: StaticShape, index: number): string {
  const place: number[] = [];
  let rest = index;
  for (const size of [...shape].reverse()) {
    place.unshift(rest % size);
    rest = Math.floor(rest / size);
  }
  return formatShape(place);
}
