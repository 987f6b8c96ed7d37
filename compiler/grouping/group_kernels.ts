/**
 * Kernels that are the same but for numbers and do not depend on each other become members of one
 * step: the updates of all parameters that decay, those of all that do not, the sums for a norm of all
 * gradients, the gradients of all biases of one form.
 *
 * To run together, most of them have to wait, and what they read has to be kept. So they wait only
 * while the program's memory is hardly larger than without.
 */
import type { Node } from "../../graph/node.ts";
import type { LoweredKernel } from "../lower/kernel_builder.ts";
import { homeOf, MemorySlots, type Slot } from "../memory_slots.ts";
import type { OwnedOutputs } from "../outputs.ts";
import type { RuleReport } from "../report.ts";
import { withSizes } from "../sizes.ts";
import { type LoweredMember, type LoweredStep, singleStep } from "../steps.ts";
import {
  type Batch,
  batchKernels,
  type MemoryBudget,
  type WaitEnd,
  type WaitingKernel,
} from "./pending.ts";
import { blockedForm } from "./blocked_form.ts";
import { formOf, shareForm } from "./same_form.ts";

/** The rule's name in explanations. */
const GROUP_KERNELS = "group_independent_kernels";

/** How kernels are grouped. */
export interface GroupingOptions {
  /** Bytes that every buffer's place is a multiple of. */
  readonly alignment: number;
  readonly rules: RuleReport;
  /** The most bytes that the arena may take. */
  readonly memoryLimit: number;
}

/** Bytes by which grouping may make the arena larger: of no concern on any device. */
const SLACK = 1 << 20;

/**
 * The steps that run the kernels, whose order is right.
 *
 * @param graph What they compute.
 */
export function groupKernels(
  kernels: readonly LoweredKernel[],
  graph: OwnedOutputs,
  options: GroupingOptions,
): LoweredStep[] {
  const single = kernels.map(singleStep);
  const { rules, alignment, memoryLimit } = options;
  const forms = rules.isOn(GROUP_KERNELS) ? commonForms(kernels) : [];
  if (!forms.some((form) => form !== undefined)) return single;
  // Only the slots of the final steps are to report which of them are shared.
  const slotsOf = (steps: readonly LoweredStep[]) =>
    new MemorySlots(graph.module, steps, graph.overwrites, rules.copy());
  const slots = slotsOf(single);
  const waiting = waitingKernels(kernels, forms, slots);
  const before = slots.place(alignment).plan.arenaBytes;
  const most = Math.max(before, Math.min(before + SLACK, memoryLimit));
  const report = new GroupReport(kernels, forms, rules);
  let after = before;
  for (const share of MEMORY_SHARES) {
    const { batches, ends } = batchesOf(waiting, alignment, (peak) => share * peak + most - before);
    const grouped = stepsOf(kernels, forms, batches);
    const isGrouped = grouped.length < kernels.length;
    if (isGrouped) after = slotsOf(grouped).place(alignment).plan.arenaBytes;
    if (isGrouped && after > most) continue;
    report.applied(batches);
    report.refused(ends);
    return grouped;
  }
  report.refusedForMemory(most, after);
  return single;
}

/**
 * How much of the memory that is alive at most without grouping may be alive beside the slack: less, where
 * what is alive cannot be placed as tightly as before.
 */
const MEMORY_SHARES = [1, 0.97, 0.9, 0.75];

/** For each kernel its form, where another kernel has that, too. */
function commonForms(kernels: readonly LoweredKernel[]): (string | undefined)[] {
  const counts = new Map<string, number>();
  const forms = kernels.map(({ kernel }) => {
    if (kernel.kind !== "loops") return undefined;
    const plain = withSizes(kernel, []);
    const form = formOf(blockedForm(plain) ?? plain);
    counts.set(form, (counts.get(form) ?? 0) + 1);
    return form;
  });
  return forms.map((form) => (counts.get(form ?? "") ?? 0) > 1 ? form : undefined);
}

function waitingKernels(
  kernels: readonly LoweredKernel[],
  forms: readonly (string | undefined)[],
  slots: MemorySlots,
): WaitingKernel[] {
  const homes = (nodes: readonly Node[]): Set<Slot> =>
    new Set(nodes.map((node) => homeOf(slots.of(node))));
  return kernels.map(({ bindings, writes, awaits = [] }, at) => ({
    touches: homes(bindings),
    writes: homes(writes),
    awaits: homes(awaits),
    form: forms[at],
  }));
}

/** Why kernels that ended up in batches of their own or of too few did not wait any longer. */
type Ends = ReadonlyMap<number, WaitEnd>;

/** How often kernels that found no other are left where they were, and the rest tried again. */
const TRIES = 4;

/** Batches in which, as far as that is found, no kernel has waited in vain. */
function batchesOf(
  kernels: readonly WaitingKernel[],
  alignment: number,
  budget: MemoryBudget,
): { batches: readonly Batch[]; ends: Ends } {
  const ends = new Map<number, WaitEnd>();
  let candidates = kernels;
  for (let tries = 1;; tries++) {
    const batches = batchKernels(candidates, alignment, budget);
    const lonely = new Set<number>();
    for (const { kernels: [first = -1, ...others], end } of batches) {
      if (end === undefined) continue;
      ends.set(first, end);
      if (others.length === 0) lonely.add(first);
    }
    if (lonely.size === 0 || tries === TRIES) return { batches, ends };
    candidates = candidates.map((kernel, at) =>
      lonely.has(at) ? { ...kernel, form: undefined } : kernel
    );
  }
}

function stepsOf(
  kernels: readonly LoweredKernel[],
  forms: readonly (string | undefined)[],
  batches: readonly Batch[],
): LoweredStep[] {
  const lowered = (at: number): LoweredKernel => {
    const kernel = kernels[at];
    if (kernel === undefined) throw new RangeError(`There is no kernel ${at}`);
    return kernel;
  };
  const grouped = new Map<string, number[]>();
  for (const { kernels: [first = -1, ...others] } of batches) {
    const form = forms[first];
    if (form === undefined || others.length === 0) continue;
    grouped.set(form, [...grouped.get(form) ?? [], first, ...others]);
  }
  const shared = new Map<number, LoweredStep>();
  for (const members of grouped.values()) {
    for (const [at, step] of sharedSteps(members, lowered)) shared.set(at, step);
  }
  return batches.map(({ kernels: [first = -1, ...others] }): LoweredStep => {
    const step = shared.get(first);
    if (step === undefined || others.length === 0) return singleStep(lowered(first));
    const rest = others.flatMap((at): readonly LoweredMember[] => shared.get(at)?.members ?? []);
    return { kernel: step.kernel, members: [...step.members, ...rest] };
  });
}

/** For each of the kernels, which are of one form, its step alone: all with the same kernel. */
function sharedSteps(
  members: readonly number[],
  lowered: (at: number) => LoweredKernel,
): [number, LoweredStep][] {
  const plain = members.map((at) => {
    const { kernel } = lowered(at);
    if (kernel.kind !== "loops") throw new TypeError(`${kernel.name} is not made of loops`);
    return withSizes(kernel, []);
  });
  const isOneForm = new Set(plain.map(formOf)).size === 1;
  const { kernel, sizes } = shareForm(
    isOneForm ? plain : plain.map((member) => blockedForm(member) ?? member),
  );
  return members.map((at, member) => [at, {
    kernel,
    members: [{ lowered: lowered(at), sizes: sizes[member] ?? [] }],
  }]);
}

/** Says what was grouped and what was not. */
class GroupReport {
  readonly #kernels: readonly LoweredKernel[];
  readonly #forms: readonly (string | undefined)[];
  readonly #rules: RuleReport;

  constructor(
    kernels: readonly LoweredKernel[],
    forms: readonly (string | undefined)[],
    rules: RuleReport,
  ) {
    this.#kernels = kernels;
    this.#forms = forms;
    this.#rules = rules;
  }

  applied(batches: readonly Batch[]): void {
    for (const { kernels: [first = -1, ...others] } of batches) {
      const node = this.#kernels[first]?.nodes[0];
      if (node === undefined || others.length === 0) continue;
      this.#rules.applied(
        GROUP_KERNELS,
        node,
        `${others.length + 1} kernels of its form are one step`,
      );
    }
  }

  /** One note a form whose kernels are several steps. */
  refused(ends: Ends): void {
    for (const [form, members] of this.#members()) {
      const reasons = members.flatMap((at) => {
        const end = ends.get(at);
        return end === undefined || end.kind === "end" ? [] : [this.#reason(end)];
      });
      const [first] = reasons;
      if (first === undefined) continue;
      this.#refuse(
        form,
        `${members.length} kernels of its form are not all one step: ${reasons.length} times, such ` +
          `as because ${first}`,
      );
    }
  }

  refusedForMemory(most: number, after: number): void {
    for (const form of this.#members().keys()) {
      this.#refuse(form, `the program would take ${after} bytes, more than ${most}`);
    }
  }

  #reason(end: WaitEnd): string {
    if (end.kind !== "needed") return "too much memory would be alive";
    return `${this.#kernels[end.by]?.kernel.name} has to run after them`;
  }

  #members(): Map<string, number[]> {
    const members = new Map<string, number[]>();
    this.#forms.forEach((form, at) => {
      if (form !== undefined) members.set(form, [...members.get(form) ?? [], at]);
    });
    return members;
  }

  #refuse(form: string, detail: string): void {
    const node = this.#kernels[this.#forms.indexOf(form)]?.nodes[0];
    if (node !== undefined) this.#rules.refused(GROUP_KERNELS, node, detail);
  }
}
