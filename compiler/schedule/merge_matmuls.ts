/**
 * Contractions that read the same left operand become parts of one kernel: queries, keys, values (and
 * the MLP's input, in a parallel block) of one normalised input, and the gradients of their weights.
 * The weights stay where they are; each part has an epilogue of its own.
 */
import type { Node } from "../../graph/node.ts";
import { staticSize } from "../../graph/shape.ts";
import type { LoweredKernel } from "../lower/kernel_builder.ts";
import { renumberBuffers } from "../lower/renumber.ts";
import type { KernelBuffer, MatmulOperand, MatmulPart, MatmulTerm } from "../loop_ir.ts";
import type { RuleReport } from "../report.ts";

const RULE = "merge_contractions_of_shared_operand";

/** A kernel moves up past at most this many others, so that nothing is kept alive much longer. */
const REACH = 16;

/**
 * The ordered kernels with those merged that share their left operand, where the later one can move
 * up to the earlier.
 *
 * @param overwrites For each donated output node, the input node whose memory it takes.
 */
export function mergeMatmuls(
  kernels: readonly LoweredKernel[],
  overwrites: ReadonlyMap<Node, Node>,
  report: RuleReport,
): LoweredKernel[] {
  if (!report.isOn(RULE)) return [...kernels];
  const merged: LoweredKernel[] = [];
  const keys: (string | undefined)[] = [];
  for (const lowered of kernels) {
    const key = leftOperandKey(lowered);
    const target = key === undefined ? -1 : keys.lastIndexOf(key);
    const first = merged[target];
    const [node] = lowered.nodes;
    if (first !== undefined && node !== undefined) {
      const passed = merged.slice(target);
      const blocking = passed.find((other) => conflict(lowered, other, overwrites));
      if (blocking === undefined && passed.length <= REACH) {
        merged[target] = joined(first, lowered);
        report.applied(RULE, node, `runs beside ${first.kernel.name}`, leftBytes(lowered));
        continue;
      }
      const reason = blocking === undefined
        ? `${passed.length} kernels lie between`
        : `it cannot move past ${blocking.kernel.name}`;
      report.refused(RULE, node, reason);
    }
    merged.push(lowered);
    keys.push(key);
  }
  return merged;
}

/** Whether the two must stay in their order. */
function conflict(
  a: LoweredKernel,
  b: LoweredKernel,
  overwrites: ReadonlyMap<Node, Node>,
): boolean {
  return disturbs(a, b, overwrites) || disturbs(b, a, overwrites);
}

/** Whether the one writes, or writes over, what the other reads. */
function disturbs(
  writer: LoweredKernel,
  reader: LoweredKernel,
  overwrites: ReadonlyMap<Node, Node>,
): boolean {
  return writer.writes.some((node) => {
    const lost = overwrites.get(node);
    return reader.bindings.includes(node) || reader.awaits?.includes(node) ||
      (lost !== undefined && reader.bindings.includes(lost));
  });
}

/** Equal for kernels whose left operand is the same matrix, read the same way. */
function leftOperandKey({ kernel, bindings }: LoweredKernel): string | undefined {
  if (kernel.kind !== "matmul") return undefined;
  const [part, ...others] = kernel.parts;
  const [term, ...more] = part?.terms ?? [];
  if (part === undefined || term === undefined || others.length + more.length > 0) return undefined;
  const { buffer, ...where } = term.a;
  const extents = [part.batch, part.m].map((axes) => axes.map((axis) => axis.extent));
  return JSON.stringify([bindings[buffer]?.id, where, extents, term.k]);
}

/** Bytes of the left operand, which is read once less. */
function leftBytes({ kernel }: LoweredKernel): number {
  const [part] = kernel.kind === "matmul" ? kernel.parts : [];
  const [term] = part?.terms ?? [];
  if (part === undefined || term === undefined) return 0;
  return 4 * staticSize([...[...part.batch, ...part.m].map(({ extent }) => extent), ...term.k]);
}

function joined(first: LoweredKernel, second: LoweredKernel): LoweredKernel {
  const other = second.kernel;
  if (first.kernel.kind !== "matmul" || other.kind !== "matmul") return first;
  const bindings = [...first.bindings];
  const buffers: KernelBuffer[] = [...first.kernel.buffers];
  const numbers = second.bindings.map((node, at) => {
    const known = bindings.indexOf(node);
    if (known >= 0) return known;
    const declared = other.buffers[at];
    if (declared === undefined) throw new RangeError(`${other.name} has no buffer ${at}`);
    const number = bindings.length;
    bindings.push(node);
    buffers.push({ ...declared, name: declared.name.replace(/\d+$/, String(number)) });
    return number;
  });
  const renumber = (buffer: number) => numbers[buffer] ?? buffer;
  const parts = other.parts.map((part) => renumberPart(part, renumber));
  return {
    kernel: {
      kind: "matmul",
      name: `${
        first.kernel.name.replace(/_and_\d+_more$/, "")
      }_and_${first.kernel.parts.length}_more`,
      buffers,
      parts: [...first.kernel.parts, ...parts],
    },
    bindings,
    writes: [...first.writes, ...second.writes],
    nodes: [...first.nodes, ...second.nodes],
    awaits: [...first.awaits ?? [], ...second.awaits ?? []],
  };
}

function renumberPart(part: MatmulPart, number: (buffer: number) => number): MatmulPart {
  const operand = (side: MatmulOperand) => ({ ...side, buffer: number(side.buffer) });
  return {
    ...part,
    terms: part.terms.map((term): MatmulTerm => ({
      ...term,
      a: operand(term.a),
      b: operand(term.b),
    })),
    epilogue: renumberBuffers(part.epilogue, number),
  };
}
