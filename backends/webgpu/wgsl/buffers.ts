/** A kernel's buffers in WGSL: how each is bound, and how its elements are loaded and stored. */
import type { KernelBuffer } from "../../../compiler/loop_ir.ts";
import type { DType } from "../../../graph/dtype.ts";
import type { Library } from "./library.ts";
import type { Names } from "./names.ts";

/** Where a kernel's buffer is bound. */
export interface BufferPlace {
  /** Index of the binding. */
  readonly binding: number;
  /** Bytes from the binding's start; not 0 only where buffers share one. */
  readonly offset: number;
}

/** A kernel's bindings: one for each buffer, as a rule. */
export interface BindingLayout {
  /** Bytes that each binding covers. */
  readonly bindings: readonly number[];
  /** One for each of the kernel's buffers that is bound, in order. */
  readonly places: readonly BufferPlace[];
}

/** What the elements of a binding's array are. */
type Element = "f32" | "i32" | "u32" | "atomic<u32>" | "vec4<f32>";

interface DeclaredBinding {
  readonly name: string;
  readonly element: Element;
  readonly words: number;
}

interface BoundBuffer {
  readonly binding: DeclaredBinding;
  readonly dtype: DType;
  /** Offset in elements of the buffer's type. */
  readonly base: number;
}

/** Half floats lie two to a word; who writes one must leave its neighbour alone. */
function isHalf(dtype: DType): boolean {
  return dtype === "f16" || dtype === "bf16";
}

function elementOf(buffers: readonly KernelBuffer[]): Element {
  if (buffers.some(({ dtype, access }) => isHalf(dtype) && access !== "read")) return "atomic<u32>";
  const elements = new Set(buffers.map(({ dtype }) => isHalf(dtype) ? "u32" : scalarOf(dtype)));
  const [only] = elements;
  return elements.size === 1 && only !== undefined ? only : "u32";
}

/** Whether the binding can be an array of vec4: all in it are f32 that are only read, in whole fours. */
function canBeWide(
  buffers: readonly KernelBuffer[],
  places: readonly (BufferPlace | undefined)[],
  bytes: number,
): boolean {
  return bytes % 16 === 0 &&
    buffers.every(({ dtype, access }) => dtype === "f32" && access === "read") &&
    places.every((place) => (place?.offset ?? 0) % 16 === 0);
}

function scalarOf(dtype: DType): "f32" | "i32" | "u32" {
  return dtype === "f32" || dtype === "i32" ? dtype : "u32";
}

/** The buffers of one kernel. */
export class WgslBuffers {
  readonly #library: Library;
  readonly #bindings: readonly DeclaredBinding[];
  readonly #bound: readonly BoundBuffer[];

  /** @param wide Buffers that are best read by fours; {@linkcode isWide} tells which of them can be. */
  constructor(
    buffers: readonly KernelBuffer[],
    layout: BindingLayout,
    names: Names,
    library: Library,
    wide: ReadonlySet<KernelBuffer> = new Set(),
  ) {
    this.#library = library;
    const bound = buffers.filter(({ access }) => access !== "scratch");
    this.#bindings = layout.bindings.map((bytes, binding) => {
      const here = bound.filter((_, at) => layout.places[at]?.binding === binding);
      const places = layout.places.filter((place) => place.binding === binding);
      const byFours = here.some((buffer) => wide.has(buffer)) && canBeWide(here, places, bytes);
      const name = [...new Set(here.map((buffer) => buffer.name))].slice(0, 3).join("_");
      return {
        name: names.unique(name || "unused"),
        element: byFours ? "vec4<f32>" : elementOf(here),
        words: Math.max(1, Math.ceil(bytes / 4)),
      };
    });
    this.#bound = bound.map(({ dtype, name }, at) => {
      const place = layout.places[at];
      const binding = this.#bindings[place?.binding ?? -1];
      if (place === undefined || binding === undefined) {
        throw new RangeError(`Buffer ${name} is not bound`);
      }
      return { binding, dtype, base: place.offset / (isHalf(dtype) ? 2 : 4) };
    });
  }

  /** The module's binding declarations, all in group 0. */
  declarations(): string[] {
    return this.#bindings.map(({ name, element, words }, at) => {
      const length = element === "vec4<f32>" ? words / 4 : words;
      return `@group(0) @binding(${at}) var<storage, read_write> ${name}: array<${element}, ${length}>;`;
    });
  }

  /** The buffer's name in WGSL. */
  nameOf(buffer: number): string {
    return this.#at(buffer).binding.name;
  }

  /** Whether elements are plain f32 words of a binding of their own, from its start. */
  isPlainF32(buffer: number): boolean {
    const { binding, dtype, base } = this.#at(buffer);
    return dtype === "f32" && binding.element === "f32" && base === 0;
  }

  /** Whether four f32 can be loaded at once. */
  isWide(buffer: number): boolean {
    return this.#at(buffer).binding.element === "vec4<f32>";
  }

  /** The four elements from an index on that is a multiple of four, as a vec4; of a wide buffer. */
  loadFour(buffer: number, index: string): string {
    const { binding, base } = this.#at(buffer);
    return `${binding.name}[(${shifted(index, base)}) >> 2u]`;
  }

  /** The element at an index (text of type i32), as its scalar type. */
  load(buffer: number, index: string): string {
    const { binding, dtype, base } = this.#at(buffer);
    const place = shifted(index, base);
    if (binding.element === "vec4<f32>") {
      return `${binding.name}[(${place}) >> 2u][(${place}) & 3]`;
    }
    if (isHalf(dtype)) {
      const word = this.#word(binding, `(${place}) >> 1u`);
      const bits = `(${word} >> ((u32(${place}) & 1u) * 16u)) & 0xffffu`;
      return `${this.#library.use(`from_${dtype}`)}(${bits})`;
    }
    const word = this.#word(binding, place);
    if (dtype === "bool") {
      return binding.element === "u32" || binding.element === "atomic<u32>"
        ? `(${word} != 0u)`
        : `(bitcast<u32>(${word}) != 0u)`;
    }
    const held = binding.element === "atomic<u32>" ? "u32" : binding.element;
    return held === dtype ? word : `bitcast<${dtype}>(${word})`;
  }

  /** Statements that store a value (text of the scalar type) at an index. */
  store(buffer: number, index: string, value: string): string[] {
    const { binding, dtype, base } = this.#at(buffer);
    const place = shifted(index, base);
    if (isHalf(dtype)) {
      const bits = `${this.#library.use(`to_${dtype}`)}(${value})`;
      const shift = `((u32(${place}) & 1u) * 16u)`;
      const word = `&${binding.name}[(${place}) >> 1u]`;
      return [
        `atomicAnd(${word}, ~(0xffffu << ${shift}));`,
        `atomicOr(${word}, ${bits} << ${shift});`,
      ];
    }
    const typed = dtype === "bool" ? `select(0u, 1u, ${value})` : value;
    const from = dtype === "bool" ? "u32" : dtype;
    if (binding.element === "atomic<u32>") {
      const word = from === "u32" ? typed : `bitcast<u32>(${typed})`;
      return [`atomicStore(&${binding.name}[${place}], ${word});`];
    }
    const word = from === binding.element ? typed : `bitcast<${binding.element}>(${typed})`;
    return [`${binding.name}[${place}] = ${word};`];
  }

  #word({ name, element }: DeclaredBinding, place: string): string {
    return element === "atomic<u32>" ? `atomicLoad(&${name}[${place}])` : `${name}[${place}]`;
  }

  #at(buffer: number): BoundBuffer {
    const found = this.#bound[buffer];
    if (found === undefined) throw new RangeError(`The kernel binds no buffer ${buffer}`);
    return found;
  }
}

function shifted(index: string, base: number): string {
  return base === 0 ? index : `${index} + ${base}`;
}
