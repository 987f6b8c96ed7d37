/** Kernels that are the same but for numbers, as one kernel with sizes. */
import type { Expr, LoopKernel, Size, Statement } from "../loop_ir.ts";
import { integerConstant } from "../index_expr.ts";
import { mapStatements, sharedRewrite, withParts } from "../lower/expressions.ts";
import { printKernel } from "../print_loop_ir.ts";
import type { PlainLoopKernel } from "../sizes.ts";

/** Gives what a number becomes: itself, or the name of a size. */
type Resize = (value: number) => Size;

/**
 * The kernel's form: equal for kernels that differ in nothing but extents, lengths of buffers, and the
 * whole numbers of index arithmetic. Divisors and shifts are part of the form, since code is better
 * where these are known; so is the length of scratch, which a backend has to know.
 */
export function formOf(kernel: PlainLoopKernel): string {
  // Numbered, so that kernels of one form have their numbers in one order.
  let next = 0;
  return printKernel({ ...resized(kernel, () => `#${next++}`), name: "" });
}

/** The numbers that {@linkcode formOf} leaves open, in order. */
export function numbersOf(kernel: PlainLoopKernel): number[] {
  const numbers: number[] = [];
  resized(kernel, (value) => {
    numbers.push(value);
    return value;
  });
  return numbers;
}

/** One kernel for several of one form, and each one's values of its sizes. */
export interface SharedForm {
  readonly kernel: LoopKernel;
  readonly sizes: readonly (readonly number[])[];
}

/** The kernel that does what each of these does, which are of one form. Numbers that vary together are one size. */
export function shareForm(kernels: readonly PlainLoopKernel[]): SharedForm {
  const [first] = kernels;
  if (first === undefined) throw new RangeError("There is no kernel to share");
  const columns = kernels.map(numbersOf);
  const names = new Map<string, string>();
  const sizes: number[][] = kernels.map(() => []);
  let at = 0;
  const kernel = resized(first, (value) => {
    const values = columns.map((numbers) => numbers[at] ?? NaN);
    at++;
    if (values.every((other) => other === value)) return value;
    const key = values.join();
    const name = names.get(key) ?? `n${names.size}`;
    if (!names.has(key)) {
      names.set(key, name);
      values.forEach((number, member) => sizes[member]?.push(number));
    }
    return name;
  });
  return { kernel: names.size === 0 ? kernel : { ...kernel, sizes: [...names.values()] }, sizes };
}

/** The kernel with its open numbers replaced, always in the same order. */
function resized(kernel: PlainLoopKernel, resize: Resize): LoopKernel {
  const parallel = { ...kernel.parallel, extent: resize(kernel.parallel.extent) };
  const buffers = kernel.buffers.map((buffer) =>
    buffer.access === "scratch" ? buffer : { ...buffer, elements: resize(buffer.elements) }
  );
  return { ...kernel, parallel, buffers, body: resizedStatements(kernel.body, resize) };
}

function resizedStatements(body: readonly Statement[], resize: Resize): Statement[] {
  const expr = sharedRewrite((before, recur): Expr => {
    if (before.kind === "const") return resizedConstant(before, resize);
    if (before.kind === "binary" && KEPT_ON_THE_RIGHT.has(before.op)) {
      return { ...before, a: recur(before.a), b: keptConstant(before.b, recur) };
    }
    return withParts(before, recur);
  });
  return mapStatements(body, { expr });
}

/** Operations whose right operand is part of the form where it is a constant. */
const KEPT_ON_THE_RIGHT: ReadonlySet<string> = new Set(["div", "rem", "shiftLeft", "shiftRight"]);

function keptConstant(expr: Expr, recur: (part: Expr) => Expr): Expr {
  return expr.kind === "const" ? expr : recur(expr);
}

function resizedConstant(expr: Expr & { readonly kind: "const" }, resize: Resize): Expr {
  if (expr.type !== "i32" || expr.value < 0) return expr;
  const size = resize(expr.value);
  return typeof size === "number"
    ? integerConstant(size)
    : { kind: "var", type: "i32", name: size };
}
