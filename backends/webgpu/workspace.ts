/** Memory in which the dispatches of one kernel leave something for each other. */
import type { Kernel, KernelBuffer } from "../../compiler/loop_ir.ts";
import { roundUp } from "../../compiler/multiples.ts";
import type { Program } from "../../compiler/program.ts";
import { WORKSPACE, workspaceElements } from "./templates/attention_norms.ts";

/** The kernel with the workspace that it takes, if any, as its last buffer. */
export function withWorkspace<K extends Kernel>(kernel: K): K {
  const elements = workspaceElements(kernel);
  if (elements === 0) return kernel;
  const workspace: KernelBuffer = { name: WORKSPACE, dtype: "f32", elements, access: "write" };
  return { ...kernel, buffers: [...kernel.buffers, workspace] };
}

/**
 * The program with room behind its own memory for the largest workspace: steps run one after the other,
 * so that all may have the same.
 */
export function withWorkspaces(
  program: Program,
  { alignment }: { readonly alignment: number },
): Program {
  const elements = Math.max(0, ...program.kernels.map(workspaceElements));
  if (elements === 0) return program;
  const offset = roundUp(program.arenaBytes, alignment);
  const bytes = 4 * elements;
  const buffer = program.buffers.length;
  const kernels = program.kernels.map(withWorkspace);
  return {
    ...program,
    kernels,
    steps: program.steps.map((step) =>
      kernels[step.kernel] === program.kernels[step.kernel] ? step : {
        ...step,
        members: step.members.map((member) => ({
          ...member,
          buffers: [...member.buffers, buffer],
        })),
      }
    ),
    buffers: [...program.buffers, { name: WORKSPACE, dtype: "f32", elements, offset, bytes }],
    arenaBytes: offset + roundUp(bytes, alignment),
  };
}
