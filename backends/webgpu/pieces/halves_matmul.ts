/** Matmuls cut in two: by parts, by rows, columns or batch entries of the result, by the length of sums. */
import type {
  Expr,
  MatmulAxis,
  MatmulKernel,
  MatmulOperand,
  MatmulPart,
  MatmulTerm,
  Statement,
} from "../../../compiler/loop_ir.ts";
import { integerConstant } from "../../../compiler/index_expr.ts";
import { integerBinary, variable } from "../../../compiler/lower/ranges.ts";
import {
  type Halves,
  type HandedBuffer,
  middleOf,
  movedBy,
  replaceVariable,
  withHanded,
} from "./halves.ts";

const ROLES = ["batch", "m", "n"] as const;
type Role = typeof ROLES[number];

/** All ways to cut the kernel. */
export function halvesOfMatmul(kernel: MatmulKernel): Halves[] {
  const { parts } = kernel;
  const [part, more] = parts;
  if (part === undefined) return [];
  if (more !== undefined) {
    const middle = middleOf(parts.length);
    const some = (name: string, parts: readonly MatmulPart[]) => ({ ...kernel, name, parts });
    return [{
      name: `parts to ${middle}`,
      kernels: [
        some(kernel.name, parts.slice(0, middle)),
        some(kernel.name, parts.slice(middle)),
      ],
      handed: [],
    }];
  }
  return [...halvesByAxis(kernel, part), ...halvesBySum(kernel, part)];
}

function halvesByAxis(kernel: MatmulKernel, part: MatmulPart): Halves[] {
  return ROLES.flatMap((role) =>
    part[role].flatMap(({ variable, extent }, at): Halves[] => {
      if (extent < 2) return [];
      const middle = middleOf(extent);
      const piece = (start: number, length: number): MatmulKernel => ({
        ...kernel,
        parts: [alongAxis(part, role, at, start, length)],
      });
      return [{
        name: `${variable} to ${middle}`,
        kernels: [piece(0, middle), piece(middle, extent - middle)],
        handed: [],
      }];
    })
  );
}

/** The part's results of which an axis' place is in `start..start+length`. */
function alongAxis(
  part: MatmulPart,
  role: Role,
  at: number,
  start: number,
  length: number,
): MatmulPart {
  const axes = part[role];
  const name = axes[at]?.variable ?? "";
  const moved = (operand: MatmulOperand, isFree: boolean): MatmulOperand => {
    const strides = role === "batch" ? operand.batchStrides : isFree ? operand.freeStrides : [];
    return { ...operand, offset: operand.offset + start * (strides[at] ?? 0) };
  };
  return {
    ...part,
    [role]: axes.map((axis, index) => index === at ? { ...axis, extent: length } : axis),
    terms: part.terms.map((term) => ({
      ...term,
      a: moved(term.a, role === "m"),
      b: moved(term.b, role === "n"),
    })),
    epilogue: replaceVariable(part.epilogue, name, movedBy(start, length)),
  };
}

/** The first half of what is summed up goes to memory, from where the second takes it. */
function halvesBySum(kernel: MatmulKernel, part: MatmulPart): Halves[] {
  const cut = cutTerms(part.terms);
  if (cut === undefined) return [];
  const axes = ROLES.flatMap((role) => part[role]);
  const elements = axes.reduce((product, { extent }) => product * extent, 1);
  const handed: HandedBuffer[] = [{ name: "partial", dtype: "f32", elements }];
  const buffer = kernel.buffers.length;
  const index = flatIndex(axes);
  const store: Statement = { kind: "store", buffer, index, value: sumVariable() };
  const load: Expr = { kind: "load", type: "f32", buffer, index };
  const total = (acc: Expr): Expr => ({ kind: "binary", op: "add", type: "f32", a: load, b: acc });
  return [{
    name: cut.name,
    kernels: [{
      ...kernel,
      buffers: withHanded(kernel.buffers, handed, "write"),
      parts: [{ ...part, terms: cut.first, epilogue: [store] }],
    }, {
      ...kernel,
      buffers: withHanded(kernel.buffers, handed, "read"),
      parts: [{
        ...part,
        terms: cut.second,
        epilogue: replaceVariable(part.epilogue, "acc", total),
      }],
    }],
    handed,
  }];
}

function sumVariable(): Expr {
  return { kind: "var", type: "f32", name: "acc" };
}

function flatIndex(axes: readonly MatmulAxis[]): Expr {
  return axes.reduce<Expr>(
    (outer, axis) =>
      integerBinary(
        "add",
        integerBinary("mul", outer, integerConstant(axis.extent)),
        variable(axis.variable),
      ),
    integerConstant(0),
  );
}

interface CutTerms {
  readonly name: string;
  readonly first: readonly MatmulTerm[];
  readonly second: readonly MatmulTerm[];
}

function cutTerms(terms: readonly MatmulTerm[]): CutTerms | undefined {
  const [term, more] = terms;
  if (term === undefined) return undefined;
  if (more !== undefined) {
    const middle = middleOf(terms.length);
    return {
      name: `terms to ${middle}`,
      first: terms.slice(0, middle),
      second: terms.slice(middle),
    };
  }
  const at = term.k.findIndex((extent) => extent > 1);
  const extent = term.k[at];
  if (extent === undefined) return undefined;
  const middle = middleOf(extent);
  const some = (start: number, length: number): MatmulTerm => {
    const moved = (operand: MatmulOperand): MatmulOperand => ({
      ...operand,
      offset: operand.offset + start * (operand.kStrides[at] ?? 0),
    });
    return {
      a: moved(term.a),
      b: moved(term.b),
      k: term.k.map((whole, index) => index === at ? length : whole),
    };
  };
  return {
    name: `sums to ${middle} of axis ${at}`,
    first: [some(0, middle)],
    second: [some(middle, extent - middle)],
  };
}
