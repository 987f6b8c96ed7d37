/** What a matmul's epilogue loads and stores by fours: neighbours along the innermost axis of columns. */
import type { Expr, KernelBuffer, MatmulPart, Statement } from "../../../compiler/loop_ir.ts";
import { partsOf, rootsOf } from "../../../compiler/lower/expressions.ts";
import type { RoleAxis } from "../../matmul_roles.ts";

/** A load of an epilogue. */
export type LoadExpr = Expr & { readonly kind: "load" };
/** A store of an epilogue. */
export type StoreStatement = Statement & { readonly kind: "store" };

/** Loads and stores of four neighbours, from any multiple of four columns on. */
export interface EpilogueFours {
  /** Of buffers that are only read, and whatever the element is. */
  readonly loads: readonly LoadExpr[];
  readonly stores: ReadonlySet<StoreStatement>;
}

/** How an index goes along with a variable: `slope * variable`, and the rest a multiple of a number. */
interface Course {
  readonly slope: number;
  /** 0 where there is no rest. */
  readonly multiple: number;
}

const WIDTH = 4;

/** Finds them, for a part whose columns run over these axes. */
export function foursOf(
  { epilogue, batch, m, n }: MatmulPart,
  columns: readonly RoleAxis[],
  buffers: readonly KernelBuffer[],
): EpilogueFours {
  const loads: LoadExpr[] = [];
  const stores = new Set<StoreStatement>();
  const innermost = columns.at(-1);
  if (innermost === undefined || innermost.extent % WIDTH !== 0) return { loads, stores };
  const axes = new Set([...batch, ...m, ...n].map(({ variable }) => variable));
  const comesInFours = (buffer: number, index: Expr) => {
    if (buffers[buffer]?.dtype !== "f32") return false;
    const course = courseOf(index, innermost.variable, axes);
    return course?.slope === 1 && course.multiple % WIDTH === 0;
  };
  const find = (expr: Expr) => {
    // What a condition rules out is not to be loaded.
    if (expr.kind === "guarded") return find(expr.condition);
    if (
      expr.kind === "load" && buffers[expr.buffer]?.access === "read" &&
      comesInFours(expr.buffer, expr.index)
    ) loads.push(expr);
    partsOf(expr).forEach(find);
  };
  for (const statement of epilogue) {
    rootsOf(statement).forEach(find);
    if (statement.kind === "store" && comesInFours(statement.buffer, statement.index)) {
      stores.add(statement);
    }
  }
  return { loads, stores };
}

/** The buffers that are best bound by fours: no part stores to them one by one. */
export function wideInEpilogues(
  buffers: readonly KernelBuffer[],
  parts: readonly {
    readonly part: MatmulPart;
    readonly roles: { readonly n: readonly RoleAxis[] };
  }[],
): KernelBuffer[] {
  const [wide, single] = [new Set<number>(), new Set<number>()];
  for (const { part, roles } of parts) {
    const { loads, stores } = foursOf(part, roles.n, buffers);
    for (const { buffer } of loads) wide.add(buffer);
    for (const statement of part.epilogue) {
      if (statement.kind !== "store") continue;
      (stores.has(statement) ? wide : single).add(statement.buffer);
    }
  }
  return [...wide].flatMap((buffer) => single.has(buffer) ? [] : buffers[buffer] ?? []);
}

/** Undefined where the index does not go evenly, or is made of more than the axes. */
function courseOf(expr: Expr, variable: string, axes: ReadonlySet<string>): Course | undefined {
  if (expr.kind === "const") return { slope: 0, multiple: Math.abs(expr.value) };
  if (expr.kind === "var") {
    if (!axes.has(expr.name)) return undefined;
    return expr.name === variable ? { slope: 1, multiple: 0 } : { slope: 0, multiple: 1 };
  }
  const parts = partsOf(expr).map((part) => courseOf(part, variable, axes));
  const [a, b] = parts;
  if (expr.kind === "binary" && a !== undefined && b !== undefined) {
    const rest = divisor(a.multiple, b.multiple);
    if (expr.op === "add") return { slope: a.slope + b.slope, multiple: rest };
    if (expr.op === "sub") return { slope: a.slope - b.slope, multiple: rest };
    if (expr.op === "mul") {
      const [factor, other] = expr.a.kind === "const" ? [expr.a.value, b] : [undefined, a];
      const by = factor ?? (expr.b.kind === "const" ? expr.b.value : undefined);
      if (by !== undefined) {
        return { slope: other.slope * by, multiple: other.multiple * Math.abs(by) };
      }
    }
  }
  const stays = parts.every((part) => part?.slope === 0);
  return stays ? { slope: 0, multiple: 1 } : undefined;
}

/** The greatest number that divides both; 0 is a multiple of all. */
function divisor(a: number, b: number): number {
  return b === 0 ? a : divisor(b, a % b);
}
