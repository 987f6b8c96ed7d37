/** The same statements over buffers with other numbers. */
import type { Statement } from "../loop_ir.ts";
import { mapStatements, sharedRewrite, withParts } from "./expressions.ts";

/** Gives the buffers in statements other numbers, sharing what was shared. */
export function renumberBuffers(
  statements: readonly Statement[],
  number: (buffer: number) => number,
): Statement[] {
  const expr = sharedRewrite((before, recur) => {
    const after = withParts(before, recur);
    return after.kind === "load" ? { ...after, buffer: number(after.buffer) } : after;
  });
  return mapStatements(statements, { expr, buffer: number });
}
