/** Index arithmetic of strided views, as WGSL text. */
import { mergeAxes, type StridedAxis } from "../../strided_axes.ts";

/** Strided axes that one flat, row-major number runs over, outermost first. */
export class Strides {
  /** Product of the extents. */
  readonly extent: number;
  /** With neighbours through which memory is walked at one stride as one axis. */
  readonly #axes: readonly StridedAxis[];

  constructor(axes: readonly StridedAxis[]) {
    this.extent = sizeOf(axes.map(({ extent }) => extent));
    this.#axes = mergeAxes(axes);
  }

  /** Elements between neighbours of the innermost axis. */
  get step(): number {
    return this.#axes.at(-1)?.stride ?? 0;
  }

  /** Whether all steps are alike. */
  get isEven(): boolean {
    return this.#axes.length <= 1;
  }

  /** Whether no step moves anything. */
  get stays(): boolean {
    return this.#axes.every(({ stride }) => stride === 0);
  }

  /** Whether four elements from any multiple of four on are neighbours, and there are whole fours. */
  get comesInFours(): boolean {
    const last = this.#axes.at(-1);
    return last?.stride === 1 && last.extent % 4 === 0 &&
      this.#axes.slice(0, -1).every(({ stride }) => stride % 4 === 0);
  }

  /** Whether every step moves a multiple of four elements. */
  get movesByFours(): boolean {
    return this.#axes.every(({ stride }) => stride % 4 === 0);
  }

  /** Where a number leads to, with as few divisions as can be. `flat` is cheap text of type i32. */
  offset(flat: string): string {
    const indices = axisIndices(flat, this.#axes.map(({ extent }) => extent));
    return sumOf(...this.#axes.map(({ stride }, at) => {
      const index = indices[at] ?? "0";
      return stride === 0 ? 0 : scaled(/^\w+$/.test(index) ? index : `(${index})`, stride);
    }));
  }
}

/** The index along each axis of a flat, row-major number. */
export function axisIndices(flat: string, extents: readonly number[]): string[] {
  let inner = 1;
  const texts: string[] = [];
  for (let at = extents.length - 1; at >= 0; at--) {
    const extent = extents[at] ?? 1;
    const quotient = inner === 1 ? flat : `${flat} / ${inner}`;
    texts.unshift(extent === 1 ? "0" : at === 0 ? quotient : `${quotient} % ${extent}`);
    inner *= extent;
  }
  return texts;
}

/** The sum of texts and numbers, without zeros. */
export function sumOf(...terms: readonly (string | number)[]): string {
  const constant = terms.reduce<number>(
    (sum, term) => typeof term === "number" ? sum + term : sum,
    0,
  );
  const texts = terms.filter((term) => typeof term === "string" && term !== "0");
  if (texts.length === 0) return String(constant);
  const sum = texts.join(" + ");
  if (constant === 0) return sum;
  return constant < 0 ? `${sum} - ${-constant}` : `${sum} + ${constant}`;
}

/** `name * by + plus`. */
export function scaled(name: string, by: number, plus = 0): string {
  return sumOf(by === 1 ? name : `${name} * ${by}`, plus);
}

/** The product of extents. */
export function sizeOf(extents: readonly number[]): number {
  return extents.reduce((total, extent) => total * extent, 1);
}
