/** Where all kernels of a program are bound, and the memory that this takes. */
import type { Program, StepMember } from "../../../compiler/program.ts";
import { withSizes } from "../../../compiler/sizes.ts";
import type { Audit } from "../audit.ts";
import type { GpuCapabilities } from "../capabilities.ts";
import { type Piece, Placement } from "./placement.ts";

/** A program's pieces. */
export interface PlacedProgram {
  /** For each step its members, each with the pieces that run it, one after the other. */
  readonly steps: readonly (readonly (readonly [member: StepMember, pieces: readonly Piece[]])[])[];
  /** Bytes of the arena: the program's memory, and behind it what the pieces need besides. */
  readonly arenaBytes: number;
}

/**
 * The pieces of all steps.
 *
 * @throws {RangeError} When the device's limits do not allow a kernel, however it is cut.
 */
export function placeProgram(
  program: Program,
  capabilities: GpuCapabilities,
  audit?: Audit,
): PlacedProgram {
  const { limits } = capabilities;
  const placement = new Placement(program, capabilities);
  const steps = program.steps.map(({ kernel: number, members }, at) => {
    const kernel = program.kernels[number];
    if (kernel === undefined) throw new RangeError(`The program has no kernel ${number}`);
    const most = audit?.limits(at, limits) ?? limits;
    return members.map((member) => {
      const plain = kernel.kind === "loops" ? withSizes(kernel, member.sizes) : kernel;
      return [member, placement.pieces(plain, member, most)] as const;
    });
  });
  return { steps, arenaBytes: placement.arenaBytes };
}
