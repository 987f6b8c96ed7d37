/** What must hold of a program: a bug in the memory plan becomes an error here that names the step. */
import type { Program, ProgramBuffer, ProgramStep } from "./program.ts";
import { VerifyError } from "./verify.ts";
import { verifyKernel } from "./verify_kernel.ts";

/**
 * Every kernel is well formed, every step binds buffers that fit it and do not collide, and what is
 * read is what was last written there.
 *
 * @throws {VerifyError} When that is not so.
 */
export function verifyProgram(program: Program, alignment: number): void {
  for (const kernel of program.kernels) verifyKernel(kernel);
  for (const buffer of program.buffers) {
    if (buffer.offset % alignment !== 0) {
      throw new VerifyError(`Buffer ${buffer.name} is at ${buffer.offset}, off ${alignment} bytes`);
    }
    if (buffer.offset + buffer.bytes > program.arenaBytes) {
      throw new VerifyError(`Buffer ${buffer.name} ends outside of the arena`);
    }
  }
  program.steps.forEach((step, at) => verifyStep(program, step, at));
  new DataFlow(program).verify();
}

function verifyStep(program: Program, step: ProgramStep, at: number): void {
  const kernel = program.kernels[step.kernel];
  if (kernel === undefined) throw new VerifyError(`Step ${at} runs kernel ${step.kernel}`);
  const bound = kernel.buffers.filter((buffer) => buffer.access !== "scratch");
  if (bound.length !== step.buffers.length) {
    throw new VerifyError(
      `Step ${at}, ${kernel.name}, binds ${step.buffers.length} buffers of ${bound.length}`,
    );
  }
  const ranges = bound.map((wanted, position) => {
    const buffer = program.buffers[step.buffers[position] ?? -1];
    if (
      buffer === undefined || buffer.dtype !== wanted.dtype || buffer.elements < wanted.elements
    ) {
      throw new VerifyError(`Step ${at}, ${kernel.name}, has no fitting buffer ${wanted.name}`);
    }
    return { start: buffer.offset, end: buffer.offset + buffer.bytes, wanted };
  });
  for (const written of ranges.filter((range) => range.wanted.access !== "read")) {
    for (const other of ranges) {
      if (other === written || other.end <= written.start || other.start >= written.end) continue;
      const inPlace = other.wanted.access === "read" && other.start === written.start &&
        other.end === written.end;
      if (inPlace) continue;
      throw new VerifyError(
        `Step ${at}, ${kernel.name}, writes ${written.wanted.name} over ${other.wanted.name}`,
      );
    }
  }
}

/** Follows which buffers hold their values while the steps run. */
class DataFlow {
  readonly #program: Program;
  readonly #filled = new Set<ProgramBuffer>();

  constructor(program: Program) {
    this.#program = program;
  }

  verify(): void {
    const { inputs, outputs, constants, steps } = this.#program;
    for (const { buffer } of [...inputs, ...constants]) this.#fill(this.#buffer(buffer));
    steps.forEach((step, at) => this.#run(step, at));
    for (const { path, buffer } of outputs) this.#requireFilled(buffer, `Output "${path}"`);
    // The next run may leave inputs out.
    for (const { path, buffer } of inputs) this.#requireFilled(buffer, `Input "${path}"`);
    for (const { buffer } of constants) this.#requireFilled(buffer, "A constant");
  }

  #run(step: ProgramStep, at: number): void {
    const kernel = this.#program.kernels[step.kernel];
    const bound = kernel?.buffers.filter((buffer) => buffer.access !== "scratch") ?? [];
    bound.forEach(({ access, name }, position) => {
      const buffer = this.#buffer(step.buffers[position]);
      if (access === "write" || buffer.bytes === 0 || this.#filled.has(buffer)) return;
      throw new VerifyError(
        `Step ${at}, ${kernel?.name}, reads ${name}, but nothing has written ${buffer.name} there ` +
          "since its memory was last used",
      );
    });
    bound.forEach(({ access }, position) => {
      if (access !== "read") this.#fill(this.#buffer(step.buffers[position]));
    });
  }

  #buffer(number: number | undefined): ProgramBuffer {
    const buffer = this.#program.buffers[number ?? -1];
    if (buffer === undefined) throw new VerifyError(`There is no buffer ${number}`);
    return buffer;
  }

  #fill(buffer: ProgramBuffer): void {
    for (const other of this.#filled) {
      const apart = other.offset + other.bytes <= buffer.offset ||
        buffer.offset + buffer.bytes <= other.offset;
      if (!apart) this.#filled.delete(other);
    }
    this.#filled.add(buffer);
  }

  /** A donated input's memory holds its output, under another number. */
  #requireFilled(number: number, what: string): void {
    const buffer = this.#buffer(number);
    const holds = buffer.bytes === 0 ||
      [...this.#filled].some((other) =>
        other.offset === buffer.offset && other.bytes === buffer.bytes &&
        other.dtype === buffer.dtype
      );
    if (!holds) throw new VerifyError(`${what} is not in its memory when the program ends`);
  }
}
