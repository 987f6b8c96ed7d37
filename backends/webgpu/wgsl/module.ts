/** What a generated shader module is made of. */
import type { KernelBuffer } from "../../../compiler/loop_ir.ts";
import type { GpuLimits } from "../capabilities.ts";
import type { Subgroups } from "../subgroups.ts";
import type { TileName } from "../templates/tile_names.ts";
import { type BindingLayout, WgslBuffers } from "./buffers.ts";
import { Code } from "./code.ts";
import type { ExpressionContext } from "./expressions.ts";
import { Library } from "./library.ts";
import { Names } from "./names.ts";

/** Workgroups along x, y and z. */
export type Grid = readonly [number, number, number];

/** One dispatch of a kernel; a kernel may take several, one after the other. */
export interface Dispatch {
  readonly wgsl: string;
  readonly grid: Grid;
}

/** What kernels are generated for. */
export interface EmitOptions {
  readonly layout: BindingLayout;
  readonly limits: GpuLimits;
  /** Whether the device is a driver in software. */
  readonly software: boolean;
  /** Whether its shaders have 16-bit floats. */
  readonly f16?: boolean;
  /** How they use subgroups, if they can. */
  readonly subgroups?: Subgroups | undefined;
  /** How a matmul or attention is divided; by default what its sizes suggest. */
  readonly tile?: TileName | undefined;
  /** Lines for the top of the module: what the kernel computes, and for whom. */
  readonly comment: readonly string[];
}

/** The parts of a module that its functions share. */
export class ModuleWriter implements ExpressionContext {
  readonly names = new Names();
  readonly library: Library;
  readonly code = new Code();
  readonly buffers: WgslBuffers;
  readonly written: ReadonlySet<number>;
  readonly #options: EmitOptions;
  #enablesSubgroups = false;
  #namesSubgroups = false;

  /** @param wide Buffers that are best read by fours. */
  constructor(
    kernel: { readonly buffers: readonly KernelBuffer[] },
    options: EmitOptions,
    wide: ReadonlySet<KernelBuffer> = new Set(),
  ) {
    this.#options = options;
    const { layout, f16 = false } = options;
    this.library = new Library(layout.auditRegion !== undefined);
    this.buffers = new WgslBuffers(kernel.buffers, layout, this.names, this.library, { wide, f16 });
    this.written = new Set(
      kernel.buffers.flatMap(({ access }, at) => access === "read" ? [] : [at]),
    );
  }

  /** What expressions are written with, for another function than the entry point. */
  context(): ExpressionContext {
    const { names, library, code, buffers, written } = this;
    return { names, library, code, buffers, written };
  }

  /** Lets the module's functions use operations of subgroups. */
  enableSubgroups(): void {
    this.#enablesSubgroups = true;
  }

  /** How the entry point may use subgroups, if it can: then it knows their size and its place in one. */
  useSubgroups(): Subgroups | undefined {
    const { subgroups } = this.#options;
    this.#namesSubgroups ||= subgroups !== undefined;
    this.#enablesSubgroups ||= subgroups !== undefined;
    return subgroups;
  }

  #directives(): string[] {
    const directives = [
      ...(this.buffers.takesF16 ? ["enable f16;"] : []),
      ...(this.#enablesSubgroups && this.#options.subgroups?.directive
        ? ["enable subgroups;"]
        : []),
    ];
    return directives.length === 0 ? [] : [...directives, ""];
  }

  /**
   * The module's text, with `code` as the body of its entry point.
   *
   * @param declarations Beside the bindings and the library.
   * @param functions That the entry point calls.
   */
  module(
    workgroup: readonly [number, number],
    declarations: readonly string[],
    functions: readonly string[] = [],
  ): string {
    const [x, y] = workgroup;
    return [
      ...this.#options.comment.map((line) => line === "" ? "//" : `// ${line}`),
      "",
      ...this.#directives(),
      ...this.buffers.declarations(),
      ...declarations,
      "",
      ...this.library.text(),
      ...functions,
      "",
      `@compute @workgroup_size(${x}, ${y})`,
      "fn main(",
      "  @builtin(workgroup_id) group: vec3<u32>,",
      "  @builtin(local_invocation_id) local: vec3<u32>,",
      ...(this.#namesSubgroups
        ? [
          "  @builtin(subgroup_size) subgroup_size: u32,",
          "  @builtin(subgroup_invocation_id) subgroup_lane: u32,",
        ]
        : []),
      ") {",
      ...this.code.lines,
      "}",
      "",
    ].join("\n");
  }
}

/**
 * A grid of at least this many workgroups that stays within the limit along each dimension.
 *
 * @throws {RangeError} When there is none.
 */
export function gridOf(
  workgroups: number,
  { maxComputeWorkgroupsPerDimension: most }: GpuLimits,
): Grid {
  if (workgroups <= most) return [Math.max(workgroups, 1), 1, 1];
  const rows = Math.ceil(workgroups / most);
  if (rows <= most) return [Math.ceil(workgroups / rows), rows, 1];
  const layers = Math.ceil(rows / most);
  if (layers > most) {
    throw new RangeError(`Cannot dispatch ${workgroups} workgroups: wanted at most ${most}^3`);
  }
  const each = Math.ceil(rows / layers);
  return [Math.ceil(workgroups / (each * layers)), each, layers];
}

/** WGSL for the number of the current workgroup in a grid, as u32. */
export function groupNumber([x, y, z]: Grid): string {
  if (y === 1 && z === 1) return "group.x";
  if (z === 1) return `(group.y * ${x}u + group.x)`;
  return `((group.z * ${y}u + group.y) * ${x}u + group.x)`;
}
