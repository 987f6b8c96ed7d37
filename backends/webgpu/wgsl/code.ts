/** Lines of WGSL under construction. */

const INDENT = "  ";

/** Collects lines at a depth of nesting. */
export class Code {
  readonly lines: string[] = [];
  #depth = 1;

  /** Adds lines. */
  add(...lines: readonly string[]): void {
    for (const line of lines) this.lines.push(INDENT.repeat(this.#depth) + line);
  }

  /** Adds `{ ... }` around what `body` adds. */
  scope(body: () => void): void {
    this.block("", body);
  }

  /** Adds `header { ... }` around what `body` adds. */
  block(header: string, body: () => void): void {
    this.add(header === "" ? "{" : `${header} {`);
    this.#depth++;
    body();
    this.#depth--;
    this.add("}");
  }
}
