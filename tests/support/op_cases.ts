/**
 * One table of ops applied to small shapes (scalars, size 1, odd sizes, more than a vector's width,
 * no elements), for every suite: the gradient checks in f64, and the backends' conformance.
 */
import type { OpCase } from "./op_case.ts";
import { ELEMENTWISE_CASES } from "./op_cases_elementwise.ts";
import { MOVEMENT_CASES } from "./op_cases_movement.ts";
import { STRUCTURED_CASES } from "./op_cases_structured.ts";

export { caseValues, type OpCase } from "./op_case.ts";

/** Every case. The names are unique. */
export const OP_CASES: readonly OpCase[] = [
  ...ELEMENTWISE_CASES,
  ...MOVEMENT_CASES,
  ...STRUCTURED_CASES,
];
