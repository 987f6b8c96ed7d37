/** Lowering small graphs in tests. */
import type { Kernel } from "../../compiler/loop_ir.ts";
import { lowerGraph, type LowerOptions } from "../../compiler/pipeline.ts";
import { printKernel } from "../../compiler/print_loop_ir.ts";
import type { Program } from "../../compiler/program.ts";
import { type Node, topologicalOrder } from "../../graph/node.ts";

/** The graph of some outputs, with all inputs that they read. */
export function moduleOf(outputs: Record<string, Node>) {
  const inputs = new Map<string, Node>();
  for (const node of topologicalOrder(Object.values(outputs))) {
    if (node.op.name === "input") inputs.set(String(node.attrs["path"]), node);
  }
  return { inputs, outputs: new Map(Object.entries(outputs)) };
}

/** The program of some outputs. */
export function lowered(
  outputs: Record<string, Node>,
  options: Partial<LowerOptions> = {},
): Program {
  return lowerGraph(moduleOf(outputs), { target: { alignment: 64 }, ...options });
}

/** The kernels that a program runs: each as often as its step has members. */
export function kernelsRun({ kernels, steps }: Program): Kernel[] {
  return steps.flatMap(({ kernel, members }) => {
    const run = kernels[kernel];
    if (run === undefined) throw new RangeError(`There is no kernel ${kernel}`);
    return members.map(() => run);
  });
}

/** The kernels of a program's steps, as text. */
export function printSteps(program: Program): string {
  return program.steps.map((step) => {
    const kernel = program.kernels[step.kernel];
    return kernel === undefined ? "?" : printKernel(kernel);
  }).join("\n");
}
