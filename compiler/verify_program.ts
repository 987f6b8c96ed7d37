/** What must hold of a program: a bug in the memory plan becomes an error here that names the step. */
import type { Kernel } from "./loop_ir.ts";
import type { Program, ProgramBuffer, ProgramStep, StepMember } from "./program.ts";
import { sizeIn } from "./sizes.ts";
import { VerifyError } from "./verify.ts";
import { verifyKernel } from "./verify_kernel.ts";

/**
 * Every kernel is well formed, every step's members bind buffers that fit them and do not collide, and
 * what is read is what was last written there.
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
  const where = `Step ${at}, ${kernel.name},`;
  const { length } = step.members;
  if (length === 0 || (length > 1 && kernel.kind !== "loops")) {
    throw new VerifyError(`${where} has ${length} members`);
  }
  const members = step.members.map((member) => rangesOf(program, kernel, member, where));
  for (const ranges of members) verifyMember(ranges, where);
  verifyApart(members, where);
}

/** Memory that a member uses. */
interface Range {
  readonly name: string;
  readonly start: number;
  readonly end: number;
  readonly writes: boolean;
}

function rangesOf(program: Program, kernel: Kernel, member: StepMember, where: string): Range[] {
  const names = kernel.kind === "loops" ? kernel.sizes ?? [] : [];
  const { buffers, sizes } = member;
  if (
    names.length !== sizes.length || !sizes.every((size) => Number.isInteger(size) && size >= 0)
  ) {
    throw new VerifyError(`${where} has sizes [${sizes.join(", ")}] for [${names.join(", ")}]`);
  }
  const bound = kernel.buffers.filter((buffer) => buffer.access !== "scratch");
  if (bound.length !== buffers.length) {
    throw new VerifyError(`${where} binds ${buffers.length} buffers of ${bound.length}`);
  }
  return bound.map(({ name, dtype, elements, access }, position) => {
    const buffer = program.buffers[buffers[position] ?? -1];
    const fits = buffer !== undefined && buffer.dtype === dtype &&
      buffer.elements >= sizeIn(elements, names, sizes);
    if (!fits) throw new VerifyError(`${where} has no fitting buffer ${name}`);
    const { offset, bytes } = buffer;
    return { name, start: offset, end: offset + bytes, writes: access !== "read" };
  });
}

/** A member writes over none of its operands, but for in place. */
function verifyMember(ranges: readonly Range[], where: string): void {
  for (const written of ranges.filter((range) => range.writes)) {
    for (const other of ranges) {
      if (other === written || other.end <= written.start || other.start >= written.end) continue;
      const inPlace = !other.writes && other.start === written.start && other.end === written.end;
      if (inPlace) continue;
      throw new VerifyError(`${where} writes ${written.name} over ${other.name}`);
    }
  }
}

/** No member touches what another writes. */
function verifyApart(members: readonly (readonly Range[])[], where: string): void {
  if (members.length < 2) return;
  const all = members.flatMap((ranges, member) => ranges.map((range) => ({ ...range, member })))
    .filter(({ start, end }) => end > start).sort((a, b) => a.start - b.start);
  let alive: typeof all = [];
  for (const range of all) {
    alive = alive.filter(({ end }) => end > range.start);
    const clash = alive.find((other) =>
      other.member !== range.member && (other.writes || range.writes)
    );
    if (clash !== undefined) {
      throw new VerifyError(
        `${where} has members ${clash.member} and ${range.member} that write what both touch: ` +
          `${clash.name} and ${range.name}`,
      );
    }
    alive.push(range);
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
    for (const { buffers } of step.members) {
      bound.forEach(({ access, name }, position) => {
        const buffer = this.#buffer(buffers[position]);
        if (access === "write" || buffer.bytes === 0 || this.#filled.has(buffer)) return;
        throw new VerifyError(
          `Step ${at}, ${kernel?.name}, reads ${name}, but nothing has written ${buffer.name} ` +
            "there since its memory was last used",
        );
      });
    }
    for (const { buffers } of step.members) {
      bound.forEach(({ access }, position) => {
        if (access !== "read") this.#fill(this.#buffer(buffers[position]));
      });
    }
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
