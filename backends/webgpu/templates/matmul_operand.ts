/** One side of a matmul's term: how it lies, and how an invocation gets at its elements. */
import type { KernelBuffer, OperandBase } from "../../../compiler/loop_ir.ts";
import type { WgslBuffers } from "../wgsl/buffers.ts";
import type { Code } from "../wgsl/code.ts";
import type { Locals } from "./locals.ts";
import { scaled, type Strides, sumOf } from "../wgsl/strides.ts";

/** Steps of a sum that are taken at once, at most. */
export const STEPS = 4;
/** Components of a vec4. */
const LETTERS = "xyzw";

/** What a writer of matmul code needs. */
export interface MatmulContext {
  readonly buffers: WgslBuffers;
  readonly locals: Locals;
}

/** Where a workgroup stages one side: `depth` rows of `pitch` vec4, each of a step's elements. */
export interface Stage {
  readonly name: string;
  /** Elements of the side that are staged for each step. */
  readonly extent: number;
  readonly depth: number;
  /** In vec4. */
  readonly pitch: number;
  readonly invocations: number;
}

/** The rows, or the columns, that one invocation computes. */
export interface OwnElements {
  readonly count: number;
  /** Within the workgroup's, as the sum of an invocation's part and an offset for each. */
  readonly first: string;
  readonly offset: (at: number) => number;
}

/** What the invocations of a subgroup load together: each a part of the elements that all compute with. */
export interface Share {
  readonly own: OwnElements;
  /** Invocations of a subgroup. */
  readonly sharing: number;
  /** Name of the invocation's place in it. */
  readonly lane: string;
}

/** By how many an operand is loaded, and along which axes they lie. */
type Reading = "free" | "k" | "single";

/** What one load gives: the element of a step, or a vec4 of several of either. */
export interface LoadedPart {
  readonly value: string;
  /** The first element, and the first step. */
  readonly at: number;
  readonly step: number;
  readonly along: Reading;
}

/** A [batch, free, k] view of a buffer, each of which may be several axes. */
export interface OperandView extends OperandBase {
  readonly batch: Strides;
  /** Rows of a left operand, columns of a right one. */
  readonly free: Strides;
  /** What is summed over. */
  readonly k: Strides;
}

function readingOf({ offset, batch, free, k }: OperandView): Reading {
  if (offset % 4 !== 0 || !batch.movesByFours) return "single";
  if (free.comesInFours && k.movesByFours) return "free";
  return k.comesInFours && free.movesByFours ? "k" : "single";
}

/** The buffers that can be read by fours through any of the views. */
export function wideBuffers(
  buffers: readonly KernelBuffer[],
  views: readonly OperandView[],
): Set<KernelBuffer> {
  const wide = views.filter((view) => readingOf(view) !== "single");
  return new Set(wide.flatMap(({ buffer }) => buffers[buffer] ?? []));
}

/** One side of a product of matrices. */
export class SideReader {
  readonly #context: MatmulContext;
  readonly prefix: string;
  readonly #view: OperandView;
  readonly #reading: Reading;
  readonly #taken: (part: LoadedPart) => string;

  /**
   * @param prefix Of the names of its variables.
   * @param taken What is made of elements that an invocation loads for itself.
   */
  constructor(
    context: MatmulContext,
    prefix: string,
    view: OperandView,
    taken: (part: LoadedPart) => string = ({ value }) => value,
  ) {
    this.#context = context;
    this.prefix = prefix;
    this.#view = view;
    this.#taken = taken;
    this.#reading = context.buffers.isWide(view.buffer) ? readingOf(view) : "single";
  }

  /** Whether four steps are loaded at once. */
  get comesAlongK(): boolean {
    return this.#reading === "k";
  }

  /** Whether staging stores elements of one step far from each other. */
  get scatters(): boolean {
    return this.#reading === "k" || (this.#reading === "single" && this.#goesAlongK);
  }

  get #goesAlongK(): boolean {
    return Math.abs(this.#view.k.step) === 1 && Math.abs(this.#view.free.step) !== 1;
  }

  #name(what: string): string {
    return this.#context.locals.of(`${this.prefix}_${what}`);
  }

  /** Names where the operand's matrix of the batch entry starts. */
  writeBase(code: Code, batch: string): void {
    if (this.#view.batch.stays) return;
    const offset = sumOf(this.#view.batch.offset(batch), this.#view.offset);
    code.add(`let ${this.#name("base")} = ${offset};`);
  }

  /** The index of an element without its place in the sum; past the end it is the last one's. */
  #freeIndex(code: Code, name: string, place: string, by: 1 | 4, ends: boolean): void {
    const { extent } = this.#view.free;
    const flat = this.#name(`${name}_place`);
    code.add(`let ${flat} = ${ends ? place : `min(${place}, ${extent - by})`};`);
    const base = this.#view.batch.stays ? this.#view.offset : this.#name("base");
    code.add(`let ${this.#name(name)} = ${sumOf(base, this.#view.free.offset(flat))};`);
  }

  #load(free: string, k: string): string {
    return this.#context.buffers.load(this.#view.buffer, sumOf(this.#name(free), k));
  }

  #loadFour(free: string, k: string): string {
    return this.#context.buffers.loadFour(this.#view.buffer, sumOf(this.#name(free), k));
  }

  /**
   * Names the places of the elements that an invocation loads for itself.
   *
   * @param start Of the workgroup's rows or columns.
   * @param fits Whether no tile reaches over the end.
   */
  writeOwnPlaces(code: Code, own: OwnElements, start: string, fits: boolean): void {
    const by = this.#reading === "free" && own.count % 4 === 0 ? 4 : 1;
    for (let at = 0; at < own.count; at += by) {
      const place = sumOf(start, own.first, own.offset(at));
      this.#freeIndex(code, `at_${at}`, place, by, fits);
    }
  }

  /** The row or column that an own element is in: the name of one, and how many there are from it on. */
  ownPlace(own: OwnElements, at: number): readonly [name: string, plus: number] {
    const plus = this.#reading === "free" && own.count % 4 === 0 ? at % 4 : 0;
    return [this.#name(`at_${at - plus}_place`), plus];
  }

  /** Loads `steps` steps' elements from the operand itself. `k` is the variable of the first. */
  writeDirectLoads(code: Code, own: OwnElements, k: string, steps: number): void {
    if (this.#reading === "k" && steps === STEPS) {
      const offset = this.#kOffset(code, k, 0);
      for (let at = 0; at < own.count; at++) {
        const part = {
          value: this.#loadFour(`at_${at}`, offset),
          at,
          step: 0,
          along: "k",
        } as const;
        code.add(`let ${this.#name(`own_${at}`)} = ${this.#taken(part)};`);
      }
      return;
    }
    const byFours = this.#reading === "free" && own.count % 4 === 0;
    for (let step = 0; step < steps; step++) {
      const offset = this.#kOffset(code, k, step);
      for (let at = 0; at < own.count; at += byFours ? 4 : 1) {
        const value = byFours ? this.#loadFour(`at_${at}`, offset) : this.#load(`at_${at}`, offset);
        const part = { value, at, step, along: byFours ? "free" : "single" } as const;
        code.add(`let ${this.#name(`own_${at}_${step}`)} = ${this.#taken(part)};`);
      }
    }
  }

  /** Names the places of what the invocation loads for itself and its neighbours. */
  writeSharedPlaces(code: Code, { own, sharing, lane }: Share, start: string, fits: boolean): void {
    if (this.#reading === "free") {
      const fours = own.count / 4;
      const first = sumOf(start, `(${lane} % ${fours}) * 4`);
      this.#freeIndex(code, "at", first, 4, fits);
      code.add(`let ${this.#name("step")} = ${lane} / ${fours};`);
      return;
    }
    for (let part = 0; part < own.count / sharing; part++) {
      this.#freeIndex(code, `at_${part}`, sumOf(start, lane, part * sharing), 1, fits);
    }
  }

  /** Loads the invocation's part of `steps` steps' elements, for {@linkcode writeHandedOn}. */
  writeSharedLoads(code: Code, { own, sharing }: Share, k: string, steps: number): void {
    const each = (part: string, value: string) =>
      code.add(`let ${this.#name(`part_${part}`)} = ${value};`);
    const parts = own.count / sharing;
    if (this.#reading === "free") {
      const [stepsOfOne, step] = [4 * sharing / own.count, this.#name("step")];
      for (let part = 0; part < (steps === STEPS ? parts : 1); part++) {
        const flat = this.#name(`k_${part}`);
        code.add(`let ${flat} = ${steps === 1 ? k : sumOf(k, step, part * stepsOfOne)};`);
        each(`${part}`, this.#loadFour("at", this.#view.k.offset(flat)));
      }
      return;
    }
    const byFours = this.#reading === "k" && steps === STEPS;
    for (let step = 0; step < (byFours ? 1 : steps); step++) {
      const offset = this.#kOffset(code, k, step);
      for (let part = 0; part < parts; part++) {
        if (byFours) each(`${part}`, this.#loadFour(`at_${part}`, offset));
        else each(`${part}_${step}`, this.#load(`at_${part}`, offset));
      }
    }
  }

  /** Gets an element of some steps, or four, from who has loaded it; then {@linkcode element} knows it. */
  writeHandedOn(code: Code, { own, sharing }: Share, at: number, steps: number): void {
    const get = (name: string, part: string, lane: number) =>
      code.add(
        `let ${this.#name(name)} = subgroupBroadcast(${this.#name(`part_${part}`)}, ${lane}u);`,
      );
    const place = (unit: number) => [Math.floor(unit / sharing), unit % sharing] as const;
    if (this.#reading === "free") {
      for (let step = 0; step < (at % 4 === 0 ? steps : 0); step++) {
        const [part, lane] = place(step * own.count / 4 + at / 4);
        get(`own_${at}_${step}`, `${part}`, lane);
      }
      return;
    }
    const [part, lane] = place(at);
    if (this.#reading === "k" && steps === STEPS) return get(`own_${at}`, `${part}`, lane);
    for (let step = 0; step < steps; step++) get(`own_${at}_${step}`, `${part}_${step}`, lane);
  }

  /** How far a step of the sum is from the first. */
  #kOffset(code: Code, k: string, step: number): string {
    if (this.#view.k.stays) return "0";
    if (this.#view.k.isEven) return scaled(k, this.#view.k.step, step * this.#view.k.step);
    const flat = step === 0 ? k : this.#name(`step_${step}`);
    if (step > 0) code.add(`let ${flat} = ${k} + ${step};`);
    const name = this.#name(`step_offset_${step}`);
    code.add(`let ${name} = ${this.#view.k.offset(flat)};`);
    return name;
  }

  /** Loads `steps` steps' elements from where they are staged. `k` is the step within the stage. */
  writeStagedLoads(
    code: Code,
    own: OwnElements,
    stage: Stage,
    k: string,
    steps: number,
  ): void {
    for (let step = 0; step < steps; step++) {
      const line = `${step === 0 ? k : `(${k} + ${step})`} * ${stage.pitch}`;
      for (let at = 0; at < own.count; at += own.count % 4 === 0 ? 4 : 1) {
        const name = this.#name(`own_${at}_${step}`);
        const offset = own.offset(at);
        const value = own.count % 4 === 0
          ? `${stage.name}[${sumOf(line, `${own.first} / 4`, offset / 4)}]`
          : `${stage.name}[${line} + (${sumOf(own.first, offset)}) / 4][(${
            sumOf(own.first, offset)
          }) % 4]`;
        code.add(`let ${name} = ${value};`);
      }
    }
  }

  /** An element that was loaded, of a step. */
  element(own: OwnElements, at: number, step: number, form: LoadForm): string {
    const { staged, steps } = form;
    if (!staged && this.#reading === "k" && steps === STEPS) {
      return `${this.#name(`own_${at}`)}.${LETTERS[step]}`;
    }
    const byFours = own.count % 4 === 0 && (staged || this.#reading === "free");
    if (!byFours) return this.#name(`own_${at}_${step}`);
    return `${this.#name(`own_${at - at % 4}_${step}`)}.${LETTERS[at % 4]}`;
  }

  /** Four elements from `at` on, of a step. */
  four(own: OwnElements, at: number, step: number, form: LoadForm): string {
    const first = this.element(own, at, step, form);
    if (
      first.endsWith(".x") && this.element(own, at + 1, step, form) === `${first.slice(0, -1)}y`
    ) {
      return first.slice(0, -2);
    }
    const elements = [0, 1, 2, 3].map((next) => this.element(own, at + next, step, form));
    return `vec4<f32>(${elements.join(", ")})`;
  }

  /** Names the places of the elements that an invocation stages, as far as they do not move with k. */
  writeStagePlaces(code: Code, stage: Stage, lane: string, start: string, fits: boolean): void {
    const { across, alongK, loads, moving } = this.#staging(stage);
    const [first, next] = [this.#name("unit"), this.#name("line")];
    code.add(`let ${first} = ${lane} % ${across};`, `let ${next} = ${lane} / ${across};`);
    for (let load = 0; load < (alongK ? loads : 1); load++) {
      const place = alongK
        ? sumOf(start, scaled(next, 4), 4 * load * moving)
        : sumOf(start, scaled(first, 4));
      if (this.#reading === "free") this.#freeIndex(code, `from_${load}`, place, 4, fits);
      else {
        for (let lane = 0; lane < 4; lane++) {
          this.#freeIndex(code, `from_${load}_${lane}`, sumOf(place, lane), 1, fits);
        }
      }
    }
  }

  /**
   * Brings `depth` steps from `k` on to the stage. Each vec4 of it is written whole, by one invocation.
   *
   * @param end Steps from there on are zeros; undefined where all blocks are whole.
   */
  writeStaging(code: Code, stage: Stage, lane: string, k: string, end: number | undefined): void {
    const { steps, alongK, loads, moving, total } = this.#staging(stage);
    const [first, line] = [this.#name("unit"), this.#name("line")];
    const write = () => {
      for (let load = 0; load < loads; load++) {
        const step = this.#name(`stage_k_${load}`);
        const four = alongK ? sumOf(line, load * moving) : first;
        code.add(
          `let ${step} = ${alongK ? scaled(first, steps) : sumOf(line, load * moving)};`,
        );
        this.#stageOne(code, stage, { load: alongK ? load : 0, step, four }, k, end);
      }
    };
    if (total % stage.invocations !== 0) code.block(`if (${lane} < ${total})`, write);
    else write();
  }

  #stageOne(
    code: Code,
    { name, pitch }: Stage,
    { load, step, four }: { readonly load: number; readonly step: string; readonly four: string },
    k: string,
    end: number | undefined,
  ): void {
    const flat = this.#name("k");
    code.scope(() => {
      code.add(`let ${flat} = ${sumOf(k, step)};`);
      const values = [0, 1, 2, 3].map((lane) => this.#name(`value_${lane}`));
      const single = this.#reading === "single";
      const offset = this.#view.k.offset(flat);
      const loaded = this.#reading === "free"
        ? [this.#loadFour(`from_${load}`, offset)]
        : [0, 1, 2, 3].map((lane) => {
          const from = `from_${load}_${lane}`;
          return single ? this.#load(from, offset) : this.#loadFour(from, offset);
        });
      if (end === undefined) {
        loaded.forEach((value, at) => code.add(`let ${values[at]} = ${value};`));
      } else {
        const zero = single ? "0.0" : "vec4<f32>()";
        loaded.forEach((_, at) => code.add(`var ${values[at]} = ${zero};`));
        code.block(
          `if (${flat} < ${end})`,
          () => loaded.forEach((value, at) => code.add(`${values[at]} = ${value};`)),
        );
      }
      const store = (next: number, value: string) => {
        const line = `${next === 0 ? step : `(${step} + ${next})`} * ${pitch}`;
        code.add(`${name}[${line} + ${four}] = ${value};`);
      };
      if (this.#reading === "free") store(0, values[0] ?? "");
      else if (single) store(0, `vec4<f32>(${values.join(", ")})`);
      else {
        for (let next = 0; next < 4; next++) {
          const column = values.map((value) => `${value}.${LETTERS[next]}`);
          store(next, `vec4<f32>(${column.join(", ")})`);
        }
      }
    });
  }

  /** How the invocations of a workgroup share out a stage: units of four elements of some steps. */
  #staging({ extent, depth, invocations }: Stage) {
    const steps = this.#reading === "k" ? 4 : 1;
    const alongK = this.scatters;
    const total = extent / 4 * (depth / steps);
    const across = alongK ? depth / steps : extent / 4;
    // Powers of two all: a pass of the invocations has whole lines of units, or less than one pass.
    return {
      steps,
      alongK,
      total,
      across,
      loads: Math.max(1, total / invocations),
      moving: invocations / across,
    };
  }
}

/** Where loaded elements came from, and how many steps were loaded at once. */
export interface LoadForm {
  readonly staged: boolean;
  readonly steps: number;
}
