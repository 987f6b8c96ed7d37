/** Names of a template's own variables. */
import type { Names } from "../wgsl/names.ts";

/** Gives each variable of a template one name in all functions of a module, that nothing else has. */
export class Locals {
  readonly #names: Names;
  readonly #known = new Map<string, string>();

  constructor(names: Names) {
    this.#names = names;
  }

  /** The variable's name in WGSL. */
  of(wanted: string): string {
    const known = this.#known.get(wanted) ?? this.#names.unique(wanted);
    this.#known.set(wanted, known);
    return known;
  }
}
