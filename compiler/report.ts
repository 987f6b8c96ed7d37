/** What the compiler's rules did and did not do, and why: the material of explanations. */
import type { Node } from "../graph/node.ts";

/** A rule that fired, or one that could have but did not. */
export interface RuleNote {
  /** The rule's name. */
  readonly rule: string;
  readonly outcome: "applied" | "refused";
  /** The node at which it was tried. */
  readonly node: Node;
  /** What it did, or why not. */
  readonly detail: string;
}

/** Collects what rules report. */
export class RuleReport {
  readonly #notes: RuleNote[] = [];

  /** A report of its own that begins with the notes so far. */
  copy(): RuleReport {
    const copy = new RuleReport();
    copy.#notes.push(...this.#notes);
    return copy;
  }

  /** All notes so far, in order. */
  get notes(): readonly RuleNote[] {
    return this.#notes;
  }

  /** The rule fired. */
  applied(rule: string, node: Node, detail: string): void {
    this.#notes.push({ rule, outcome: "applied", node, detail });
  }

  /** The rule looked at the node and left it as it was. */
  refused(rule: string, node: Node, detail: string): void {
    this.#notes.push({ rule, outcome: "refused", node, detail });
  }
}
