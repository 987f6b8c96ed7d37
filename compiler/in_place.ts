/** Whether a result may take an operand's memory, as far as the kernel is concerned. */
import type { Node } from "../graph/node.ts";
import type { Statement } from "./loop_ir.ts";
import { ExpressionNumbers, rootsOf, visitExpressions } from "./lower/expressions.ts";
import type { LoweredKernel } from "./lower/kernel_builder.ts";

/**
 * Whether the kernel reads the one node only at the place at which it then writes the other, and
 * never after writing, so that the two may share memory.
 */
export function readsOnlyWhereItWrites(kernel: LoweredKernel, read: Node, written: Node): boolean {
  const from = kernel.bindings.indexOf(read);
  const to = kernel.bindings.indexOf(written);
  if (kernel.kernel.kind === "matmul") {
    // Parts run side by side: what one of them alone reads or writes is no other's concern.
    return kernel.kernel.parts.every(({ terms, epilogue }) =>
      terms.every(({ a, b }) => a.buffer !== from && b.buffer !== from) &&
      (!mentions(epilogue, from, to) || sameIndices(epilogue, from, to))
    );
  }
  return kernel.kernel.kind === "loops" && sameIndices(kernel.kernel.body, from, to);
}

/** Whether statements without blocks load the one buffer or store to the other. */
function mentions(statements: readonly Statement[], from: number, to: number): boolean {
  return statements.some((statement) => {
    let loads = false;
    visitExpressions(rootsOf(statement), (expr) => {
      loads ||= expr.kind === "load" && expr.buffer === from;
    });
    return loads || (statement.kind === "store" && statement.buffer === to);
  });
}

function sameIndices(body: readonly Statement[], from: number, to: number): boolean {
  const numbers = new ExpressionNumbers();
  const indices = new Set<number>();
  let stores = 0;
  let readsAfterStore = false;
  const visit = (statements: readonly Statement[]): void => {
    for (const statement of statements) {
      const roots = rootsOf(statement);
      visitExpressions(roots, (expr) => {
        if (expr.kind !== "load" || expr.buffer !== from) return;
        indices.add(numbers.of(expr.index));
        readsAfterStore ||= stores > 0;
      });
      if (
        (statement.kind === "store" || statement.kind === "accumulate") && statement.buffer === to
      ) {
        stores += statement.kind === "store" ? 1 : 2;
        indices.add(numbers.of(statement.index));
      }
      if (statement.kind === "loop" || statement.kind === "reduce") visit(statement.body);
    }
  };
  visit(body);
  return indices.size === 1 && stores === 1 && !readsAfterStore;
}
