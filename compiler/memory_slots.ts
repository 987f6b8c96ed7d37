/**
 * What needs memory and when: every value that steps read or write gets a slot with a lifetime, and
 * results take over the slots of what they replace.
 */
import { bytesPerElement } from "../graph/dtype.ts";
import type { Node } from "../graph/node.ts";
import { staticShape, staticSize } from "../graph/shape.ts";
import { readsOnlyWhereItWrites } from "./in_place.ts";
import { type ArenaPlan, planArena } from "./memory.ts";
import type { GraphModule } from "./module.ts";
import { roundUp } from "./multiples.ts";
import type { LiveValue } from "./program.ts";
import type { RuleReport } from "./report.ts";
import type { LoweredMember, LoweredStep } from "./steps.ts";

/** Memory for one or more buffers that follow each other in place. */
export interface Slot {
  readonly name: string;
  readonly dtype: Node["dtype"];
  readonly elements: number;
  /** Steps, both inclusive: from -1, which is before the first, to {@linkcode ALWAYS}. */
  first: number;
  last: number;
  /** Where the slot's memory really is, when it is another's. */
  sharedWith: Slot | undefined;
}

const IN_PLACE = "write_in_place";

/** The last step of what is there after the program as well. */
export const ALWAYS = Number.MAX_SAFE_INTEGER;

/** A result that belongs in a donated input's place, but has to wait until that was read. */
export interface CopyBack {
  readonly from: Slot;
  readonly to: Slot;
  readonly node: Node;
}

/** The slot whose memory it really is. */
export function homeOf(slot: Slot): Slot {
  let home = slot;
  while (home.sharedWith !== undefined) home = home.sharedWith;
  return home;
}

/** Bytes of a slot's numbers. */
export function slotBytes({ elements, dtype }: Slot): number {
  return elements * bytesPerElement(dtype);
}

/** A step that reads a value, and its members that do. */
interface Reads {
  readonly step: number;
  readonly members: Set<LoweredMember>;
}

/** The slots of a program's values. */
export class MemorySlots {
  readonly #module: GraphModule;
  readonly #steps: readonly LoweredStep[];
  readonly #rules: RuleReport;
  readonly #slots = new Map<Node, Slot>();
  readonly #constants = new Map<Node, Slot>();
  readonly #copyBack: CopyBack[] = [];
  /** The step and member that writes each value. */
  readonly #writers = new Map<Node, { readonly step: number; readonly member: LoweredMember }>();

  /**
   * @param steps In the order in which they run.
   * @param overwrites For each donated output node, the input node whose memory it takes.
   */
  constructor(
    module: GraphModule,
    steps: readonly LoweredStep[],
    overwrites: ReadonlyMap<Node, Node>,
    rules: RuleReport,
  ) {
    this.#module = module;
    this.#steps = steps;
    this.#rules = rules;
    for (const node of module.inputs.values()) this.#slots.set(node, slotFor(node, -1, ALWAYS));
    steps.forEach(({ members }, step) => members.forEach((member) => this.#use(member, step)));
    for (const node of module.outputs.values()) {
      const slot = this.#slots.get(node) ?? this.#emptySlot(node);
      slot.last = ALWAYS;
    }
    this.#shareInPlace(overwrites);
  }

  /** The values that are there from the start, beside inputs. */
  get constants(): ReadonlyMap<Node, Slot> {
    return this.#constants;
  }

  /** What is copied at the end. */
  get copyBack(): readonly CopyBack[] {
    return this.#copyBack;
  }

  /** The value's slot. Throws a TypeError where no step and no end of the module has it. */
  of(node: Node): Slot {
    const slot = this.#slots.get(node);
    if (slot === undefined) throw new TypeError(`${node} has no buffer`);
    return slot;
  }

  /** Places all slots in an arena: for each home, its bytes from the arena's start. */
  place(alignment: number): { offsets: ReadonlyMap<Slot, number>; plan: ArenaPlan } {
    const homes = [...new Set([...this.#slots.values()].map(homeOf))];
    const lastStep = this.#steps.length + this.#copyBack.length;
    const plan = planArena(
      homes.map((slot) => ({
        bytes: slotBytes(slot),
        firstStep: slot.first,
        lastStep: Math.min(slot.last, lastStep),
      })),
      alignment,
    );
    return { offsets: new Map(homes.map((slot, at) => [slot, plan.offsets[at] ?? 0])), plan };
  }

  /** What holds memory at a step, under the name of what was last written there. */
  liveAt(step: number, alignment: number): LiveValue[] {
    const holders = new Map<Slot, LiveValue & { first: number }>();
    for (const [node, slot] of this.#slots) {
      const home = homeOf(slot);
      const isAlive = home.first <= step && home.last >= step && slot.first <= step;
      if (!isAlive || slot.first < (holders.get(home)?.first ?? -1)) continue;
      const bytes = roundUp(slotBytes(slot), alignment);
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

  #use(member: LoweredMember, step: number): void {
    const { bindings, writes } = member.lowered;
    for (const node of writes) this.#writers.set(node, { step, member });
    for (const node of bindings) {
      let slot = this.#slots.get(node);
      if (slot === undefined) {
        const isConstant = node.op.name === "constant" && !writes.includes(node);
        slot = isConstant ? slotFor(node, -1, ALWAYS) : slotFor(node, step, step);
        this.#slots.set(node, slot);
        if (isConstant) this.#constants.set(node, slot);
      }
      if (slot.last !== ALWAYS) slot.last = Math.max(slot.last, step);
    }
  }

  #shareInPlace(overwrites: ReadonlyMap<Node, Node>): void {
    const lastReads = this.#lastReads(new Set(overwrites.values()));
    for (const [output, input] of overwrites) this.#donate(output, input, lastReads.get(input));
    if (!this.#rules.isOn(IN_PLACE)) return;
    this.#steps.forEach((step, at) => {
      const shared = this.#sharedHomes(step);
      for (const member of step.members) {
        for (const written of member.lowered.writes) {
          if (!overwrites.has(written)) this.#reuseDying(member, written, at, shared);
        }
      }
    });
  }

  /** For each of the nodes, the last step that reads it and the members there that do. */
  #lastReads(nodes: ReadonlySet<Node>): Map<Node, Reads> {
    const reads = new Map<Node, Reads>();
    this.#steps.forEach(({ members }, step) => {
      for (const member of members) {
        for (const node of member.lowered.bindings) {
          if (!nodes.has(node)) continue;
          const known = reads.get(node);
          if (known?.step === step) known.members.add(member);
          else reads.set(node, { step, members: new Set([member]) });
        }
      }
    });
    return reads;
  }

  #donate(
    output: Node,
    input: Node,
    lastRead: Reads | undefined,
  ): void {
    const from = this.#slots.get(output);
    const to = this.#slots.get(input);
    if (from === undefined || to === undefined || from === to) return;
    const obstacle = this.#obstacle(output, input, lastRead);
    if (obstacle === undefined && from.sharedWith === undefined) {
      from.sharedWith = to;
      this.#rules.applied(IN_PLACE, output, "updates a donated input", 2 * slotBytes(to));
      return;
    }
    from.last = ALWAYS;
    this.#copyBack.push({ from, to, node: output });
    if (!this.#rules.isOn(IN_PLACE)) return;
    const reason = obstacle ?? "it is in another's memory already";
    this.#rules.refused(IN_PLACE, output, `${to.name} is copied to at the end: ${reason}`);
  }

  /** Why the output cannot be written where the donated input is. */
  #obstacle(output: Node, input: Node, lastRead: Reads | undefined): string | undefined {
    if (!this.#rules.isOn(IN_PLACE)) return "no result takes another's memory";
    const writer = this.#writers.get(output);
    if (writer === undefined) return "no kernel writes it";
    if (lastRead === undefined || lastRead.step < writer.step) return undefined;
    const isReadByOthers = [...lastRead.members].some((member) => member !== writer.member);
    if (lastRead.step > writer.step || isReadByOthers) return "another kernel reads it after";
    return readsOnlyWhereItWrites(writer.member.lowered, input, output)
      ? undefined
      : "its kernel reads it at other places than it writes";
  }

  /** Slots that several of a step's members use. */
  #sharedHomes({ members }: LoweredStep): ReadonlySet<Slot> {
    const shared = new Set<Slot>();
    if (members.length < 2) return shared;
    const users = new Map<Slot, LoweredMember>();
    for (const member of members) {
      for (const node of member.lowered.bindings) {
        const home = homeOf(this.of(node));
        const user = users.get(home);
        if (user !== undefined && user !== member) shared.add(home);
        users.set(home, member);
      }
    }
    return shared;
  }

  /** Gives a result the memory of an operand that nothing needs any more. */
  #reuseDying(
    { lowered }: LoweredMember,
    written: Node,
    step: number,
    shared: ReadonlySet<Slot>,
  ): void {
    const slot = this.#slots.get(written);
    if (slot === undefined || slot.sharedWith !== undefined) return;
    for (const read of lowered.bindings) {
      if (lowered.writes.includes(read)) continue;
      const home = homeOf(this.of(read));
      if (home === slot || home.last !== step || home.elements !== slot.elements) continue;
      if (bytesPerElement(home.dtype) !== bytesPerElement(slot.dtype)) continue;
      if (shared.has(home) || !readsOnlyWhereItWrites(lowered, read, written)) continue;
      slot.sharedWith = home;
      home.last = slot.last;
      const dying = this.of(read).name;
      this.#rules.applied(IN_PLACE, written, `takes over the memory of ${dying}`);
      return;
    }
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
