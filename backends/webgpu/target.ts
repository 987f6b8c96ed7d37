/** What the compiler is told of a GPU, and the memory that a lowered program takes there beside its own. */
import type { Target } from "../../compiler/pipeline.ts";
import type { Program } from "../../compiler/program.ts";
import { Audit } from "./audit.ts";
import type { GpuCapabilities } from "./capabilities.ts";
import { placeProgram } from "./pieces/place_program.ts";
import { withWorkspaces } from "./workspace.ts";

/**
 * What the compiler is to know of a GPU.
 *
 * @param isAudited Whether kernels write down what they round.
 */
export function gpuTarget(
  capabilities: GpuCapabilities,
  { memoryLimit }: { readonly memoryLimit?: number | undefined } = {},
  isAudited = false,
): Target {
  const bytesOf = (lowered: Program) => {
    const { program, audit } = withMemory(lowered, capabilities, isAudited);
    return placeProgram(program, capabilities, audit).arenaBytes;
  };
  const { alignment, attentionCosts } = capabilities;
  // Without a limit nobody asks, and to place a large program takes its time.
  return {
    alignment,
    attentionCosts,
    readsHalves: true,
    ...(memoryLimit === undefined ? {} : { bytesOf }),
  };
}

/** The program with all memory that its kernels share beside its own. */
export function withMemory(lowered: Program, capabilities: GpuCapabilities, isAudited: boolean) {
  const program = withWorkspaces(lowered, capabilities);
  const audit = isAudited ? new Audit(program, capabilities) : undefined;
  return { program: audit?.program ?? program, audit };
}
