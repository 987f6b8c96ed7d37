/** The order in which kernels run. */
import type { Node } from "../../graph/node.ts";
import type { LoweredKernel } from "../lower/kernel_builder.ts";
import { accessOf, awaitedBy, bytesOf, valueOperands } from "./access.ts";

/**
 * Orders kernels so that each comes after those whose results it reads and, where there is a choice,
 * so that little memory is alive. A kernel that overwrites a donated input comes after all other
 * readers of that input, unless they need its result.
 *
 * @param overwrites For each donated output node, the input node whose memory it takes.
 * @param pinned Nodes that stay in memory until the end whatever happens.
 */
export function orderKernels(
  kernels: readonly LoweredKernel[],
  position: ReadonlyMap<Node, number>,
  overwrites: ReadonlyMap<Node, Node>,
  pinned: ReadonlySet<Node>,
): LoweredKernel[] {
  const writer = new Map<Node, number>();
  kernels.forEach((kernel, at) => kernel.writes.forEach((node) => writer.set(node, at)));
  const needs = kernels.map((kernel, at) => {
    const before = new Set<number>();
    for (const node of [...kernel.bindings, ...kernel.awaits ?? []]) {
      const from = writer.get(node);
      if (from !== undefined && from !== at) before.add(from);
    }
    return before;
  });
  const users = needs.map(() => [] as number[]);
  needs.forEach((before, at) => before.forEach((from) => users[from]?.push(at)));
  addOverwriteEdges(kernels, needs, users, writer, overwrites);
  const priority = kernels.map((kernel) =>
    Math.max(...kernel.writes.map((node) => position.get(node) ?? 0))
  );
  const order = topological(needs, users, priority, new LiveMemory(kernels, writer, pinned));
  return order.map((at) => kernelAt(kernels, at));
}

/** The kernels, each with the others' results for which the recomputations in it wait. */
export function withAwaited(kernels: readonly LoweredKernel[]): LoweredKernel[] {
  const written = new Set(kernels.flatMap((kernel) => kernel.writes));
  return kernels.map((kernel) => {
    const awaited = awaitedIn(kernel, written);
    return awaited.size === 0 ? kernel : { ...kernel, awaits: [...awaited] };
  });
}

function awaitedIn(kernel: LoweredKernel, written: ReadonlySet<Node>): Set<Node> {
  const awaited = new Set<Node>();
  const computed = new Set(kernel.writes);
  const read = new Set(kernel.bindings.filter((node) => !kernel.writes.includes(node)));
  // The loop goes on over what it adds.
  for (const node of computed) {
    for (const operand of [node, ...valueOperands(node)]) {
      for (const other of awaitedBy(operand, (before) => written.has(before))) awaited.add(other);
      const { producer } = accessOf(operand);
      if (!read.has(producer)) computed.add(producer);
    }
  }
  for (const node of kernel.writes) awaited.delete(node);
  return awaited;
}

function kernelAt(kernels: readonly LoweredKernel[], at: number): LoweredKernel {
  const kernel = kernels[at];
  if (kernel === undefined) throw new RangeError(`No kernel ${at}`);
  return kernel;
}

/** Which results are alive, to tell how much memory a kernel would free or take next. */
class LiveMemory {
  readonly #kernels: readonly LoweredKernel[];
  /** Readers that have not run yet, of each result that is freed after its last. */
  readonly #readersLeft = new Map<Node, Set<number>>();
  /** What running each kernel next would add, as of when the last reader but one of its operands ran. */
  readonly #growth: number[];

  constructor(
    kernels: readonly LoweredKernel[],
    writer: ReadonlyMap<Node, number>,
    pinned: ReadonlySet<Node>,
  ) {
    this.#kernels = kernels;
    kernels.forEach((kernel, at) => {
      for (const node of kernel.bindings) {
        if (pinned.has(node) || !writer.has(node) || writer.get(node) === at) continue;
        const readers = this.#readersLeft.get(node);
        if (readers === undefined) this.#readersLeft.set(node, new Set([at]));
        else readers.add(at);
      }
    });
    this.#growth = kernels.map((_, at) => this.#growthOf(at));
  }

  /** Bytes that running the kernel next would add; negative when it frees more than it takes. */
  growth(at: number): number {
    return this.#growth[at] ?? 0;
  }

  ran(at: number): void {
    for (const node of kernelAt(this.#kernels, at).bindings) {
      const readers = this.#readersLeft.get(node);
      if (readers?.delete(at) !== true || readers.size !== 1) continue;
      for (const last of readers) this.#growth[last] = this.#growthOf(last);
    }
  }

  #growthOf(at: number): number {
    const { bindings, writes } = kernelAt(this.#kernels, at);
    let bytes = 0;
    for (const node of bindings) {
      if (writes.includes(node)) bytes += bytesOf(node);
      else if (this.#readersLeft.get(node)?.size === 1) bytes -= bytesOf(node);
    }
    return bytes;
  }
}

function addOverwriteEdges(
  kernels: readonly LoweredKernel[],
  needs: readonly Set<number>[],
  users: readonly number[][],
  writer: ReadonlyMap<Node, number>,
  overwrites: ReadonlyMap<Node, Node>,
): void {
  const inputs = new Set(overwrites.values());
  const readers = new Map<Node, number[]>();
  kernels.forEach((kernel, at) => {
    for (const node of kernel.bindings) {
      if (!inputs.has(node) || kernel.writes.includes(node)) continue;
      readers.set(node, [...(readers.get(node) ?? []), at]);
    }
  });
  for (const [output, input] of overwrites) {
    const last = writer.get(output);
    if (last === undefined) continue;
    for (const reader of readers.get(input) ?? []) {
      const before = needs[last];
      if (reader === last || before?.has(reader) !== false || leadsTo(users, last, reader)) {
        continue;
      }
      before.add(reader);
      users[reader]?.push(last);
    }
  }
}

/** Whether kernel `to` needs kernel `from`, directly or not. Few need one that overwrites. */
function leadsTo(users: readonly number[][], from: number, to: number): boolean {
  const seen = new Set<number>();
  const stack = [from];
  for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
    if (at === to) return true;
    if (seen.has(at)) continue;
    seen.add(at);
    stack.push(...users[at] ?? []);
  }
  return false;
}

/** Of the kernels that are ready, the one that takes the least memory runs next. */
function topological(
  needs: readonly Set<number>[],
  users: readonly number[][],
  priority: readonly number[],
  memory: LiveMemory,
): number[] {
  const waiting = needs.map((before) => before.size);
  const ready = new Set<number>();
  waiting.forEach((count, at) => {
    if (count === 0) ready.add(at);
  });
  const order: number[] = [];
  while (ready.size > 0) {
    const at = best(ready, priority, memory);
    ready.delete(at);
    order.push(at);
    memory.ran(at);
    for (const user of users[at] ?? []) {
      const left = (waiting[user] ?? 0) - 1;
      waiting[user] = left;
      if (left === 0) ready.add(user);
    }
  }
  if (order.length !== needs.length) throw new TypeError("The kernels need each other in a circle");
  return order;
}

function best(
  ready: ReadonlySet<number>,
  priority: readonly number[],
  memory: LiveMemory,
): number {
  let chosen = -1;
  let least = Infinity;
  for (const at of ready) {
    const growth = memory.growth(at);
    const first = growth < least ||
      (growth === least && (priority[at] ?? 0) < (priority[chosen] ?? Infinity));
    if (!first) continue;
    chosen = at;
    least = growth;
  }
  return chosen;
}
