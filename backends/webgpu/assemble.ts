/** From a program to dispatches: each step's kernel as shader modules, and what they are bound to. */
import type { Kernel } from "../../compiler/loop_ir.ts";
import type { Program, ProgramStep, StepMember } from "../../compiler/program.ts";
import { describeNode, noteNode } from "../errors.ts";
import type { Audit } from "./audit.ts";
import { type ArenaRange, boundBuffers } from "./bindings.ts";
import type { GpuCapabilities } from "./capabilities.ts";
import { emitGpuKernel } from "./emit_kernel.ts";
import { placeProgram } from "./pieces/place_program.ts";
import type { TileName } from "./templates/tile_names.ts";
import { type HeldValue, nameBuffers } from "./wgsl/buffer_names.ts";
import type { Grid } from "./wgsl/module.ts";

/** A shader module. */
export interface GpuModule {
  readonly wgsl: string;
  /** The same without the comment on top, and without names of what it is first used for. */
  readonly code: string;
  /** Name of its kernel. */
  readonly kernel: string;
  /** The first step that runs it. */
  readonly step: number;
  /** Bytes of each binding. */
  readonly bindings: readonly number[];
}

/** One dispatch of a step. */
export interface GpuDispatch {
  readonly step: number;
  /** Index of the module. */
  readonly module: number;
  readonly grid: Grid;
  readonly ranges: readonly ArenaRange[];
}

/** A program as a GPU runs it. */
export interface GpuProgram {
  readonly modules: readonly GpuModule[];
  readonly dispatches: readonly GpuDispatch[];
  /** Memory that the dispatches' ranges are places in. */
  readonly arenaBytes: number;
}

/** Graph nodes that a module's comment lists. */
const LISTED_NODES = 12;

/** How a program's kernels are emitted. */
export interface AssembleOptions {
  /** The tiles of matmuls and attention, by the kernels' places; by default what their sizes suggest. */
  readonly tiles?: ReadonlyMap<number, TileName> | undefined;
  /** An audit of the program. */
  readonly audit?: Audit | undefined;
}

/**
 * Emits every kernel once for each way in which its buffers are bound; what is the same is one module.
 *
 * @throws {RangeError} When the device's limits do not allow a kernel, however it is cut.
 */
export function assembleGpu(
  program: Program,
  capabilities: GpuCapabilities,
  { tiles, audit }: AssembleOptions = {},
): GpuProgram {
  const { limits, software, f16, subgroups } = capabilities;
  const modules: GpuModule[] = [];
  const dispatches: GpuDispatch[] = [];
  const emitted = new Map<string, { module: number; grid: Grid }[]>();
  const known = new Map<string, number>();
  const moduleAt = (module: Omit<GpuModule, "wgsl">, toText: () => string): number => {
    const key = `${module.bindings.join()} ${module.code}`;
    const at = known.get(key) ?? modules.push({ ...module, wgsl: toText() }) - 1;
    known.set(key, at);
    return at;
  };
  const placed = placeProgram(program, capabilities, audit);
  program.steps.forEach((step, at) => {
    const kernel = program.kernels[step.kernel];
    if (kernel === undefined) throw new RangeError(`The program has no kernel ${step.kernel}`);
    const options = { limits, software, f16, subgroups, tile: tiles?.get(step.kernel) };
    for (const [member, pieces] of placed.steps[at] ?? []) {
      for (const piece of pieces) {
        const { layout, ranges } = audit?.bindings(at, piece) ?? piece;
        const key = JSON.stringify([step.kernel, member.sizes, piece.part, layout]);
        let parts = emitted.get(key);
        if (parts === undefined) {
          const comment = commentOf(kernel, step, piece.part);
          const held = heldValues(program, kernel, member);
          const bindings = layout.regions.flat();
          parts = emitGpuKernel(piece.kernel, { ...options, layout, comment }).map(
            ({ wgsl, grid }) => {
              const code = wgsl.replace(/^(\/\/.*\n)+/, "");
              const top = wgsl.slice(0, wgsl.length - code.length);
              const toText = () => top + nameBuffers(code, held);
              const module = moduleAt({ code, kernel: kernel.name, step: at, bindings }, toText);
              return { module, grid };
            },
          );
          emitted.set(key, parts);
        }
        for (const { module, grid } of parts) dispatches.push({ step: at, module, grid, ranges });
      }
    }
  });
  return { modules, dispatches, arenaBytes: placed.arenaBytes };
}

/** What a member's buffers hold. */
function heldValues({ buffers }: Program, kernel: Kernel, member: StepMember): HeldValue[] {
  return boundBuffers(kernel.buffers).flatMap(({ name }, at) => {
    const value = buffers[member.buffers[at] ?? -1]?.name;
    return value === undefined ? [] : [{ buffer: name, value }];
  });
}

function commentOf(kernel: Kernel, { nodes }: ProgramStep, part: string): string[] {
  const listed = nodes.slice(0, LISTED_NODES).map((node) => `  ${describeNode(noteNode(node))}`);
  const more = nodes.length - listed.length;
  const cut = part === "" ? [] : [`  ${part}`];
  return [kernel.name, ...cut, ...listed, ...(more > 0 ? [`  and ${more} more`] : [])];
}
