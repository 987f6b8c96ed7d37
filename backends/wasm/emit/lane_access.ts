/** What is done for each lane on its own: loads from places that are no neighbours, and divisions. */
import type { Expr } from "../../../compiler/loop_ir.ts";
import { scalarType } from "../../../compiler/lower/values.ts";
import { bytesPerElement } from "../../../graph/dtype.ts";
import type { Push } from "../vector_code.ts";
import { addressName } from "./addresses.ts";
import type { Emitter } from "./emitter.ts";
import { extractLane, loadScalar, loadVector, replaceLane } from "./memory_access.ts";
import { divideByConstant, isSafeDivisor, scalarBinary, valueType } from "./scalar_operations.ts";

/** Where one lane's element is. */
export interface LanePointer {
  readonly address: Push;
  /** Bytes to add, as an instruction's constant. */
  readonly offset: number;
}

/** Pushes vector u of a load that differs between lanes. */
export function loadLanes(
  emitter: Emitter,
  { buffer, index }: Expr & { readonly kind: "load" },
  u: number,
): void {
  const { code } = emitter;
  const { dtype } = emitter.memory.buffer(buffer);
  const access = emitter.access(buffer, index);
  if (emitter.stride(access) === 1) {
    const address = emitter.addressOperand(buffer, access);
    const offset = access.offset + 4 * u * bytesPerElement(dtype);
    return loadVector(code, dtype, address, offset);
  }
  const pointers = lanePointers(emitter, buffer, index, u);
  code.i32(0)();
  pointers.forEach(({ address, offset }, lane) => {
    const load = (): void => loadScalar(code, dtype, address, offset);
    replaceLane(code, scalarType(dtype), lane, load);
  });
}

/** Where each of the four lanes' elements is, for lanes that are not neighbours. */
export function lanePointers(
  emitter: Emitter,
  buffer: number,
  index: Expr,
  u: number,
): LanePointer[] {
  const { f } = emitter;
  const bytes = bytesPerElement(emitter.memory.buffer(buffer).dtype);
  const access = emitter.access(buffer, index);
  const stride = emitter.stride(access);
  if (stride !== undefined) {
    const first = emitter.addressOperand(buffer, access);
    return [0, 1, 2, 3].map((lane) => {
      const offset = access.offset + (4 * u + lane) * stride * bytes;
      if (offset >= 0) return { address: first, offset };
      const address = (): void => {
        first();
        f.address.const(offset);
        f.address.add();
      };
      return { address, offset: 0 };
    });
  }
  const indices = emitter.vectorOperand(index, u);
  return [0, 1, 2, 3].map((lane) => {
    const address = (): void => {
      f.get(emitter.variable(addressName(buffer)));
      indices();
      f.i32x4.extract_lane(lane);
      f.address.plus(bytes);
    };
    return { address, offset: 0 };
  });
}

/** Pushes vector u of an operation that only scalars have, such as a whole division. */
export function computeLaneByLane(
  emitter: Emitter,
  { op, type, a, b }: Expr & { readonly kind: "binary" },
  u: number,
): void {
  const { code, f, module } = emitter;
  const [left, right] = [emitter.vectorOperand(a, u), emitter.vectorOperand(b, u)];
  const byConstant = (op === "div" || op === "rem") && isSafeDivisor(b)
    ? { op, by: b.value }
    : undefined;
  code.i32(0)();
  for (let lane = 0; lane < 4; lane++) {
    const part = (value: Push): Push =>
      code.keep(() => extractLane(code, a.type, value, lane), valueType(a.type));
    const x = part(left);
    if (byConstant !== undefined) {
      const divide = (): void => divideByConstant(f, byConstant.op, a.type, x, byConstant.by);
      replaceLane(code, type, lane, divide);
      continue;
    }
    const y = part(right);
    replaceLane(code, type, lane, () => scalarBinary(f, module, op, a.type, x, y));
  }
}
