/** Runs a lowered program with the loop IR interpreter, in one arena with all its overlaps. */
import type { DType } from "../../graph/dtype.ts";
import { interpretKernel } from "../../backends/reference/loop_interpreter.ts";
import { type BufferData, readElement, writeElement } from "../../backends/reference/storage.ts";
import type { Program, ProgramPort } from "../../compiler/program.ts";

/** An interpreted program's memory. */
export class InterpretedProgram {
  readonly #program: Program;
  readonly #arena: ArrayBuffer;

  constructor(program: Program) {
    this.#program = program;
    this.#arena = new ArrayBuffer(program.arenaBytes);
    // What nothing has written must not happen to look right.
    new Uint8Array(this.#arena).fill(0x7f);
    for (const constant of program.constants) this.#view(constant.buffer).set(constant.data);
  }

  /** Sets an input to numbers, rounded to its element type. */
  write(path: string, values: ArrayLike<number>): void {
    const port = this.#port(this.#program.inputs, path);
    const data = this.#view(port.buffer);
    for (let at = 0; at < values.length; at++) {
      writeElement(data, port.dtype, at, values[at] ?? NaN);
    }
  }

  run(): void {
    for (const step of this.#program.steps) {
      const kernel = this.#program.kernels[step.kernel];
      if (kernel === undefined) throw new RangeError(`No kernel ${step.kernel}`);
      for (const { buffers, sizes } of step.members) {
        interpretKernel(kernel, buffers.map((buffer) => this.#view(buffer)), sizes);
      }
    }
  }

  /** An output's numbers. */
  read(path: string): number[] {
    const port = this.#port(this.#program.outputs, path);
    const data = this.#view(port.buffer);
    return Array.from(data, (_, at) => readElement(data, port.dtype, at));
  }

  #port(ports: readonly ProgramPort[], path: string): ProgramPort {
    const port = ports.find((candidate) => candidate.path === path);
    if (port === undefined) throw new RangeError(`No input or output "${path}"`);
    return port;
  }

  #view(buffer: number): BufferData {
    const declared = this.#program.buffers[buffer];
    if (declared === undefined) throw new RangeError(`No buffer ${buffer}`);
    return arrayOf(declared.dtype, this.#arena, declared.offset, declared.elements);
  }
}

function arrayOf(dtype: DType, memory: ArrayBuffer, offset: number, length: number): BufferData {
  switch (dtype) {
    case "f32":
      return new Float32Array(memory, offset, length);
    case "i32":
      return new Int32Array(memory, offset, length);
    case "u32":
    case "bool":
      return new Uint32Array(memory, offset, length);
    case "f16":
    case "bf16":
      return new Uint16Array(memory, offset, length);
  }
}
