/** Norms of an operand's rows, taken as an invocation loads elements of them. */
import { sumOf } from "../wgsl/strides.ts";
import { LETTERS } from "./attention_division.ts";
import { type PlacedNorm, STATISTICS, workspaceOf } from "./attention_norms.ts";
import type { TileWriter } from "./attention_tile.ts";
import { type LoadedPart, type OwnElements, type SideReader, STEPS } from "./matmul_operand.ts";

/** A place along an axis: the name of one, and how many there are from it on. */
type Place = readonly [name: string, plus: number];

/** Numbers of one kind that either each row or each column has. */
interface AxisNumbers {
  readonly word: "mean" | "inverse" | "scale" | "bias";
  /** Whether they go with an invocation's own elements, or with the steps of a sum. */
  readonly axis: "free" | "k";
  readonly buffer: number;
  /** Name of what all places start from, or 0. */
  readonly base: string;
  readonly offset: number;
  readonly stride: number;
}

/** A norm of one side of a product: the numbers that it takes, and what it makes of elements. */
export class RowNormLoads {
  readonly #tile: TileWriter;
  readonly #prefix: string;
  readonly #placed: PlacedNorm;
  readonly #numbers: readonly AxisNumbers[];
  readonly #unscaled: boolean;
  /** How many steps are loaded at once. */
  #steps = 1;

  /**
   * @param prefix Of the names of its variables.
   * @param rows Whether the rows are the side's own elements, or the steps of a sum.
   * @param unscaled Whether the norm's vectors are named, but not applied.
   */
  constructor(
    tile: TileWriter,
    prefix: string,
    placed: PlacedNorm,
    rows: "free" | "k",
    unscaled = false,
  ) {
    this.#tile = tile;
    this.#unscaled = unscaled;
    this.#prefix = prefix;
    this.#placed = placed;
    const { center, scale, bias } = placed.norm;
    const ofRows = {
      axis: rows,
      buffer: workspaceOf(tile.kernel),
      base: this.#name("statistics"),
      stride: STATISTICS,
    };
    const ofColumns = { axis: rows === "free" ? "k" : "free", base: "0" } as const;
    this.#numbers = [
      ...(center ? [{ word: "mean", offset: 0, ...ofRows } as const] : []),
      { word: "inverse", offset: 1, ...ofRows },
      ...([["scale", scale], ["bias", bias]] as const).flatMap(([word, vector]) => {
        if (vector === undefined) return [];
        const { buffer, offset, columnStride: stride } = vector;
        return [{ word, buffer, offset, stride, ...ofColumns }];
      }),
    ];
  }

  #name(word: string): string {
    return this.#tile.name(`${this.#prefix}_${word}`);
  }

  /** Names where the statistics of the batch entry's rows start. */
  writeBase(): void {
    const { statistics, rows } = this.#placed;
    const entry = `${this.#tile.name("batch")} * ${STATISTICS * rows}`;
    this.#tile.add(`let ${this.#name("statistics")} = ${sumOf(entry, statistics)};`);
  }

  /** Names the numbers of the invocation's own elements, four to a vector. */
  writeOwn(reader: SideReader, own: OwnElements): void {
    for (const numbers of this.#numbers.filter(({ axis }) => axis === "free")) {
      for (let four = 0; four < own.count; four += 4) {
        const places = [0, 1, 2, 3].map((at) => reader.ownPlace(own, four + at));
        const name = this.#name(`${numbers.word}_${four}`);
        this.#tile.add(`let ${name} = ${this.#four(numbers, places)};`);
      }
    }
  }

  /** Names the numbers of some steps. `k` is the variable of the first. */
  writeSteps(k: string, steps: number): void {
    this.#steps = steps;
    for (const numbers of this.#numbers.filter(({ axis }) => axis === "k")) {
      this.#tile.add(`let ${this.#name(numbers.word)} = ${this.#ofSteps(numbers, k, steps)};`);
    }
  }

  #ofSteps(numbers: AxisNumbers, k: string, steps: number): string {
    if (steps === 1) return this.#load(numbers, [k, 0]);
    return this.#four(numbers, Array.from({ length: STEPS }, (_, step) => [k, step]));
  }

  /** The numbers of four places, the first of which is a multiple of four if they have one name. */
  #four(numbers: AxisNumbers, places: readonly Place[]): string {
    const { buffer, base, offset, stride } = numbers;
    const { buffers } = this.#tile.module;
    const [first] = places;
    const inLine = base === "0" && stride === 1 && offset % 4 === 0 &&
      new Set(places.map(([name]) => name)).size === 1;
    if (first !== undefined && inLine && buffers.isWide(buffer)) {
      return buffers.loadFour(buffer, sumOf(first[0], offset));
    }
    return `vec4<f32>(${places.map((place) => this.#load(numbers, place)).join(", ")})`;
  }

  #load({ buffer, base, offset, stride }: AxisNumbers, [name, plus]: Place): string {
    const moved = stride === 0 ? "0" : stride === 1 ? name : `${name} * ${stride}`;
    return this.#tile.module.buffers.load(buffer, sumOf(base, moved, plus * stride + offset));
  }

  /** The elements normalised. */
  taken({ value, at, step, along }: LoadedPart): string {
    let text = value;
    for (const { word, axis } of this.#numbers) {
      if (this.#unscaled && (word === "scale" || word === "bias")) continue;
      const numbers = axis === "free"
        ? this.#ofOwn(word, at, along)
        : this.#ofStep(word, step, along);
      if (word === "mean") text = `(${text} - ${numbers})`;
      else text += `${word === "bias" ? " +" : " *"} ${numbers}`;
    }
    return text;
  }

  #ofOwn(word: string, at: number, along: LoadedPart["along"]): string {
    const four = this.#name(`${word}_${at - at % 4}`);
    return along === "free" ? four : `${four}.${LETTERS[at % 4]}`;
  }

  #ofStep(word: string, step: number, along: LoadedPart["along"]): string {
    const numbers = this.#name(word);
    return along === "k" || this.#steps < STEPS ? numbers : `${numbers}.${LETTERS[step]}`;
  }
}
