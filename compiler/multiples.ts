/** Rounding sizes and addresses. */

/** The smallest multiple that is no smaller. */
export function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}

/** The largest multiple that is no larger. */
export function roundDown(value: number, multiple: number): number {
  return Math.floor(value / multiple) * multiple;
}
