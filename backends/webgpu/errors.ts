/** What can go wrong on a GPU. */
import { describeNode, type NodeNote } from "../errors.ts";

/** No device can be had: there is no WebGPU here, no adapter, or it refused. */
export class GpuUnavailableError extends Error {
  override readonly name = "GpuUnavailableError";
}

/** A kernel as it stands on the device. */
export interface GpuKernelNote {
  /** Its name. */
  readonly kernel: string;
  /** Index of a step of the program that runs it. */
  readonly step: number;
  /** The graph nodes behind it. */
  readonly nodes: readonly NodeNote[];
  readonly wgsl: string;
}

/** What a compiler says about a shader; line 0 is no line. */
export interface ShaderProblem {
  readonly line: number;
  readonly message: string;
}

/** Something went wrong with a kernel: the message has its name, the line, and its graph nodes. */
abstract class GpuKernelError extends Error {
  /** Name of the kernel; undefined where it is not known which. */
  readonly kernel: string | undefined;
  /** Index of a step that runs it. */
  readonly step: number | undefined;
  /** The graph nodes behind it. */
  readonly nodes: readonly NodeNote[];
  readonly wgsl: string | undefined;

  constructor(
    title: string,
    note: GpuKernelNote | undefined,
    problems: readonly ShaderProblem[],
    options?: ErrorOptions,
  ) {
    super([title, ...problemLines(note, problems), ...nodeLines(note)].join("\n"), options);
    this.kernel = note?.kernel;
    this.step = note?.step;
    this.nodes = note?.nodes ?? [];
    this.wgsl = note?.wgsl;
  }
}

function problemLines(
  note: GpuKernelNote | undefined,
  problems: readonly ShaderProblem[],
): string[] {
  const lines = note?.wgsl.split("\n") ?? [];
  return problems.flatMap(({ line, message }) => [
    `  ${message}`,
    ...(line > 0 ? [`    ${line}: ${(lines[line - 1] ?? "").trim()}`] : []),
  ]);
}

function nodeLines(note: GpuKernelNote | undefined): string[] {
  return (note?.nodes ?? []).map((node) => `  ${describeNode(node)}`);
}

/** The line of a shader at which it begins to run; 0 where there is none. */
function entryLine(wgsl: string): number {
  return wgsl.split("\n").findIndex((line) => line.startsWith("@compute")) + 1;
}

/** A generated shader did not compile. That is a bug of this library or of the driver. */
export class ShaderError extends GpuKernelError {
  override readonly name = "ShaderError";

  constructor(note: GpuKernelNote, problems: readonly ShaderProblem[], options?: ErrorOptions) {
    super(`The shader of kernel "${note.kernel}" does not compile:`, note, problems, options);
  }
}

/** The device refused a command: a bug of this library or of the driver. */
export class GpuValidationError extends GpuKernelError {
  override readonly name = "GpuValidationError";

  /** @param note The kernel that it refused, where that is known. */
  constructor(message: string, note?: GpuKernelNote) {
    const title = note === undefined
      ? `The GPU device refused a command: ${message}`
      : `The GPU device refused kernel "${note.kernel}" (step ${note.step}):`;
    super(title, note, note === undefined ? [] : [{ line: entryLine(note.wgsl), message }]);
  }
}

/** The device is gone: the driver was reset, or the machine took it away. */
export class DeviceLostError extends GpuKernelError {
  override readonly name = "DeviceLostError";

  /** @param note The kernel that was running, where that is known. */
  constructor(message: string, note?: GpuKernelNote, options?: ErrorOptions) {
    const problems = note === undefined ? [] : [{
      line: entryLine(note.wgsl),
      message: `while kernel "${note.kernel}" (step ${note.step}) was running`,
    }];
    super(message, note, problems, options);
  }
}
