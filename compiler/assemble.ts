/** From ordered steps to a program: buffers get places, equal kernels are shared. */
import type { Node } from "../graph/node.ts";
import { staticShape } from "../graph/shape.ts";
import { copyKernel } from "./lower/copy_kernel.ts";
import type { Kernel } from "./loop_ir.ts";
import { homeOf, MemorySlots, type Slot, slotBytes } from "./memory_slots.ts";
import type { GraphModule } from "./module.ts";
import { printKernel } from "./print_loop_ir.ts";
import type {
  Program,
  ProgramBuffer,
  ProgramConstant,
  ProgramPort,
  ProgramStep,
  StepMember,
} from "./program.ts";
import { recomputedIn } from "./recomputed.ts";
import type { RuleReport } from "./report.ts";
import type { LoweredStep } from "./steps.ts";

/** How a program is assembled. */
export interface AssembleOptions {
  /** Bytes that every buffer's place is a multiple of. */
  readonly alignment: number;
  readonly rules: RuleReport;
}

/**
 * The program that runs the steps in order.
 *
 * @param overwrites For each donated output node, the input node whose memory it takes.
 */
export function assembleProgram(
  module: GraphModule,
  steps: readonly LoweredStep[],
  overwrites: ReadonlyMap<Node, Node>,
  { alignment, rules }: AssembleOptions,
): Program {
  const slots = new MemorySlots(module, steps, overwrites, rules);
  const { offsets, plan } = slots.place(alignment);
  const buffers = new Buffers(offsets);
  const kernels = new Kernels(rules);
  const programSteps = [
    ...steps.map(({ kernel, members }): ProgramStep => ({
      kernel: kernels.number(kernel),
      members: members.map(({ lowered, sizes }): StepMember => ({
        buffers: lowered.bindings.map((node) => buffers.number(slots.of(node))),
        sizes,
      })),
      nodes: members.flatMap(({ lowered }) => lowered.nodes),
    })),
    ...slots.copyBack.map(({ from, to, node }): ProgramStep => ({
      kernel: kernels.number(copyKernel(from.dtype, from.elements)),
      members: [{ buffers: [buffers.number(from), buffers.number(to)], sizes: [] }],
      nodes: [node],
    })),
  ];
  reportShared(kernels.all, programSteps, rules);
  const port = ([path, node]: [string, Node]): ProgramPort => {
    const slot = slots.of(overwrites.get(node) ?? node);
    const shape = staticShape(node.shape);
    return { path, dtype: node.dtype, shape, buffer: buffers.number(slot) };
  };
  return {
    kernels: kernels.all,
    steps: programSteps,
    inputs: [...module.inputs].map(port),
    outputs: [...module.outputs].map(port),
    constants: [...slots.constants].map(([node, slot]): ProgramConstant => ({
      buffer: buffers.number(slot),
      data: constantData(node),
    })),
    buffers: buffers.all,
    arenaBytes: Math.max(plan.arenaBytes, alignment),
    lowerBoundBytes: plan.lowerBoundBytes,
    peak: slots.liveAt(plan.peakStep, alignment),
    recomputed: recomputedIn(module),
  };
}

/** Numbers slots as a program's buffers. */
class Buffers {
  readonly all: ProgramBuffer[] = [];
  readonly #offsets: ReadonlyMap<Slot, number>;
  readonly #numbers = new Map<Slot, number>();

  constructor(offsets: ReadonlyMap<Slot, number>) {
    this.#offsets = offsets;
  }

  number(slot: Slot): number {
    const known = this.#numbers.get(slot);
    if (known !== undefined) return known;
    const number = this.all.length;
    this.#numbers.set(slot, number);
    this.all.push({
      name: slot.name,
      dtype: slot.dtype,
      elements: slot.elements,
      offset: this.#offsets.get(homeOf(slot)) ?? 0,
      bytes: slotBytes(slot),
    });
    return number;
  }
}

/** Numbers kernels; those that do the same get one number. */
class Kernels {
  readonly all: Kernel[] = [];
  readonly #rules: RuleReport;
  readonly #numbers = new Map<string, number>();

  constructor(rules: RuleReport) {
    this.#rules = rules;
  }

  number(kernel: Kernel): number {
    const text = printKernel(kernel);
    const known = this.#rules.isOn("share_kernels") ? this.#numbers.get(text) : undefined;
    if (known !== undefined) return known;
    const number = this.all.length;
    this.#numbers.set(text, number);
    this.all.push(kernel);
    return number;
  }
}

function reportShared(
  kernels: readonly Kernel[],
  steps: readonly ProgramStep[],
  rules: RuleReport,
): void {
  const runs = kernels.map(() => 0);
  for (const { kernel } of steps) runs[kernel] = (runs[kernel] ?? 0) + 1;
  const seen = new Set<number>();
  for (const { kernel, nodes } of steps) {
    const [count = 0, node] = [runs[kernel], nodes[0]];
    if (seen.has(kernel) || count < 2 || node === undefined) continue;
    seen.add(kernel);
    rules.applied("share_kernels", node, `${count} steps run ${kernels[kernel]?.name}`);
  }
}

function constantData(node: Node): ProgramConstant["data"] {
  const data = node.attrs["data"];
  if (
    data instanceof Float32Array || data instanceof Int32Array || data instanceof Uint32Array ||
    data instanceof Uint8Array
  ) return data;
  throw new TypeError(`${node} holds no numbers`);
}
