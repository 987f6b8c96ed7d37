/**
 * Which inputs lie in memory as the panels that register tiles read, instead of row-major: those that
 * are only ever the right operand of matrix products, and that no run writes. So they are packed when
 * the host sets them, not in every run, and there is no second copy.
 */
import type { Kernel, MatmulKernel, MatmulPart } from "../../compiler/loop_ir.ts";
import { visitExpressions } from "../../compiler/lower/expressions.ts";
import type { Program } from "../../compiler/program.ts";
import { boundBuffers } from "./commands.ts";
import { assignRoles } from "../matmul_roles.ts";
import { type TermAxes, termAxes } from "./templates/matmul_term.ts";
import { COLUMN_GROUP, type PanelLayout } from "./templates/panels.ts";
import type { StoredBuffers } from "./templates/template.ts";

/** What lies in panels. */
export interface PanelStorage {
  /** By index in the program's buffers. */
  readonly layouts: ReadonlyMap<number, PanelLayout>;
  /** The same as each kernel numbers its buffers. */
  readonly stored: ReadonlyMap<Kernel, StoredBuffers>;
}

/** One of a kernel's buffers, and what the program's steps bind to it. */
interface Place {
  readonly kernel: Kernel;
  readonly position: number;
  readonly layout: PanelLayout | undefined;
  readonly bound: readonly number[];
}

/** Finds what can lie in panels of up to `widest` columns. */
export function planPanelStorage(program: Program, widest: number): PanelStorage {
  const places = placesOf(program, widest);
  const layouts = new Map<number, PanelLayout>();
  for (const { layout, bound } of places) {
    if (layout !== undefined) { for (const buffer of bound) layouts.set(buffer, layout); }
  }
  const keep = (buffer: number, layout: PanelLayout | undefined) => {
    const known = layouts.get(buffer);
    return known !== undefined && layout !== undefined && isSame(known, layout);
  };
  for (const buffer of layouts.keys()) {
    if (!isPlainInput(program, buffer)) layouts.delete(buffer);
  }
  // A kernel reads an operand in panels in all its steps or in none.
  for (let before = -1; before !== layouts.size;) {
    before = layouts.size;
    for (const { layout, bound } of places) {
      if (bound.every((buffer) => keep(buffer, layout))) continue;
      for (const buffer of bound) layouts.delete(buffer);
    }
  }
  const stored = new Map<Kernel, Set<number>>();
  for (const { kernel, position, bound } of places) {
    if (!bound.some((buffer) => layouts.has(buffer))) continue;
    stored.set(kernel, (stored.get(kernel) ?? new Set()).add(position));
  }
  return { layouts, stored };
}

function placesOf(program: Program, widest: number): Place[] {
  return program.kernels.flatMap((kernel, index): Place[] => {
    const members = program.steps.flatMap((step) => step.kernel === index ? step.members : []);
    const positions = [...(members[0]?.buffers.keys() ?? [])];
    return positions.map((position) => ({
      kernel,
      position,
      layout: kernel.kind === "matmul" ? layoutOf(kernel, position, widest) : undefined,
      bound: members.flatMap(({ buffers }) => buffers[position] ?? []),
    }));
  });
}

/** The panels that the kernel would read, if the buffer is nothing but a right operand to it. */
function layoutOf(
  kernel: MatmulKernel,
  position: number,
  widest: number,
): PanelLayout | undefined {
  let found: PanelLayout | undefined;
  for (const part of kernel.parts) {
    if (isUsedElsewhere(part, position)) return undefined;
    const roles = assignRoles(part);
    for (const [index, term] of part.terms.entries()) {
      const { b } = term;
      if (b.buffer !== position) continue;
      const layout = b.offset === 0 ? panelsOf(termAxes(term, index, roles), widest) : undefined;
      const elements = kernel.buffers[position]?.elements;
      if (layout === undefined || layout.k * layout.columns !== elements) return undefined;
      if (found !== undefined && !isSame(found, layout)) return undefined;
      found = layout;
    }
  }
  return found;
}

function isUsedElsewhere({ terms, epilogue }: MatmulPart, position: number): boolean {
  if (terms.some(({ a }) => a.buffer === position)) return true;
  let isLoaded = false;
  const roots = epilogue.flatMap((statement) => {
    if (statement.kind === "let") return [statement.value];
    return statement.kind === "store" ? [statement.index, statement.value] : [];
  });
  visitExpressions(roots, (expr) => {
    isLoaded ||= expr.kind === "load" && expr.buffer === position;
  });
  return isLoaded;
}

/** The layout of an operand that is one whole matrix, without padded columns. */
function panelsOf({ batchB, columns, kB }: TermAxes, widest: number): PanelLayout | undefined {
  const isMatrix = columns.axes.length === 1 && kB.axes.length === 1 &&
    batchB.axes.every(({ stride }) => stride === 0);
  if (!isMatrix || columns.extent % COLUMN_GROUP !== 0) return undefined;
  const isTransposed = kB.step === 1;
  const [outer, inner] = isTransposed ? [columns, kB] : [kB, columns];
  if (inner.step !== 1 || outer.step !== inner.extent) return undefined;
  return { k: kB.extent, columns: columns.extent, isTransposed, widest };
}

function isSame(a: PanelLayout, b: PanelLayout): boolean {
  return a.k === b.k && a.columns === b.columns && a.isTransposed === b.isTransposed;
}

/** Whether a buffer is an f32 input, nothing else, and never written. */
function isPlainInput(program: Program, buffer: number): boolean {
  const home = program.buffers[buffer];
  const ports = program.inputs.filter((port) => port.buffer === buffer);
  if (home?.dtype !== "f32" || ports.length !== 1) return false;
  const overlaps = (other: number) => {
    const { offset, bytes } = program.buffers[other] ?? { offset: 0, bytes: 0 };
    return offset < home.offset + home.bytes && home.offset < offset + bytes;
  };
  if (program.outputs.some((port) => overlaps(port.buffer))) return false;
  return program.steps.every(({ kernel, members }) => {
    const accesses = boundBuffers(program.kernels[kernel]);
    return members.every(({ buffers }) =>
      buffers.every((other, at) => accesses[at]?.access === "read" || !overlaps(other))
    );
  });
}
