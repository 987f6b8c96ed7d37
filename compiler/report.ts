/** What the compiler's rules may do, what they did and did not do, and why. */
import type { Node } from "../graph/node.ts";
import type { FusionRule } from "./fusion_rules.ts";

/** A rule that fired, or one that could have but did not. */
export interface RuleNote {
  readonly rule: FusionRule;
  readonly outcome: "applied" | "refused";
  /** The node at which it was tried. */
  readonly node: Node;
  /** What it did, or why not. */
  readonly detail: string;
  /** Bytes of memory traffic that it saves in a run. */
  readonly bytesSaved: number;
}

const NONE: ReadonlySet<FusionRule> = new Set();

/** One compilation's rules: which of them may fire, and what they report. */
export class RuleReport {
  readonly #off: ReadonlySet<FusionRule>;
  readonly #notes: RuleNote[] = [];

  /** @param off Rules that are switched off; none when left out. */
  constructor(off: ReadonlySet<FusionRule> = NONE) {
    this.#off = off;
  }

  /** A report of its own that begins with the notes so far. */
  copy(): RuleReport {
    const copy = new RuleReport(this.#off);
    copy.#notes.push(...this.#notes);
    return copy;
  }

  /** All notes so far, in order. */
  get notes(): readonly RuleNote[] {
    return this.#notes;
  }

  /** The rules that are switched off. */
  get off(): ReadonlySet<FusionRule> {
    return this.#off;
  }

  /** Whether the rule may fire. */
  isOn(rule: FusionRule): boolean {
    return !this.#off.has(rule);
  }

  /** The rule fired. */
  applied(rule: FusionRule, node: Node, detail: string, bytesSaved = 0): void {
    this.#notes.push({ rule, outcome: "applied", node, detail, bytesSaved });
  }

  /** The rule looked at the node and left it as it was. */
  refused(rule: FusionRule, node: Node, detail: string): void {
    this.#notes.push({ rule, outcome: "refused", node, detail, bytesSaved: 0 });
  }
}
