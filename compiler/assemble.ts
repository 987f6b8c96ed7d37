/** From ordered kernels to a program: buffers get lifetimes and places, equal kernels are shared. */
import type { Node } from "../graph/node.ts";
import { bytesPerElement } from "../graph/dtype.ts";
import { staticShape, staticSize } from "../graph/shape.ts";
import { readsOnlyWhereItWrites } from "./in_place.ts";
import { copyKernel } from "./lower/copy_kernel.ts";
import type { LoweredKernel } from "./lower/kernel_builder.ts";
import type { Kernel } from "./loop_ir.ts";
import { alignUp, type BufferLifetime, planArena } from "./memory.ts";
import type { GraphModule } from "./module.ts";
import { printKernel } from "./print_loop_ir.ts";
import type {
  LiveValue,
  Program,
  ProgramBuffer,
  ProgramConstant,
  ProgramPort,
  ProgramStep,
} from "./program.ts";
import { recomputedIn } from "./recomputed.ts";
import type { RuleReport } from "./report.ts";

/** A step under construction. */
interface DraftStep {
  readonly kernel: Kernel;
  readonly bindings: readonly Slot[];
  readonly nodes: readonly Node[];
}

/** Memory for one or more buffers that follow each other in place. */
interface Slot {
  readonly name: string;
  readonly dtype: Node["dtype"];
  readonly elements: number;
  first: number;
  last: number;
  /** Where the slot's memory really is, when it is another's. */
  sharedWith: Slot | undefined;
}

const IN_PLACE = "write_in_place";

const ALWAYS = Number.MAX_SAFE_INTEGER;

/** How a program is assembled. */
export interface AssembleOptions {
  /** Bytes that every buffer's place is a multiple of. */
  readonly alignment: number;
  readonly rules: RuleReport;
}

/**
 * The program that runs the kernels in order.
 *
 * @param overwrites For each donated output node, the input node whose memory it takes.
 */
export function assembleProgram(
  module: GraphModule,
  kernels: readonly LoweredKernel[],
  overwrites: ReadonlyMap<Node, Node>,
  options: AssembleOptions,
): Program {
  return new Assembler(module, kernels, overwrites, options).assemble();
}

class Assembler {
  readonly #module: GraphModule;
  readonly #kernels: readonly LoweredKernel[];
  readonly #overwrites: ReadonlyMap<Node, Node>;
  readonly #alignment: number;
  readonly #rules: RuleReport;
  readonly #slots = new Map<Node, Slot>();
  readonly #constants = new Map<Node, Slot>();
  /** Donated outputs that could not be written in place, with where they belong. */
  readonly #copyBack: { from: Slot; to: Slot; node: Node }[] = [];

  constructor(
    module: GraphModule,
    kernels: readonly LoweredKernel[],
    overwrites: ReadonlyMap<Node, Node>,
    { alignment, rules }: AssembleOptions,
  ) {
    this.#module = module;
    this.#kernels = kernels;
    this.#overwrites = overwrites;
    this.#alignment = alignment;
    this.#rules = rules;
  }

  assemble(): Program {
    for (const node of this.#module.inputs.values()) {
      this.#slots.set(node, slotFor(node, -1, ALWAYS));
    }
    this.#kernels.forEach((kernel, step) => this.#live(kernel, step));
    for (const node of this.#module.outputs.values()) {
      const slot = this.#slots.get(node) ?? this.#emptySlot(node);
      slot.last = ALWAYS;
    }
    this.#shareInPlace();
    const steps = [...this.#drafts(), ...this.#copySteps()];
    return this.#place(steps);
  }

  /** What holds memory at a step, under the name of what was last written there. */
  #liveAt(step: number): LiveValue[] {
    const holders = new Map<Slot, LiveValue & { first: number }>();
    for (const [node, slot] of this.#slots) {
      const home = resolve(slot);
      const isAlive = home.first <= step && home.last >= step && slot.first <= step;
      if (!isAlive || slot.first < (holders.get(home)?.first ?? -1)) continue;
      const bytes = alignUp(bytesIn(slot), this.#alignment);
      holders.set(home, { name: slot.name, bytes, scope: node.scope, first: slot.first });
    }
    return [...holders.values()].filter(({ bytes }) => bytes > 0)
      .sort((a, b) => b.bytes - a.bytes)
      .map(({ name, bytes, scope }) => ({ name, bytes, scope }));
  }

  #emptySlot(node: Node): Slot {
    const slot = slotFor(node, 0, 0);
    this.#slots.set(node, slot);
    return slot;
  }

  #live(kernel: LoweredKernel, step: number): void {
    for (const node of kernel.bindings) {
      let slot = this.#slots.get(node);
      if (slot === undefined) {
        const isConstant = node.op.name === "constant" && !kernel.writes.includes(node);
        slot = isConstant ? slotFor(node, -1, ALWAYS) : slotFor(node, step, step);
        this.#slots.set(node, slot);
        if (isConstant) this.#constants.set(node, slot);
      }
      if (slot.last !== ALWAYS) slot.last = Math.max(slot.last, step);
    }
  }

  #shareInPlace(): void {
    const donated = new Set<Node>();
    for (const [output, input] of this.#overwrites) {
      donated.add(output);
      this.#donate(output, input);
    }
    if (!this.#rules.isOn(IN_PLACE)) return;
    this.#kernels.forEach((kernel, step) => {
      for (const written of kernel.writes) {
        if (!donated.has(written)) this.#reuseDying(kernel, written, step);
      }
    });
  }

  #donate(output: Node, input: Node): void {
    const from = this.#slots.get(output);
    const to = this.#slots.get(input);
    if (from === undefined || to === undefined || from === to) return;
    const step = this.#kernels.findIndex((kernel) => kernel.writes.includes(output));
    const kernel = this.#kernels[step];
    const readLater = this.#kernels.some((other, at) =>
      at > step && other.bindings.includes(input)
    );
    const inPlace = this.#rules.isOn(IN_PLACE) && kernel !== undefined && !readLater &&
      (!kernel.bindings.includes(input) || readsOnlyWhereItWrites(kernel, input, output));
    if (inPlace && from.sharedWith === undefined) {
      from.sharedWith = to;
      this.#rules.applied(IN_PLACE, output, "updates a donated input", 2 * bytesIn(to));
      return;
    }
    this.#copyBack.push({ from, to, node: output });
    if (!this.#rules.isOn(IN_PLACE)) return;
    const reason = readLater
      ? "another kernel reads it after"
      : inPlace
      ? "it is in another's memory already"
      : "its kernel reads it at other places than it writes";
    this.#rules.refused(IN_PLACE, output, `${to.name} is copied to at the end: ${reason}`);
  }

  /** Gives a result the memory of an operand that nothing needs any more. */
  #reuseDying(kernel: LoweredKernel, written: Node, step: number): void {
    const slot = this.#slots.get(written);
    if (slot === undefined || slot.sharedWith !== undefined) return;
    for (const read of kernel.bindings) {
      if (kernel.writes.includes(read)) continue;
      const candidate = this.#slots.get(read);
      if (candidate === undefined) continue;
      const home = resolve(candidate);
      if (home === slot || home.last !== step || home.elements !== slot.elements) continue;
      if (bytesPerElement(home.dtype) !== bytesPerElement(slot.dtype)) continue;
      if (!readsOnlyWhereItWrites(kernel, read, written)) continue;
      slot.sharedWith = home;
      home.last = slot.last;
      this.#rules.applied(IN_PLACE, written, `takes over the memory of ${candidate.name}`);
      return;
    }
  }

  #drafts(): DraftStep[] {
    return this.#kernels.map((lowered) => ({
      kernel: lowered.kernel,
      bindings: lowered.bindings.map((node) => {
        const slot = this.#slots.get(node);
        if (slot === undefined) throw new TypeError(`${node} has no buffer`);
        return slot;
      }),
      nodes: lowered.nodes,
    }));
  }

  /** Results that belong in a donated input's place, but had to wait until it was read. */
  #copySteps(): DraftStep[] {
    return this.#copyBack.map(({ from, to, node }) => {
      from.last = ALWAYS;
      return {
        kernel: copyKernel(from.dtype, from.elements),
        bindings: [from, to],
        nodes: [node],
      };
    });
  }

  #reportShared(kernels: readonly Kernel[], steps: readonly ProgramStep[]): void {
    const runs = kernels.map(() => 0);
    for (const { kernel } of steps) runs[kernel] = (runs[kernel] ?? 0) + 1;
    const seen = new Set<number>();
    for (const { kernel, nodes } of steps) {
      const [count = 0, node] = [runs[kernel], nodes[0]];
      if (seen.has(kernel) || count < 2 || node === undefined) continue;
      seen.add(kernel);
      this.#rules.applied("share_kernels", node, `${count} steps run ${kernels[kernel]?.name}`);
    }
  }

  #place(steps: readonly DraftStep[]): Program {
    const homes = [...new Set([...this.#slots.values()].map(resolve))];
    const lastStep = steps.length;
    const plan = planArena(homes.map((slot) => lifetime(slot, lastStep)), this.#alignment);
    const offsets = new Map(homes.map((slot, at) => [slot, plan.offsets[at] ?? 0]));
    const numbers = new Map<Slot, number>();
    const buffers: ProgramBuffer[] = [];
    const numberOf = (slot: Slot): number => {
      const home = resolve(slot);
      const known = numbers.get(slot);
      if (known !== undefined) return known;
      const number = buffers.length;
      numbers.set(slot, number);
      buffers.push({
        name: slot.name,
        dtype: slot.dtype,
        elements: slot.elements,
        offset: offsets.get(home) ?? 0,
        bytes: bytesIn(slot),
      });
      return number;
    };
    const kernels: Kernel[] = [];
    const kernelNumbers = new Map<string, number>();
    const programSteps = steps.map((step): ProgramStep => {
      const text = printKernel(step.kernel);
      let kernel = this.#rules.isOn("share_kernels") ? kernelNumbers.get(text) : undefined;
      if (kernel === undefined) {
        kernel = kernels.length;
        kernelNumbers.set(text, kernel);
        kernels.push(step.kernel);
      }
      const member = { buffers: step.bindings.map(numberOf), sizes: [] };
      return { kernel, members: [member], nodes: step.nodes };
    });
    this.#reportShared(kernels, programSteps);
    const port = ([path, node]: [string, Node]): ProgramPort => {
      const target = this.#overwrites.get(node) ?? node;
      const slot = this.#slots.get(target);
      if (slot === undefined) throw new TypeError(`${node} has no buffer`);
      return { path, dtype: node.dtype, shape: staticShape(node.shape), buffer: numberOf(slot) };
    };
    return {
      kernels,
      steps: programSteps,
      inputs: [...this.#module.inputs].map(port),
      outputs: [...this.#module.outputs].map(port),
      constants: [...this.#constants].map(([node, slot]): ProgramConstant => ({
        buffer: numberOf(slot),
        data: constantData(node),
      })),
      buffers,
      arenaBytes: Math.max(plan.arenaBytes, this.#alignment),
      lowerBoundBytes: plan.lowerBoundBytes,
      peak: this.#liveAt(plan.peakStep),
      recomputed: recomputedIn(this.#module),
    };
  }
}

function slotFor(node: Node, first: number, last: number): Slot {
  return {
    name: node.label ?? node.op.name,
    dtype: node.dtype,
    elements: staticSize(staticShape(node.shape)),
    first,
    last,
    sharedWith: undefined,
  };
}

function bytesIn(slot: Slot): number {
  return slot.elements * bytesPerElement(slot.dtype);
}

function resolve(slot: Slot): Slot {
  let home = slot;
  while (home.sharedWith !== undefined) home = home.sharedWith;
  return home;
}

function lifetime(slot: Slot, lastStep: number): BufferLifetime {
  return {
    bytes: bytesIn(slot),
    firstStep: slot.first,
    lastStep: Math.min(slot.last, lastStep),
  };
}

function constantData(node: Node): ProgramConstant["data"] {
  const data = node.attrs["data"];
  if (
    data instanceof Float32Array || data instanceof Int32Array || data instanceof Uint32Array ||
    data instanceof Uint8Array
  ) return data;
  throw new TypeError(`${node} holds no numbers`);
}
