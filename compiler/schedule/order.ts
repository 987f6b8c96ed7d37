/** The order in which kernels run. */
import type { Node } from "../../graph/node.ts";
import type { LoweredKernel } from "../lower/kernel_builder.ts";

/**
 * Orders kernels so that each comes after those whose results it reads, in the graph's own order
 * where there is a choice. A kernel that overwrites a donated input comes after all other readers
 * of that input, unless they need its result.
 *
 * @param overwrites For each donated output node, the input node whose memory it takes.
 */
export function orderKernels(
  kernels: readonly LoweredKernel[],
  position: ReadonlyMap<Node, number>,
  overwrites: ReadonlyMap<Node, Node>,
): LoweredKernel[] {
  const writer = new Map<Node, number>();
  kernels.forEach((kernel, at) => kernel.writes.forEach((node) => writer.set(node, at)));
  const needs = kernels.map((kernel, at) => {
    const before = new Set<number>();
    for (const node of kernel.bindings) {
      const from = writer.get(node);
      if (from !== undefined && from !== at) before.add(from);
    }
    return before;
  });
  addOverwriteEdges(kernels, needs, writer, overwrites);
  const priority = kernels.map((kernel) =>
    Math.max(...kernel.writes.map((node) => position.get(node) ?? 0))
  );
  return topological(needs, priority).map((at) => {
    const kernel = kernels[at];
    if (kernel === undefined) throw new RangeError(`No kernel ${at}`);
    return kernel;
  });
}

function addOverwriteEdges(
  kernels: readonly LoweredKernel[],
  needs: readonly Set<number>[],
  writer: ReadonlyMap<Node, number>,
  overwrites: ReadonlyMap<Node, Node>,
): void {
  const readers = new Map<Node, number[]>();
  kernels.forEach((kernel, at) => {
    for (const node of kernel.bindings) {
      if (!kernel.writes.includes(node)) readers.set(node, [...(readers.get(node) ?? []), at]);
    }
  });
  for (const [output, input] of overwrites) {
    const last = writer.get(output);
    if (last === undefined) continue;
    for (const reader of readers.get(input) ?? []) {
      if (reader !== last && !reaches(needs, reader, last)) needs[last]?.add(reader);
    }
  }
}

/** Whether kernel `from` needs kernel `to`, directly or not. */
function reaches(needs: readonly Set<number>[], from: number, to: number): boolean {
  const seen = new Set<number>();
  const stack = [from];
  for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
    if (at === to) return true;
    if (seen.has(at)) continue;
    seen.add(at);
    stack.push(...needs[at] ?? []);
  }
  return false;
}

function topological(needs: readonly Set<number>[], priority: readonly number[]): number[] {
  const users = needs.map(() => [] as number[]);
  const waiting = needs.map((before) => before.size);
  needs.forEach((before, at) => before.forEach((from) => users[from]?.push(at)));
  const ready = new PriorityList(priority);
  waiting.forEach((count, at) => {
    if (count === 0) ready.add(at);
  });
  const order: number[] = [];
  for (let at = ready.take(); at !== undefined; at = ready.take()) {
    order.push(at);
    for (const user of users[at] ?? []) {
      const left = (waiting[user] ?? 0) - 1;
      waiting[user] = left;
      if (left === 0) ready.add(user);
    }
  }
  if (order.length !== needs.length) throw new TypeError("The kernels need each other in a circle");
  return order;
}

/** Hands out the member with the lowest priority number first. */
class PriorityList {
  readonly #priority: readonly number[];
  readonly #members: number[] = [];

  constructor(priority: readonly number[]) {
    this.#priority = priority;
  }

  add(member: number): void {
    const key = this.#priority[member] ?? 0;
    let low = 0;
    let high = this.#members.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#priority[this.#members[middle] ?? 0] ?? 0) > key) low = middle + 1;
      else high = middle;
    }
    this.#members.splice(low, 0, member);
  }

  take(): number | undefined {
    return this.#members.pop();
  }
}
