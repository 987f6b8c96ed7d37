/** Small graphs, lowered, interpreted and compared with the f64 reference. */
import { evaluateGraph } from "../../backends/reference/evaluate.ts";
import type { LowerOptions } from "../../compiler/pipeline.ts";
import type { Program } from "../../compiler/program.ts";
import type { DType } from "../../graph/dtype.ts";
import type { Node } from "../../graph/node.ts";
import type { ReferenceTensor } from "../../graph/op.ts";
import { bindDim, staticSize } from "../../graph/shape.ts";
import { assert } from "./assert.ts";
import { errorAgainst } from "./conformance.ts";
import { InterpretedProgram } from "./interpret_program.ts";
import { lowered, moduleOf } from "./lowered.ts";

/** Error allowed, relative to the largest magnitude of an output, which counts as at least `LEAST`. */
const TOLERANCE = 1e-5;
const LEAST = 0.1;

/** Numbers that every element type holds exactly enough, different at every place. */
function defaultValue(dtype: DType, at: number, seed: number): number {
  switch (dtype) {
    case "f32":
      return Math.fround(Math.sin(at * 1.7 + seed));
    case "f16":
    case "bf16":
      return ((at * 5 + seed) % 33) / 16 - 1;
    case "bool":
      return (at + seed) % 3 === 0 ? 1 : 0;
    case "i32":
      return (at * 7 + seed) % 11 - 3;
    case "u32":
      return (at * 7 + seed) % 11;
  }
}

/** Values of all inputs of the graph: those given, and different numbers for the others. */
export function inputValues(
  inputs: ReadonlyMap<string, Node>,
  given: Readonly<Record<string, readonly number[]>> = {},
  options: Partial<LowerOptions> = {},
): Map<string, ReferenceTensor> {
  const values = new Map<string, ReferenceTensor>();
  for (const [path, node] of inputs) {
    const seed = values.size;
    const shape = node.shape.map((size) => bindDim(size, options.bind ?? {}));
    const numbers = given[path] ??
      Array.from(
        { length: staticSize(shape) },
        (_, at) => defaultValue(node.dtype, at, seed),
      );
    values.set(path, { dtype: node.dtype, shape, data: Float64Array.from(numbers) });
  }
  return values;
}

function text(values: ArrayLike<number>): string {
  const shown = Array.from(values).slice(0, 12).map((value) => Number(value.toPrecision(6)));
  return values.length > shown.length ? `${shown}, … ${values.length}` : String(shown);
}

/**
 * Lowers the graph of the outputs, runs it interpreted, and asserts that every output is what the
 * reference says. Returns the program.
 *
 * @param tolerance Error allowed, relative to the largest magnitude of an output (at least 0.1).
 */
export function assertLowersRight(
  outputs: Record<string, Node>,
  given: Readonly<Record<string, readonly number[]>> = {},
  options: Partial<LowerOptions> = {},
  tolerance: number = TOLERANCE,
): Program {
  const { inputs } = moduleOf(outputs);
  const values = inputValues(inputs, given, options);
  const program = lowered(outputs, options);
  const interpreted = new InterpretedProgram(program);
  for (const [path, value] of values) interpreted.write(path, value.data);
  interpreted.run();
  const expected = evaluateGraph(Object.values(outputs), values, options.bind);
  for (const [path, node] of Object.entries(outputs)) {
    const wanted = expected.get(node)?.data ?? new Float64Array();
    const found = interpreted.read(path);
    const error = errorAgainst(found, wanted, LEAST);
    assert(
      error <= tolerance,
      `Output "${path}" is off by ${error}: wanted [${text(wanted)}], found [${text(found)}]`,
    );
  }
  return program;
}
