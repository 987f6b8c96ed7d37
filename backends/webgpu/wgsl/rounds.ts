/** Loops that drivers in software run to their end. */
import type { Statement } from "../../../compiler/loop_ir.ts";
import type { Code } from "./code.ts";
import { tripsOf } from "./item_space.ts";

/**
 * How often all loops of an invocation may go round, together, on a driver in software: Mesa's leaves
 * them after 65,535, wherever they are, and says nothing.
 */
export const MOST_ROUNDS = 60_000;
/** Rounds that may be written out in the place of one. */
export const MOST_COPIES = 128;

/** A loop over places, of which an invocation has every `step`th. */
export interface LoopHead {
  readonly name: string;
  readonly from: string;
  readonly until: string;
  readonly step: number;
  /** How often it goes round; undefined where that is not known. */
  readonly trips: number | undefined;
  /** How often the loops in it go round for each of those. */
  readonly inner: number;
}

/** Writes an invocation's loops, and counts how often they go round. */
export class LoopWriter {
  readonly #code: Code;
  readonly #copies: number;
  #around = 1;
  #rounds = 0;

  /** @param copies Rounds of nested loops that are written out in the place of one. */
  constructor(code: Code, copies: number) {
    this.#code = code;
    this.#copies = copies;
  }

  /** How often all loops so far go round. */
  get rounds(): number {
    return this.#rounds;
  }

  /** Writes a loop. `body` is called for each of the rounds that are written out. */
  write({ name, from, until, step, trips = 1, inner }: LoopHead, body: () => void): void {
    const code = this.#code;
    const next = step === 1 ? `${name}++` : `${name} += ${step}`;
    const copies = Math.min(trips, Math.floor(this.#copies / Math.max(inner, 1)));
    if (copies < 2) {
      return this.#counted(
        trips,
        () => code.block(`for (var ${name} = ${from}; ${name} < ${until}; ${next})`, body),
      );
    }
    const writeOut = () => {
      for (let copy = 0; copy < copies; copy++) {
        code.block(`if (${name} < ${until})`, body);
        code.add(`${next};`);
      }
    };
    if (copies < trips) {
      this.#counted(
        Math.ceil(trips / copies),
        () => code.block(`for (var ${name} = ${from}; ${name} < ${until}; )`, writeOut),
      );
    } else {
      code.add(`var ${name} = ${from};`);
      writeOut();
    }
  }

  #counted(rounds: number, write: () => void): void {
    this.#rounds += this.#around * rounds;
    this.#around *= rounds;
    write();
    this.#around /= rounds;
  }
}

/** How often loops in some statements go round, those of the statement that has the most. */
export function roundsIn(body: readonly Statement[], lanes = 1): number {
  return Math.max(
    0,
    ...body.map((statement) => {
      if (statement.kind !== "loop" && statement.kind !== "reduce") return 0;
      const ranges = statement.kind === "loop" ? [statement.range] : statement.ranges;
      const trips = ranges.reduce((product, range) => product * (tripsOf(range)?.trips ?? 1), 1);
      return Math.ceil(trips / lanes) * Math.max(1, roundsIn(statement.body));
    }),
  );
}
