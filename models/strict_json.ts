/**
 * A JSON parser for files that others wrote. `JSON.parse` keeps the last of two equal keys in silence
 * and turns objects into plain ones, where a key `__proto__` is a trap; here a repeated key is an error
 * and objects are maps. Nesting and size are bounded, so that a hostile file cannot exhaust the stack.
 */

/** A parsed value: objects are maps in the order of the text. */
export type StrictJson =
  | null
  | boolean
  | number
  | string
  | readonly StrictJson[]
  | ReadonlyMap<string, StrictJson>;

/** A parsed value as `JSON.parse` would give it. */
export type PlainJson =
  | null
  | boolean
  | number
  | string
  | PlainJson[]
  | { [key: string]: PlainJson };

/** Bounds on what a text may hold. */
export interface StrictJsonLimits {
  /** Levels of arrays and objects; 64 unless told. */
  readonly maxDepth?: number;
  /** Members of one array or object; unbounded unless told. */
  readonly maxMembers?: number;
}

/** The text is not JSON (RFC 8259), repeats a key, or exceeds a bound. */
export class StrictJsonError extends SyntaxError {
  override readonly name = "StrictJsonError";
  /** UTF-16 units before the place of the problem. */
  readonly position: number;

  constructor(problem: string, position: number) {
    super(`${problem} at character ${position}`);
    this.position = position;
  }
}

const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const WORDS: ReadonlyMap<string, null | boolean> = new Map([
  ["null", null],
  ["true", true],
  ["false", false],
]);

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const SPACE = 0x20;

class Parser {
  readonly #text: string;
  readonly #maxDepth: number;
  readonly #maxMembers: number;
  #at = 0;

  constructor(text: string, limits: StrictJsonLimits) {
    this.#text = text;
    this.#maxDepth = limits.maxDepth ?? 64;
    this.#maxMembers = limits.maxMembers ?? Infinity;
  }

  document(): StrictJson {
    const value = this.#value(0);
    this.#skipSpace();
    if (this.#at < this.#text.length) throw this.#unexpected("the end of the text");
    return value;
  }

  #value(depth: number): StrictJson {
    this.#skipSpace();
    const first = this.#text[this.#at];
    if (first === "{" || first === "[") {
      if (depth >= this.#maxDepth) {
        throw this.#error(`Nesting exceeds ${this.#maxDepth} levels`);
      }
      return first === "{" ? this.#object(depth + 1) : this.#array(depth + 1);
    }
    if (first === '"') return this.#string();
    return this.#scalar();
  }

  #object(depth: number): ReadonlyMap<string, StrictJson> {
    const members = new Map<string, StrictJson>();
    this.#members("}", () => {
      const start = this.#at;
      if (this.#text[start] !== '"') throw this.#unexpected("a quoted key");
      const key = this.#string();
      if (members.has(key)) throw this.#error(`Duplicate key ${JSON.stringify(key)}`, start);
      this.#skipSpace();
      if (this.#text[this.#at] !== ":") throw this.#unexpected("':'");
      this.#at++;
      members.set(key, this.#value(depth));
    });
    return members;
  }

  #array(depth: number): readonly StrictJson[] {
    const members: StrictJson[] = [];
    this.#members("]", () => members.push(this.#value(depth)));
    return members;
  }

  /** Reads from the opening bracket past the closing one, calling `member` at the start of each member. */
  #members(close: "}" | "]", member: () => void): void {
    this.#at++;
    this.#skipSpace();
    if (this.#text[this.#at] === close) {
      this.#at++;
      return;
    }
    for (let count = 1;; count++) {
      if (count > this.#maxMembers) throw this.#error(`More than ${this.#maxMembers} members`);
      this.#skipSpace();
      member();
      this.#skipSpace();
      const next = this.#text[this.#at];
      if (next !== close && next !== ",") throw this.#unexpected(`',' or '${close}'`);
      this.#at++;
      if (next === close) return;
    }
  }

  #string(): string {
    const start = this.#at;
    let escaped = false;
    for (this.#at++;; this.#at++) {
      if (this.#at >= this.#text.length) throw this.#error("Unterminated string", start);
      const unit = this.#text.charCodeAt(this.#at);
      if (unit === QUOTE) break;
      if (unit < SPACE) throw this.#error("Control character in a string");
      if (unit === BACKSLASH) {
        escaped = true;
        this.#at++;
      }
    }
    this.#at++;
    const value = escaped ? this.#unescape(start) : this.#text.substring(start + 1, this.#at - 1);
    if (!value.isWellFormed()) throw this.#error("Lone surrogate in a string", start);
    return value;
  }

  #unescape(start: number): string {
    try {
      return String(JSON.parse(this.#text.substring(start, this.#at)));
    } catch {
      throw this.#error("Invalid escape in a string", start);
    }
  }

  #scalar(): null | boolean | number {
    const start = this.#at;
    NUMBER.lastIndex = start;
    const digits = NUMBER.exec(this.#text)?.[0];
    if (digits !== undefined) {
      this.#at += digits.length;
      const value = Number(digits);
      if (!Number.isFinite(value)) throw this.#error("Number is too large", start);
      return value;
    }
    for (const [word, value] of WORDS) {
      if (!this.#text.startsWith(word, start)) continue;
      this.#at += word.length;
      return value;
    }
    throw this.#unexpected("a value");
  }

  #skipSpace(): void {
    for (;;) {
      const unit = this.#text.charCodeAt(this.#at);
      if (unit !== SPACE && unit !== 0x0a && unit !== 0x0d && unit !== 0x09) return;
      this.#at++;
    }
  }

  #unexpected(wanted: string): StrictJsonError {
    const found = this.#text.codePointAt(this.#at);
    const text = found === undefined
      ? "the text ends"
      : `found ${JSON.stringify(String.fromCodePoint(found))}`;
    return this.#error(`Expected ${wanted}, but ${text}`);
  }

  #error(problem: string, position: number = this.#at): StrictJsonError {
    return new StrictJsonError(problem, position);
  }
}

/**
 * Parses one JSON text, with objects as maps.
 *
 * @throws {StrictJsonError} when the text is not JSON, repeats a key (compared after unescaping), holds a
 * lone surrogate or a number beyond f64's range, or exceeds a limit.
 */
export function parseStrictJson(text: string, limits: StrictJsonLimits = {}): StrictJson {
  return new Parser(text, limits).document();
}

/** The same value with plain objects. A key `__proto__` becomes an own property like any other. */
export function plainJson(value: StrictJson): PlainJson {
  if (value === null || typeof value !== "object") return value;
  if (isStrictObject(value)) {
    return Object.fromEntries([...value].map(([key, member]) => [key, plainJson(member)]));
  }
  return value.map(plainJson);
}

/** Whether a parsed value is an object. */
export function isStrictObject(value: StrictJson): value is ReadonlyMap<string, StrictJson> {
  return value instanceof Map;
}
