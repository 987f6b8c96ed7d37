/** One part of a matmul as a WGSL function: the sums of a tile, in registers, then the epilogue. */
import type { MatmulPart, MatmulTerm } from "../../../compiler/loop_ir.ts";
import type { MatmulRoles, RoleAxis, Side } from "../../matmul_roles.ts";
import { Code } from "../wgsl/code.ts";
import { LoopWriter, MOST_COPIES, MOST_ROUNDS } from "../wgsl/rounds.ts";
import type { EpilogueFunction } from "./matmul_epilogue.ts";
import {
  type LoadForm,
  type MatmulContext,
  type OperandView,
  type OwnElements,
  type Share,
  SideReader,
  type Stage,
  STEPS,
} from "./matmul_operand.ts";
import { scaled, sizeOf, Strides, sumOf } from "../wgsl/strides.ts";
import { type PartExtents, type Tile, workgroupsOf } from "./tile.ts";

/** Vectors of results that a loop hands to the epilogue. */
const RESULTS_AT_ONCE = 8;

/** What all parts of a kernel share. */
export interface PartContext extends MatmulContext {
  readonly tile: Tile;
  /** Where operands are staged, where the tile has it so. */
  readonly stages: { readonly a: Stage; readonly b: Stage } | undefined;
  /** Where the slices of a sum meet, if there are several. */
  readonly halves: string | undefined;
  /** Whether the device is a driver in software. */
  readonly software: boolean;
}

/** A part with what is known of it before its function is written. */
export interface PreparedPart {
  readonly roles: MatmulRoles;
  readonly extents: PartExtents;
  /** The terms that have something to sum. */
  readonly terms: readonly PreparedTerm[];
}

interface PreparedTerm {
  readonly a: SideReader;
  readonly b: SideReader;
  readonly k: number;
}

/** The product of the axes' extents. */
export function extentOf(axes: readonly RoleAxis[]): number {
  return sizeOf(axes.map(({ extent }) => extent));
}

/** The length of a term's sums. */
export function sumLength({ k }: MatmulTerm): number {
  return sizeOf(k);
}

/** Finds out how the part's operands are read. */
export function preparePart(
  context: MatmulContext,
  part: MatmulPart,
  roles: MatmulRoles,
  extents: PartExtents,
): PreparedPart {
  const terms = part.terms.flatMap((term, index): PreparedTerm[] => {
    const k = sumLength(term);
    if (k === 0) return [];
    const reader = (side: Side) =>
      new SideReader(context, side, operandView(roles, term, index, side));
    return [{ a: reader("a"), b: reader("b"), k }];
  });
  return { roles, extents, terms };
}

/** How a term's operand lies along a part's axes. */
export function operandView(
  { batch, m, n }: MatmulRoles,
  term: MatmulTerm,
  index: number,
  side: Side,
): OperandView {
  const { buffer, offset, kStrides } = term[side];
  const strides = (axes: readonly RoleAxis[]) =>
    new Strides(
      axes.map(({ extent, strides }) => ({ extent, stride: strides[index]?.[side] ?? 0 })),
    );
  const k = new Strides(term.k.map((extent, at) => ({ extent, stride: kStrides[at] ?? 0 })));
  return { buffer, offset, batch: strides(batch), free: strides(side === "a" ? m : n), k };
}

/** Writes the function of (tile's number, lane) that computes one tile of a part. */
export function writePart(
  context: PartContext,
  prepared: PreparedPart,
  epilogue: EpilogueFunction,
  name: string,
): string[] {
  return new PartWriter(context, prepared, epilogue).write(name);
}

class PartWriter {
  readonly #context: PartContext;
  readonly #part: PreparedPart;
  readonly #epilogue: EpilogueFunction;
  readonly #code = new Code();
  readonly #rows: OwnElements;
  readonly #columns: OwnElements;

  constructor(context: PartContext, part: PreparedPart, epilogue: EpilogueFunction) {
    this.#context = context;
    this.#part = part;
    this.#epilogue = epilogue;
    const { columns, ownRows, ownColumns } = context.tile;
    this.#rows = { count: ownRows, first: this.#name("own_row"), offset: (at) => at };
    // Fours of columns lie apart, so that neighbours read neighbouring fours.
    const apart = 4 * columns / ownColumns;
    this.#columns = {
      count: ownColumns,
      first: this.#name("own_column"),
      offset: (at) => Math.floor(at / 4) * apart + at % 4,
    };
  }

  #name(word: string): string {
    return this.#context.locals.of(word);
  }

  write(name: string): string[] {
    const code = this.#code;
    const { slices } = this.#context.tile;
    this.#writePlace();
    this.#writeEarlyEnd();
    for (const sum of this.#sums()) code.add(`var ${sum} = vec4<f32>();`);
    for (const term of this.#part.terms) code.scope(() => this.#writeTerm(term));
    if (slices > 1) {
      if (this.#part.terms.length > 0) this.#writeMeeting();
      code.add(`if (${this.#name("slice")} > 0) { return; }`);
    }
    this.#writeResults();
    return [
      `fn ${name}(${this.#name("tile")}: i32, ${this.#name("invocation")}: i32) {`,
      ...code.lines,
      "}",
    ];
  }

  /** Names where the workgroup's tile is, and what of it is the invocation's. */
  #writePlace(): void {
    const code = this.#code;
    const { tile } = this.#context;
    const { batch, rows, columns } = this.#part.extents;
    const number = this.#name("tile");
    const [rowTiles, columnTiles] = [
      Math.ceil(rows / tile.rows),
      Math.ceil(columns / tile.columns),
    ];
    const quotient = (by: number) => by === 1 ? number : `${number} / ${by}`;
    const tileRow = batch === 1 ? quotient(columnTiles) : `${quotient(columnTiles)} % ${rowTiles}`;
    const tileColumn = columnTiles === 1 ? "0" : `${number} % ${columnTiles}`;
    const times = (text: string, by: number) =>
      /[/%]/.test(text) ? `(${text}) * ${by}` : scaled(text, by);
    code.add(
      `let ${this.#name("batch")} = ${batch === 1 ? "0" : quotient(rowTiles * columnTiles)};`,
      `let ${this.#name("first_row")} = ${rowTiles === 1 ? "0" : times(tileRow, tile.rows)};`,
      `let ${this.#name("first_column")} = ${
        columnTiles === 1 ? "0" : times(tileColumn, tile.columns)
      };`,
    );
    const lane = this.#name("invocation");
    const [across, down] = [tile.columns / tile.ownColumns, tile.rows / tile.ownRows];
    code.add(
      `let ${this.#name("own_column")} = ${
        down === 1 && tile.slices === 1 ? lane : `(${lane} % ${across})`
      } * 4;`,
      `let ${this.#name("own_row")} = ${
        down === 1 ? "0" : `(${lane} / ${across} % ${down}) * ${tile.ownRows}`
      };`,
    );
    if (tile.slices > 1) code.add(`let ${this.#name("slice")} = ${lane} / ${across * down};`);
  }

  /** Ends an invocation whose results all lie beyond the edges, if no other waits for it. */
  #writeEarlyEnd(): void {
    const { tile, stages } = this.#context;
    if (stages !== undefined || tile.slices > 1 || tile.sharing > 1) return;
    const { rows, columns } = this.#part.extents;
    const beyond = (extent: number, size: number, first: string, own: string) =>
      extent % size === 0 ? [] : [`${sumOf(this.#name(first), this.#name(own))} >= ${extent}`];
    const conditions = [
      ...beyond(rows, tile.rows, "first_row", "own_row"),
      ...beyond(columns, tile.columns, "first_column", "own_column"),
    ];
    if (conditions.length > 0) this.#code.add(`if (${conditions.join(" || ")}) { return; }`);
  }

  /** The variables that hold the sums, four columns each. */
  #sums(): string[] {
    const { ownRows, ownColumns } = this.#context.tile;
    return Array.from(
      { length: ownRows * ownColumns / 4 },
      (_, at) => this.#sum(Math.floor(at / (ownColumns / 4)), at % (ownColumns / 4)),
    );
  }

  #sum(row: number, four: number): string {
    return this.#name(`sum_${row}_${four}`);
  }

  /** Adds a term's products to the sums. */
  #writeTerm(term: PreparedTerm): void {
    const { tile, stages } = this.#context;
    const { rows, columns } = this.#part.extents;
    const fits = { a: rows % tile.rows === 0, b: columns % tile.columns === 0 };
    const starts = { a: this.#name("first_row"), b: this.#name("first_column") };
    for (const side of ["a", "b"] as const) {
      const reader = term[side];
      reader.writeBase(this.#code, this.#name("batch"));
      if (side === "a" && tile.sharing > 1) {
        reader.writeSharedPlaces(this.#code, this.#share, starts.a, fits.a);
      } else if (stages === undefined) {
        reader.writeOwnPlaces(this.#code, this.#own(side), starts[side], fits[side]);
      } else {
        const lane = this.#name("invocation");
        reader.writeStagePlaces(this.#code, stages[side], lane, starts[side], fits[side]);
      }
    }
    if (stages === undefined) this.#writeDirectTerm(term);
    else this.#writeStagedTerm(term, stages);
  }

  #own(side: "a" | "b"): OwnElements {
    return side === "a" ? this.#rows : this.#columns;
  }

  get #share(): Share {
    const { sharing } = this.#context.tile;
    return { own: this.#rows, sharing, lane: this.#name("invocation") };
  }

  /** All steps, without workgroup memory; slices take turns. */
  #writeDirectTerm(term: PreparedTerm): void {
    const code = this.#code;
    const { slices } = this.#context.tile;
    const k = this.#name("k");
    const whole = term.k - term.k % STEPS;
    const loop = (start: number, end: number, steps: number) => {
      if (start >= end) return;
      if (end - start <= steps && slices === 1) {
        return code.scope(() => {
          code.add(`let ${k} = ${start};`);
          this.#writeSteps(term, k, steps);
        });
      }
      const from = slices === 1 ? `${start}` : sumOf(scaled(this.#name("slice"), steps), start);
      const trips = Math.ceil((end - start) / (steps * slices));
      const head = { name: k, from, until: `${end}`, step: steps * slices, trips, inner: 0 };
      new LoopWriter(code, this.#copies()).write(head, () => this.#writeSteps(term, k, steps));
    };
    loop(0, whole, STEPS);
    loop(whole, term.k, 1);
  }

  /** Rounds of a sum's loop that are written out in the place of one, so that they are not too many. */
  #copies(): number {
    const { tile: { slices }, software } = this.#context;
    if (!software) return 1;
    const { terms, extents: { k } } = this.#part;
    const rounds = terms.reduce((sum, term) => sum + Math.ceil(term.k / (STEPS * slices)), 0);
    const copies = Math.ceil(rounds / MOST_ROUNDS);
    if (copies <= MOST_COPIES) return copies;
    throw new RangeError(
      `A driver in software cannot compute a product whose sums have ${k} terms: wanted at most ` +
        `${STEPS * slices * MOST_ROUNDS * MOST_COPIES}`,
    );
  }

  /** Blocks of as many steps as are staged at a time; beyond the end they are zeros. */
  #writeStagedTerm(term: PreparedTerm, stages: NonNullable<PartContext["stages"]>): void {
    const code = this.#code;
    const { depth } = this.#context.tile;
    const start = this.#name("k_start");
    const end = term.k % depth === 0 ? undefined : term.k;
    code.block(`for (var ${start} = 0; ${start} < ${term.k}; ${start} += ${depth})`, () => {
      for (const side of ["a", "b"] as const) {
        term[side].writeStaging(code, stages[side], this.#name("invocation"), start, end);
      }
      code.add("workgroupBarrier();");
      this.#writeStagedSteps(term, depth);
      code.add("workgroupBarrier();");
    });
  }

  #writeStagedSteps(term: PreparedTerm, depth: number): void {
    const step = this.#name("step");
    this.#code.block(
      `for (var ${step} = 0; ${step} < ${depth}; ${step} += ${STEPS})`,
      () => this.#writeSteps(term, step, STEPS),
    );
  }

  /** Some steps of the sums: `k` is the first's variable, within the stage where there is one. */
  #writeSteps(term: PreparedTerm, k: string, steps: number): void {
    const { tile, stages } = this.#context;
    if (tile.sharing > 1) return this.#writeSharedSteps(term, k, steps);
    const form: LoadForm = { staged: stages !== undefined, steps };
    for (const side of ["a", "b"] as const) {
      if (stages === undefined) term[side].writeDirectLoads(this.#code, this.#own(side), k, steps);
      else term[side].writeStagedLoads(this.#code, this.#own(side), stages[side], k, steps);
    }
    for (let step = 0; step < steps; step++) {
      for (let row = 0; row < tile.ownRows; row++) {
        const left = term.a.element(this.#rows, row, step, form);
        for (let four = 0; four < tile.ownColumns / 4; four++) {
          const right = term.b.four(this.#columns, 4 * four, step, form);
          const sum = this.#sum(row, four);
          this.#code.add(`${sum} = fma(vec4<f32>(${left}), ${right}, ${sum});`);
        }
      }
    }
  }

  /** The same where rows are loaded together: what a sum gets is added in one go, while it is at hand. */
  #writeSharedSteps({ a, b }: PreparedTerm, k: string, steps: number): void {
    const { tile } = this.#context;
    const form: LoadForm = { staged: false, steps };
    a.writeSharedLoads(this.#code, this.#share, k, steps);
    b.writeDirectLoads(this.#code, this.#columns, k, steps);
    for (let row = 0; row < tile.ownRows; row++) {
      a.writeHandedOn(this.#code, this.#share, row, steps);
      for (let four = 0; four < tile.ownColumns / 4; four++) {
        for (let step = 0; step < steps; step++) {
          const left = a.element(this.#rows, row, step, form);
          const right = b.four(this.#columns, 4 * four, step, form);
          const sum = this.#sum(row, four);
          this.#code.add(`${sum} = fma(vec4<f32>(${left}), ${right}, ${sum});`);
        }
      }
    }
  }

  /** Adds up what the slices have, always in the same order. */
  #writeMeeting(): void {
    const code = this.#code;
    const { tile, halves } = this.#context;
    const [slice, lane] = [this.#name("slice"), this.#name("invocation")];
    const sums = this.#sums();
    const lanes = tile.rows / tile.ownRows * (tile.columns / tile.ownColumns);
    for (let half = tile.slices / 2; half >= 1; half /= 2) {
      const place = (from: number, at: number) =>
        `${halves}[${sumOf(lane, at * half * lanes - from * lanes)}]`;
      code.block(`if (${slice} >= ${half} && ${slice} < ${2 * half})`, () => {
        sums.forEach((sum, at) => code.add(`${place(half, at)} = ${sum};`));
      });
      code.add("workgroupBarrier();");
      code.block(`if (${slice} < ${half})`, () => {
        sums.forEach((sum, at) => code.add(`${sum} += ${place(0, at)};`));
      });
      if (half > 1) code.add("workgroupBarrier();");
    }
  }

  /**
   * Hands the sums to the epilogue, four at a time. A long one is in loops, but short ones: drivers
   * choose among an array's vectors one by one, in code that grows with the array's square.
   */
  #writeResults(): void {
    const sums = this.#sums();
    if (this.#epilogue.isShort) {
      sums.forEach((sum, number) => this.#finish(`${number}`, sum));
      return;
    }
    const [results, at] = [this.#name("results"), this.#name("at")];
    for (let first = 0; first < sums.length; first += RESULTS_AT_ONCE) {
      const some = sums.slice(first, first + RESULTS_AT_ONCE);
      this.#code.scope(() => {
        this.#code.add(`var ${results} = array<vec4<f32>, ${some.length}>(${some.join(", ")});`);
        this.#code.block(
          `for (var ${at} = 0; ${at} < ${some.length}; ${at}++)`,
          () => this.#finish(first === 0 ? at : `(${at} + ${first})`, `${results}[${at}]`),
        );
      });
    }
  }

  /** Calls the epilogue for four sums: those of this number, known here or not. */
  #finish(number: string, sums: string): void {
    const fours = this.#context.tile.ownColumns / 4;
    const apart = this.#columns.offset(4);
    const known = /^\d+$/.test(number) ? Number(number) : undefined;
    const row = known === undefined
      ? fours === 1 ? number : `${number} / ${fours}`
      : Math.floor(known / fours);
    const column = known === undefined
      ? fours === 1 ? "0" : `(${number} % ${fours}) * ${apart}`
      : known % fours * apart;
    const place = [
      this.#name("batch"),
      sumOf(this.#name("first_row"), this.#name("own_row"), row),
      sumOf(this.#name("first_column"), this.#name("own_column"), column),
    ];
    this.#code.add(`${this.#epilogue.name}(${[...place, sums].join(", ")});`);
  }
}

/** Workgroups that a part takes. */
export function tilesOf(tile: Tile, { extents }: PreparedPart): number {
  return workgroupsOf(tile, extents);
}
