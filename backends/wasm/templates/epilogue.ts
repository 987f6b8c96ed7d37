/**
 * What is done with a matmul's finished sums: the kernel's epilogue, in loops over a block of rows and
 * columns. It is written in loop IR and emitted as any loop kernel is, so it runs on vectors along
 * the innermost column axis, and what depends on the row alone is computed once a row.
 */
import type {
  Expr,
  KernelBuffer,
  LoopRange,
  MatmulAxis,
  MatmulPart,
  Statement,
} from "../../../compiler/loop_ir.ts";
import type { Local, ModuleBuilder } from "../encoder.ts";
import { emitInto } from "../emit/loop_kernel.ts";
import { addresses, i32s } from "./control_flow.ts";
import type { MatmulRoles } from "../../matmul_roles.ts";
import type { Range } from "./operands.ts";
import { boundBuffers, type KernelFunction } from "./template.ts";

/** What the epilogue's function takes ahead of the buffers' addresses; the first is one as well. */
const PARAMETERS = ["sums", "batch", "rowStart", "rowEnd", "columnStart", "columnEnd"] as const;

/** The array that sums are made in: rows, and elements between neighbouring rows. */
export interface SumsShape {
  readonly rows: number;
  readonly columns: number;
}

/** A block of finished sums. */
export interface FinishedBlock {
  readonly batch: Local;
  readonly rows: Range;
  readonly columns: Range;
}

/** The kernel around the part, and how its epilogue is emitted. */
export interface EpilogueOptions {
  readonly name: string;
  readonly buffers: readonly KernelBuffer[];
  readonly relaxedSimd: boolean;
}

/** Emits the epilogue's function. */
export function emitEpilogue(
  module: ModuleBuilder,
  part: MatmulPart,
  roles: MatmulRoles,
  shape: SumsShape,
  { name, buffers, relaxedSimd }: EpilogueOptions,
): number {
  const bound = boundBuffers(buffers);
  if (bound.length < buffers.length) {
    throw new TypeError(`Matmul kernel ${name} has scratch buffers; only loop kernels may`);
  }
  const f = module.function(`${name}_epilogue`, {
    params: ["address", ...i32s(PARAMETERS.length - 1), ...addresses(bound.length)],
    results: [],
  });
  const sums: KernelBuffer = {
    name: "sums",
    dtype: "f32",
    elements: shape.rows * shape.columns,
    access: "read",
  };
  const bufferLocals = bound.map((_, position) => f.param(PARAMETERS.length + position));
  emitInto(
    {
      module,
      f,
      buffers: [...buffers, sums],
      addresses: [...bufferLocals, f.param(0)],
      variables: new Map(
        PARAMETERS.slice(1).map((name, position) => [outer(name), f.param(position + 1)]),
      ),
    },
    epilogueLoops(part, roles, buffers.length, shape),
    { relaxedSimd },
  );
  return f.index;
}

/** Emits the call of an epilogue's function for a finished block. */
export function callEpilogue(
  epilogue: number,
  fn: KernelFunction,
  unit: FinishedBlock,
  sums: Local,
): void {
  const { f } = fn;
  f.get(sums);
  f.get(unit.batch);
  for (const { start, count } of [unit.rows, unit.columns]) {
    f.get(start);
    f.get(start);
    f.get(count);
    f.i32.add();
  }
  for (const local of fn.bufferAddresses) f.get(local);
  f.call(epilogue);
}

/** Names that a kernel's own variables cannot have. */
function outer(name: typeof PARAMETERS[number] | "row" | "segment"): string {
  return `@${name}`;
}

function epilogueLoops(
  part: MatmulPart,
  roles: MatmulRoles,
  sums: number,
  shape: SumsShape,
): Statement[] {
  const row: LoopRange = {
    variable: outer("row"),
    start: variable(outer("rowStart")),
    end: variable(outer("rowEnd")),
  };
  const body = [
    ...coordinates(roles.m, variable(row.variable)),
    ...columnLoops(part, roles.n, sums, shape),
  ];
  return [
    ...coordinates(roles.batch, variable(outer("batch"))),
    { kind: "loop", range: row, vectorize: false, body },
  ];
}

/** Loops over the block's columns; outer axes of n, if any, are a loop of their own. */
function columnLoops(
  part: MatmulPart,
  axes: readonly MatmulAxis[],
  sums: number,
  shape: SumsShape,
): Statement[] {
  const [start, end] = [variable(outer("columnStart")), variable(outer("columnEnd"))];
  const moving = axes.filter((axis) => axis.extent > 1);
  const innermost = moving.at(-1) ?? axes.at(-1);
  if (innermost === undefined) {
    return [loadSum(sums, shape, start, constant(0)), ...part.epilogue];
  }
  const still = axes.filter((axis) => axis !== innermost && axis.extent === 1)
    .map((axis): Statement => ({ kind: "let", name: axis.variable, value: constant(0) }));
  const overInnermost = (first: Expr, range: Omit<LoopRange, "variable">): Statement => ({
    kind: "loop",
    range: { variable: innermost.variable, ...range },
    vectorize: true,
    body: [loadSum(sums, shape, first, variable(innermost.variable)), ...part.epilogue],
  });
  if (moving.length <= 1) return [...still, overInnermost(start, { start, end })];
  const segment = variable(outer("segment"));
  const extent = constant(innermost.extent);
  const before = binary("mul", segment, extent);
  const inSegment = (position: Expr) => binary("sub", position, before);
  const segmentLoop: Statement = {
    kind: "loop",
    range: {
      variable: outer("segment"),
      start: binary("div", start, extent),
      end: binary("div", binary("add", end, constant(innermost.extent - 1)), extent),
    },
    vectorize: false,
    body: [
      ...coordinates(moving.slice(0, -1), segment),
      overInnermost(inSegment(start), {
        start: binary("max", inSegment(start), constant(0)),
        end: binary("min", inSegment(end), extent),
      }),
    ],
  };
  return [...still, segmentLoop];
}

/** `acc = sums[row, column - first]`. */
function loadSum(sums: number, shape: SumsShape, first: Expr, column: Expr): Statement {
  const row = binary("sub", variable(outer("row")), variable(outer("rowStart")));
  const rowIndex = binary("mul", row, constant(shape.columns));
  const index = binary("add", rowIndex, binary("sub", column, first));
  return { kind: "let", name: "acc", value: { kind: "load", type: "f32", buffer: sums, index } };
}

/** Defines the axes' variables from their flat index. */
function coordinates(axes: readonly MatmulAxis[], flat: Expr): Statement[] {
  let inner = axes.reduce((total, axis) => total * axis.extent, 1);
  return axes.map((axis, position): Statement => {
    inner /= axis.extent;
    const quotient = inner === 1 ? flat : binary("div", flat, constant(inner));
    const value = position === 0 ? quotient : binary("rem", quotient, constant(axis.extent));
    return { kind: "let", name: axis.variable, value };
  });
}

function variable(name: string): Expr {
  return { kind: "var", type: "i32", name };
}

function constant(value: number): Expr {
  return { kind: "const", type: "i32", value };
}

function binary(op: "add" | "sub" | "mul" | "div" | "rem" | "min" | "max", a: Expr, b: Expr): Expr {
  return { kind: "binary", op, type: "i32", a, b };
}
