/** Kernels without private scratch: what a pass kept for a later one is computed again there. */
import type { KernelBuffer, Statement } from "../../../compiler/loop_ir.ts";
import {
  ExpressionNumbers,
  mapStatements,
  sharedRewrite,
  withParts,
} from "../../../compiler/lower/expressions.ts";
import type { PlainLoopKernel } from "../../../compiler/sizes.ts";

type Store = Statement & { readonly kind: "store" };

/**
 * The same kernel in which each load of a scratch buffer has become the value that was stored there.
 * Recomputing it costs a GPU less than the memory to keep it in.
 *
 * @throws {TypeError} When a load is at another place than the one store of its buffer.
 */
export function inlineScratch(kernel: PlainLoopKernel): PlainLoopKernel {
  const isScratch = ({ access }: KernelBuffer) => access === "scratch";
  if (!kernel.buffers.some(isScratch)) return kernel;
  const stores = new Map<number, Store>();
  collectStores(kernel.body, (store) => {
    const buffer = kernel.buffers[store.buffer];
    if (buffer === undefined || !isScratch(buffer)) return;
    if (stores.has(store.buffer)) {
      throw new TypeError(`Kernel ${kernel.name} stores ${buffer.name} twice: wanted once`);
    }
    stores.set(store.buffer, store);
  });
  const numbers = new ExpressionNumbers();
  const expr = sharedRewrite((before, recur) => {
    const buffer = before.kind === "load" ? kernel.buffers[before.buffer] : undefined;
    if (before.kind !== "load" || buffer === undefined || !isScratch(buffer)) {
      return withParts(before, recur);
    }
    const store = stores.get(before.buffer);
    if (store === undefined || numbers.of(store.index) !== numbers.of(before.index)) {
      throw new TypeError(
        `Kernel ${kernel.name} loads ${buffer.name} at another place than it stores it at`,
      );
    }
    return recur(store.value);
  });
  return { ...kernel, body: mapStatements(withoutStores(kernel.body, stores), { expr }) };
}

function withoutStores(
  body: readonly Statement[],
  dropped: ReadonlyMap<number, Store>,
): Statement[] {
  return body
    .filter((statement) => statement.kind !== "store" || !dropped.has(statement.buffer))
    .map((statement) =>
      statement.kind === "loop" || statement.kind === "reduce"
        ? { ...statement, body: withoutStores(statement.body, dropped) }
        : statement
    );
}

function collectStores(body: readonly Statement[], each: (store: Store) => void): void {
  for (const statement of body) {
    if (statement.kind === "store") each(statement);
    if (statement.kind === "loop" || statement.kind === "reduce") {
      collectStores(statement.body, each);
    }
  }
}
