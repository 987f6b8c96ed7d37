/** What can go wrong on a GPU. */
import { describeNode, type NodeNote } from "../errors.ts";

/** No device can be had: there is no WebGPU here, no adapter, or it refused. */
export class GpuUnavailableError extends Error {
  override readonly name = "GpuUnavailableError";
}

/** A generated shader did not compile. That is a bug of this library or of the driver. */
export class ShaderError extends Error {
  override readonly name = "ShaderError";
  /** Name of the kernel. */
  readonly kernel: string;
  /** The graph nodes behind it. */
  readonly nodes: readonly NodeNote[];
  readonly wgsl: string;

  constructor(
    shader: { readonly kernel: string; readonly nodes: readonly NodeNote[]; readonly wgsl: string },
    problems: readonly ShaderProblem[],
    options?: ErrorOptions,
  ) {
    const lines = shader.wgsl.split("\n");
    const shown = problems.flatMap(({ line, message }) => [
      `  ${message}`,
      ...(line > 0 ? [`    ${line}: ${(lines[line - 1] ?? "").trim()}`] : []),
    ]);
    const nodes = shader.nodes.map((node) => `  ${describeNode(node)}`);
    super(
      [`The shader of kernel "${shader.kernel}" does not compile:`, ...shown, ...nodes].join("\n"),
      options,
    );
    this.kernel = shader.kernel;
    this.nodes = shader.nodes;
    this.wgsl = shader.wgsl;
  }
}

/** What a compiler says about a shader; line 0 is no line. */
export interface ShaderProblem {
  readonly line: number;
  readonly message: string;
}

/** The device refused a command: a bug of this library or of the driver. */
export class GpuValidationError extends Error {
  override readonly name = "GpuValidationError";
}

/** The device is gone: the driver was reset, or the machine took it away. */
export class DeviceLostError extends Error {
  override readonly name = "DeviceLostError";
}
