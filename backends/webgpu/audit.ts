/** An audit of rounding: how large numbers are before kernels round them to 16 bits. */
import type { Kernel, Statement } from "../../compiler/loop_ir.ts";
import { mapStatements, visitExpressions } from "../../compiler/lower/expressions.ts";
import { roundUp } from "../../compiler/multiples.ts";
import type { Program } from "../../compiler/program.ts";
import type { StepNote } from "../backend.ts";
import { noteNode } from "../errors.ts";
import type { ArenaRange, MemberBindings } from "./bindings.ts";
import type { GpuCapabilities, GpuLimits } from "./capabilities.ts";

/** What a step has rounded to f16 or bf16, in all runs so far on the same device. */
export interface RoundingNote extends StepNote {
  /** Index of the step. */
  readonly step: number;
  /**
   * The largest magnitude before rounding: 0 where there was nothing else, infinite where there was an
   * infinity, NaN where there was a NaN. Above 65519 f16 overflows.
   */
  readonly largest: number;
}

/** A word for each step, behind the program's memory. */
export class Audit {
  /** The program with room for the words. */
  readonly program: Program;
  /** Where the words are. */
  readonly range: ArenaRange;
  readonly #apart: number;
  /** The steps that round, by their places. */
  readonly #rounds: ReadonlySet<number>;

  constructor(program: Program, { alignment }: GpuCapabilities) {
    const start = roundUp(program.arenaBytes, alignment);
    const bytes = Math.max(program.steps.length, 1) * alignment;
    this.#apart = alignment;
    this.range = { offset: start, bytes };
    this.program = { ...program, arenaBytes: start + bytes };
    const kernels = program.kernels.map(roundsHalves);
    this.#rounds = new Set(
      program.steps.flatMap(({ kernel }, step) => kernels[kernel] === true ? [step] : []),
    );
  }

  /** The device's limits, less the step's word where the step rounds. */
  limits(step: number, limits: GpuLimits): GpuLimits {
    if (!this.#rounds.has(step)) return limits;
    const most = limits.maxStorageBuffersPerShaderStage - 1;
    return { ...limits, maxStorageBuffersPerShaderStage: most };
  }

  /** The bindings with the step's word as one more region, where the step rounds. */
  bindings(step: number, bindings: MemberBindings): MemberBindings {
    if (!this.#rounds.has(step)) return bindings;
    const { layout: { regions, places }, ranges } = bindings;
    const word = { offset: this.range.offset + step * this.#apart, bytes: 4 };
    return {
      layout: { regions: [...regions, [word.bytes]], places, auditRegion: regions.length },
      ranges: [...ranges, word],
    };
  }

  /** What the words say. */
  notes(memory: ArrayBuffer): RoundingNote[] {
    const words = new Float32Array(memory);
    const { kernels, steps } = this.program;
    return steps.flatMap(({ kernel, nodes }, step): RoundingNote[] => {
      if (!this.#rounds.has(step)) return [];
      const { name = "?", kind = "?" } = kernels[kernel] ?? {};
      const largest = words[step * this.#apart / 4] ?? 0;
      return [{ step, kernel: name, kind, nodes: nodes.map(noteNode), largest }];
    });
  }
}

function roundsHalves(kernel: Kernel): boolean {
  let found = false;
  for (const body of bodiesOf(kernel)) {
    mapStatements(body, {
      expr: (root) => {
        visitExpressions([root], ({ kind }) => found ||= kind === "roundTo");
        return root;
      },
    });
  }
  return found;
}

function bodiesOf(kernel: Kernel): (readonly Statement[])[] {
  if (kernel.kind === "loops") return [kernel.body];
  return kernel.kind === "matmul" ? kernel.parts.map(({ epilogue }) => [...epilogue]) : [];
}
