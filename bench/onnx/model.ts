/** ONNX models as plain data: the part of the format that the benchmark's graphs take. */

/** Numbers in a model, in the order that their shape says. */
export type OnnxData = Float32Array<ArrayBuffer> | BigInt64Array<ArrayBuffer>;

/** What an attribute may be: an f32, whole numbers, or one whole number. */
export type OnnxAttribute = { readonly float: number } | readonly number[] | number;

/** Element types by the format's numbers. */
export const ELEMENT_TYPES = { f32: 1, i64: 7 } as const;

const ATTRIBUTE_TYPES = { float: 1, int: 2, ints: 7 } as const;

/** An attribute as the format has it. */
export interface OnnxAttributeRecord {
  readonly name: string;
  readonly type: number;
  readonly f?: number;
  readonly i?: number;
  readonly ints?: readonly number[];
}

/** An op's use in a graph. */
export interface OnnxNode {
  readonly opType: string;
  readonly name: string;
  readonly input: readonly string[];
  readonly output: readonly string[];
  readonly attribute: readonly OnnxAttributeRecord[];
}

/** Numbers that are part of the model. */
export interface OnnxInitializer {
  readonly name: string;
  readonly dims: readonly number[];
  readonly dataType: number;
  /** Little-endian bytes. */
  readonly rawData: Uint8Array<ArrayBuffer>;
}

/** The name, element type and shape of an input or output. */
export interface OnnxValueInfo {
  readonly name: string;
  readonly type: {
    readonly tensorType: {
      readonly elemType: number;
      readonly shape: { readonly dim: readonly { readonly dimValue: number }[] };
    };
  };
}

/** A model, in the field names of the format's schema. */
export interface OnnxModel {
  readonly irVersion: number;
  readonly producerName: string;
  readonly opsetImport: readonly { readonly domain: string; readonly version: number }[];
  readonly graph: {
    readonly name: string;
    readonly node: readonly OnnxNode[];
    readonly initializer: readonly OnnxInitializer[];
    readonly input: readonly OnnxValueInfo[];
    readonly output: readonly OnnxValueInfo[];
  };
}

/** The first opset with LayerNormalization, and the one that `torch.onnx` writes at its default. */
const OPSET = 17;
const IR_VERSION = 8;

/** A graph under construction. Values are known by their names. */
export class OnnxGraph {
  readonly #name: string;
  readonly #nodes: OnnxNode[] = [];
  readonly #initializers: OnnxInitializer[] = [];
  readonly #inputs: OnnxValueInfo[] = [];
  readonly #outputs: OnnxValueInfo[] = [];
  readonly #used = new Set<string>();

  constructor(name: string) {
    this.#name = name;
  }

  /** An f32 input of the model. */
  input(name: string, shape: readonly number[]): string {
    this.#inputs.push(valueInfo(this.#unused(name), shape));
    return name;
  }

  /** Makes a value an output of the model, f32 of this shape. */
  output(name: string, shape: readonly number[]): void {
    this.#outputs.push(valueInfo(name, shape));
  }

  /**
   * Numbers that are part of the model.
   *
   * @throws {RangeError} When they are not as many as the shape says, or the name is taken.
   */
  initializer(name: string, shape: readonly number[], data: OnnxData): string {
    const size = shape.reduce((product, length) => product * length, 1);
    if (data.length !== size) {
      throw new RangeError(
        `ONNX initializer "${name}" has ${data.length} numbers, wanted ${size} for its shape`,
      );
    }
    this.#initializers.push({
      name: this.#unused(name),
      dims: shape,
      dataType: data instanceof Float32Array ? ELEMENT_TYPES.f32 : ELEMENT_TYPES.i64,
      rawData: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
    });
    return name;
  }

  /** Whole numbers that are part of the model: a shape, or an index without one. */
  integers(name: string, values: readonly number[], shape: readonly number[] = [values.length]) {
    return this.initializer(name, shape, BigInt64Array.from(values, BigInt));
  }

  /** One f32 without a shape. */
  scalar(name: string, value: number): string {
    return this.initializer(name, [], Float32Array.of(value));
  }

  /**
   * Uses an op; gives its output's name, which is the node's too.
   *
   * @throws {RangeError} When an input is no value of the graph so far, or the name is taken.
   */
  node(
    opType: string,
    name: string,
    input: readonly string[],
    attributes: Readonly<Record<string, OnnxAttribute>> = {},
  ): string {
    const unknown = input.find((value) => !this.#used.has(value));
    if (unknown !== undefined) {
      throw new RangeError(`ONNX node "${name}" reads "${unknown}", which nothing before it gives`);
    }
    this.#nodes.push({
      opType,
      name: this.#unused(name),
      input,
      output: [name],
      attribute: Object.entries(attributes).map(([key, value]) => attributeRecord(key, value)),
    });
    return name;
  }

  /**
   * The model.
   *
   * @throws {RangeError} When an output is no value of the graph.
   */
  build(): OnnxModel {
    const missing = this.#outputs.find(({ name }) => !this.#used.has(name));
    if (missing !== undefined) {
      throw new RangeError(`ONNX output "${missing.name}" is no value of the graph`);
    }
    return {
      irVersion: IR_VERSION,
      producerName: "fovea-bench",
      opsetImport: [{ domain: "", version: OPSET }],
      graph: {
        name: this.#name,
        node: this.#nodes,
        initializer: this.#initializers,
        input: this.#inputs,
        output: this.#outputs,
      },
    };
  }

  #unused(name: string): string {
    if (this.#used.has(name)) throw new RangeError(`ONNX name "${name}" is taken`);
    this.#used.add(name);
    return name;
  }
}

function valueInfo(name: string, shape: readonly number[]): OnnxValueInfo {
  const dim = shape.map((dimValue) => ({ dimValue }));
  return { name, type: { tensorType: { elemType: ELEMENT_TYPES.f32, shape: { dim } } } };
}

function attributeRecord(name: string, value: OnnxAttribute): OnnxAttributeRecord {
  if (typeof value === "number") return { name, type: ATTRIBUTE_TYPES.int, i: value };
  if ("float" in value) return { name, type: ATTRIBUTE_TYPES.float, f: value.float };
  return { name, type: ATTRIBUTE_TYPES.ints, ints: value };
}
