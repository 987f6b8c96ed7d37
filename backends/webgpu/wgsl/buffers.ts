/** A kernel's buffers in WGSL: how each is bound, and how its elements are loaded and stored. */
import { boundBuffers } from "../bindings.ts";
import type { KernelBuffer, ScalarType } from "../../../compiler/loop_ir.ts";
import { scalarType } from "../../../compiler/lower/values.ts";
import { bytesPerElement, type DType, isFloat, isHalf } from "../../../graph/dtype.ts";
import { AUDIT_WORD, type Library } from "./library.ts";
import type { Names } from "./names.ts";

/** Where a kernel's buffer is. */
export interface BufferPlace {
  /** Index of the region. */
  readonly region: number;
  /**
   * Bytes from the region's start to the buffer's first element; not 0 only where buffers share a region,
   * and negative where that element is not in it.
   */
  readonly offset: number;
}

/** A kernel's memory: one region for each buffer and one binding for each region, as a rule. */
export interface BindingLayout {
  /** Of each region, the bytes that each of its bindings covers. */
  readonly regions: readonly (readonly number[])[];
  /** One for each of the kernel's buffers that may be bound, in order; undefined where it is not. */
  readonly places: readonly (BufferPlace | undefined)[];
  /** A region of one word, for the largest magnitude that was rounded. */
  readonly auditRegion?: number;
}

/** What the elements of a binding's array are where four of the buffer's are loaded at once. */
type WideElement = "vec4<f32>" | "vec4<f16>" | "vec2<u32>";
/** What the elements of a binding's array are. */
type Element = "f32" | "i32" | "u32" | "f16" | "atomic<u32>" | WideElement;

const WORDS: Readonly<Record<Element, number>> = {
  "f32": 1,
  "i32": 1,
  "u32": 1,
  "f16": 0.5,
  "atomic<u32>": 1,
  "vec4<f32>": 4,
  "vec4<f16>": 2,
  "vec2<u32>": 2,
};

interface DeclaredBinding {
  readonly name: string;
  readonly element: Element;
  readonly words: number;
}

interface BoundBuffer {
  /** What it lies in, one after the other. */
  readonly bindings: readonly DeclaredBinding[];
  readonly element: Element;
  readonly dtype: DType;
  /** Offset in elements of the buffer's type. */
  readonly base: number;
}

/**
 * What a binding's array is of. Where a device has no half floats, two lie in a word, and who writes one
 * leaves the other alone.
 */
function elementOf(buffers: readonly KernelBuffer[], hasF16: boolean): Element {
  if (hasF16 && buffers.length > 0 && buffers.every(({ dtype }) => dtype === "f16")) return "f16";
  if (buffers.some(({ dtype, access }) => isHalf(dtype) && access !== "read")) return "atomic<u32>";
  const elements = new Set(buffers.map(({ dtype }) => isHalf(dtype) ? "u32" : scalarOf(dtype)));
  const [only] = elements;
  return elements.size === 1 && only !== undefined ? only : "u32";
}

function isWideElement(element: Element | undefined): element is WideElement {
  return element === "vec4<f32>" || element === "vec4<f16>" || element === "vec2<u32>";
}

/**
 * What the binding can be an array of for four elements at once: all in it are of one float type, in
 * whole fours, and only read, or f32 that are stored by fours. Undefined where that is not so.
 */
function wideElement(
  buffers: readonly KernelBuffer[],
  places: readonly (BufferPlace | undefined)[],
  bytes: number,
  { wide, f16 }: WideOptions,
): WideElement | undefined {
  const types = new Set(buffers.map(({ dtype }) => dtype));
  const [dtype] = types;
  if (dtype === undefined || types.size > 1 || !isFloat(dtype)) return undefined;
  const element = dtype === "f32"
    ? "vec4<f32>"
    : dtype === "f16" && f16
    ? "vec4<f16>"
    : "vec2<u32>";
  const size = WORDS[element] * WORD;
  const fits = bytes % size === 0 && places.every((place) => (place?.offset ?? 0) % size === 0);
  const isMoved = (buffer: KernelBuffer) =>
    buffer.access === "read" || (dtype === "f32" && wide.has(buffer));
  return fits && buffers.every(isMoved) ? element : undefined;
}

interface WideOptions {
  /** Buffers that are best loaded, or are only stored, by fours. */
  readonly wide: ReadonlySet<KernelBuffer>;
  /** Whether shaders have 16-bit floats. */
  readonly f16: boolean;
}

function scalarOf(dtype: DType): "f32" | "i32" | "u32" {
  return dtype === "f32" || dtype === "i32" ? dtype : "u32";
}

/** The buffers of one kernel. */
export class WgslBuffers {
  readonly #library: Library;
  readonly #names: Names;
  readonly #regions: readonly (readonly DeclaredBinding[])[];
  readonly #bound: readonly (BoundBuffer | undefined)[];
  readonly #dtypes: readonly DType[];
  /** What else is declared: functions for what lies in several bindings, by what they do and where. */
  readonly #functions = new Map<string, { readonly name: string; readonly text: string }>();

  /**
   * @param wide Buffers that are best read, or are only stored, by fours; {@linkcode isWide} tells which
   * of them can be.
   * @param f16 Whether shaders have 16-bit floats.
   */
  constructor(
    buffers: readonly KernelBuffer[],
    layout: BindingLayout,
    names: Names,
    library: Library,
    { wide = new Set(), f16 = false }: {
      readonly wide?: ReadonlySet<KernelBuffer>;
      readonly f16?: boolean;
    } = {},
  ) {
    this.#library = library;
    this.#names = names;
    const bound = boundBuffers(buffers);
    this.#dtypes = bound.map(({ dtype }) => dtype);
    this.#regions = layout.regions.map((parts, region) => {
      if (region === layout.auditRegion) {
        const name = names.unique(AUDIT_WORD);
        return [{ name, element: "atomic<u32>", words: 1 }];
      }
      const here = bound.filter((_, at) => layout.places[at]?.region === region);
      const places = layout.places.filter((place) => place?.region === region);
      const byFours = parts.length === 1 && here.some((buffer) => wide.has(buffer))
        ? wideElement(here, places, parts[0] ?? 0, { wide, f16 })
        : undefined;
      const name = [...new Set(here.map((buffer) => buffer.name))].slice(0, 3).join("_");
      return parts.map((bytes) => ({
        name: names.unique(name || "unused"),
        element: byFours ?? elementOf(here, f16 && parts.length === 1),
        words: Math.max(1, Math.ceil(bytes / WORD)),
      }));
    });
    this.#bound = bound.map((buffer, at) => {
      const place = layout.places[at];
      if (place === undefined) return undefined;
      const region = this.#regions[place.region];
      if (region === undefined) {
        throw new RangeError(`Buffer ${buffer.name} is not bound`);
      }
      return boundBuffer(buffer, place.offset, region);
    });
  }

  /** The module's binding declarations, all in group 0, and functions that choose between them. */
  declarations(): string[] {
    const bindings = this.#regions.flat().map(({ name, element, words }, at) => {
      const length = words / WORDS[element];
      return `@group(0) @binding(${at}) var<storage, read_write> ${name}: array<${element}, ${length}>;`;
    });
    return [...bindings, ...[...this.#functions.values()].map(({ text }) => text)];
  }

  /** Whether the declarations take the extension `f16`. */
  get takesF16(): boolean {
    return this.#regions.some((parts) => parts.some(({ element }) => element.includes("f16")));
  }

  /** The buffer's name in WGSL. */
  nameOf(buffer: number): string {
    return this.#at(buffer)?.bindings[0]?.name ?? "unused";
  }

  /** Whether four elements can be loaded at once. */
  isWide(buffer: number): boolean {
    return isWideElement(this.#at(buffer)?.element);
  }

  /** The four elements from an index on that is a multiple of four, as f32; of a wide buffer. */
  loadFour(buffer: number, index: string): string {
    const { base = 0, element, dtype } = this.#at(buffer) ?? {};
    const four = `${this.nameOf(buffer)}[(${shifted(index, base)}) >> 2u]`;
    if (element === "vec4<f16>") return `vec4<f32>(${four})`;
    return element === "vec2<u32>" ? `${this.#library.use(`four_from_${dtype}`)}(${four})` : four;
  }

  /** A statement that stores four f32 from such an index on; of a wide buffer. */
  storeFour(buffer: number, index: string, values: string): string {
    const base = this.#at(buffer)?.base ?? 0;
    return `${this.nameOf(buffer)}[(${shifted(index, base)}) >> 2u] = ${values};`;
  }

  /** The element at an index (text of type i32), as its scalar type; of a buffer that is not bound, 0. */
  load(buffer: number, index: string): string {
    const bound = this.#at(buffer);
    if (bound === undefined) return this.#absent(scalarType(this.#dtypes[buffer] ?? "f32"));
    const { element, dtype, base } = bound;
    const place = shifted(index, base);
    if (element === "vec2<u32>") return `${this.loadFour(buffer, index)}[(${place}) & 3]`;
    if (isWideElement(element)) {
      const one = `${this.nameOf(buffer)}[(${place}) >> 2u][(${place}) & 3]`;
      return element === "vec4<f16>" ? `f32(${one})` : one;
    }
    if (element === "f16") return `f32(${this.nameOf(buffer)}[${place}])`;
    if (isHalf(dtype)) {
      const word = this.#word(bound, `(${place}) >> 1u`);
      const bits = `(${word} >> ((u32(${place}) & 1u) * 16u)) & 0xffffu`;
      return `${this.#library.use(`from_${dtype}`)}(${bits})`;
    }
    const word = this.#word(bound, place);
    const held = scalarIn(element);
    if (dtype === "bool") {
      return held === "u32" ? `(${word} != 0u)` : `(bitcast<u32>(${word}) != 0u)`;
    }
    return held === dtype ? word : `bitcast<${dtype}>(${word})`;
  }

  /** Statements that store a value (text of the scalar type) at an index; none where it is not bound. */
  store(buffer: number, index: string, value: string): string[] {
    const bound = this.#at(buffer);
    if (bound === undefined) return [];
    const { element, dtype, base } = bound;
    const place = shifted(index, base);
    if (element === "f16") {
      // WGSL leaves open how it rounds: what is stored is one of f16's numbers already. Sums and such are
      // in parentheses, so text that begins with a call is one.
      const round = `${this.#library.use("round_to_f16")}(`;
      const rounded = value.startsWith(round) ? value : `${round}${value})`;
      return [`${this.nameOf(buffer)}[${place}] = f16(${rounded});`];
    }
    if (isHalf(dtype)) {
      const bits = `${this.#library.use(`to_${dtype}`)}(${value})`;
      const shift = `((u32(${place}) & 1u) * 16u)`;
      return this.#put(bound, "merge", `(${place}) >> 1u`, [
        `~(0xffffu << ${shift})`,
        `${bits} << ${shift}`,
      ]);
    }
    const typed = dtype === "bool" ? `select(0u, 1u, ${value})` : value;
    const from = dtype === "bool" ? "u32" : dtype;
    const held = scalarIn(element);
    const word = from === held ? typed : `bitcast<${held}>(${typed})`;
    return this.#put(bound, "store", place, [word]);
  }

  /** The word at a place, counted from the first binding's start. */
  #word({ bindings, element }: BoundBuffer, place: string): string {
    const [only] = bindings;
    if (only !== undefined && bindings.length === 1) return wordIn(only, place);
    const name = this.#function("load", bindings, (name) => [
      `fn ${name}(place: i32) -> ${scalarIn(element)} {`,
      ...choice(bindings, (binding, place) => `return ${wordIn(binding, place)};`),
      "}",
    ]);
    return `${name}(${place})`;
  }

  /** Statements that put values at a place, counted from the first binding's start. */
  #put(
    { bindings, element }: BoundBuffer,
    how: "store" | "merge",
    place: string,
    values: readonly string[],
  ): string[] {
    const [only] = bindings;
    if (only !== undefined && bindings.length === 1) return putIn(only, how, place, values);
    const parameters = how === "merge" ? ["kept", "added"] : ["value"];
    const name = this.#function(how, bindings, (name) => [
      `fn ${name}(place: i32, ${
        parameters.map((one) => `${one}: ${scalarIn(element)}`).join(", ")
      }) {`,
      ...choice(
        bindings,
        (binding, place) => `${putIn(binding, how, place, parameters).join(" ")} return;`,
      ),
      "}",
    ]);
    return [`${name}(${place}, ${values.join(", ")});`];
  }

  #function(
    how: "load" | "store" | "merge",
    bindings: readonly DeclaredBinding[],
    write: (name: string) => string[],
  ): string {
    const key = [how, ...bindings.map(({ name }) => name)].join();
    const known = this.#functions.get(key);
    if (known !== undefined) return known.name;
    const name = this.#names.unique(`${how}_${bindings[0]?.name ?? ""}`);
    this.#functions.set(key, { name, text: write(name).join("\n") });
    return name;
  }

  /** A zero that is no constant: what is computed of constants must be defined, even if nothing runs it. */
  #absent(type: ScalarType): string {
    const known = this.#functions.get(`absent ${type}`);
    if (known !== undefined) return known.name;
    const name = this.#names.unique(`absent_${type}`);
    this.#functions.set(`absent ${type}`, { name, text: `var<private> ${name}: ${type};` });
    return name;
  }

  /** Undefined where the layout has no place for it: it is in the text, but no index is in range. */
  #at(buffer: number): BoundBuffer | undefined {
    if (buffer in this.#bound) return this.#bound[buffer];
    throw new RangeError(`The kernel binds no buffer ${buffer}`);
  }
}

const WORD = 4;

/** The part of a region's bindings that a buffer lies in. */
function boundBuffer(
  { dtype, elements }: KernelBuffer,
  offset: number,
  region: readonly DeclaredBinding[],
): BoundBuffer {
  const size = bytesPerElement(dtype);
  const last = offset + Math.max(elements - 1, 0) * size;
  const first = Math.max(offset, 0);
  let start = 0;
  let from = 0;
  const bindings: DeclaredBinding[] = [];
  for (const binding of region) {
    const end = start + binding.words * WORD;
    if (first < end && last >= start) {
      if (bindings.length === 0) from = start;
      bindings.push(binding);
    }
    start = end;
  }
  const element = region[0]?.element ?? "u32";
  return { bindings, element, dtype, base: (offset - from) / size };
}

function scalarIn(element: Element): "f32" | "i32" | "u32" {
  if (element === "vec4<f32>") return "f32";
  return element === "f32" || element === "i32" ? element : "u32";
}

function wordIn({ name, element }: DeclaredBinding, place: string): string {
  return element === "atomic<u32>" ? `atomicLoad(&${name}[${place}])` : `${name}[${place}]`;
}

function putIn(
  { name, element }: DeclaredBinding,
  how: "store" | "merge",
  place: string,
  [first = "", second = ""]: readonly string[],
): string[] {
  const word = `${name}[${place}]`;
  if (how === "merge") return [`atomicAnd(&${word}, ${first});`, `atomicOr(&${word}, ${second});`];
  return element === "atomic<u32>" ? [`atomicStore(&${word}, ${first});`] : [`${word} = ${first};`];
}

/** Statements that find the binding that a place is in. */
function choice(
  bindings: readonly DeclaredBinding[],
  use: (binding: DeclaredBinding, place: string) => string,
): string[] {
  let start = 0;
  return bindings.map((binding, at) => {
    const place = start === 0 ? "place" : `place - ${start}`;
    start += binding.words;
    const statement = use(binding, place);
    return at === bindings.length - 1
      ? `  ${statement}`
      : `  if (place < ${start}) { ${statement} }`;
  });
}

function shifted(index: string, base: number): string {
  if (base === 0) return index;
  return base > 0 ? `${index} + ${base}` : `${index} - ${-base}`;
}
