/**
 * Loop IR as text: short enough to read and to snapshot. Values used more than once are named.
 * Two kernels with the same text do the same thing, so the text is also the key by which steps
 * share kernels.
 */
import type {
  Expr,
  Kernel,
  LoopBuffer,
  LoopKernel,
  LoopRange,
  MatmulOperand,
  MatmulPart,
  Statement,
} from "./loop_ir.ts";
import { partsOf } from "./lower/expressions.ts";

const SYMBOLS: Readonly<Record<string, string>> = {
  add: "+",
  sub: "-",
  mul: "*",
  div: "/",
  rem: "%",
  less: "<",
  lessEqual: "<=",
  greater: ">",
  greaterEqual: ">=",
  equal: "==",
  notEqual: "!=",
};

/** The kernel as text. */
export function printKernel(kernel: Kernel): string {
  const sizes = kernel.kind === "loops" ? kernel.sizes?.map((size) => `size ${size}`) ?? [] : [];
  const header = `${kernel.name}(${[...sizes, ...kernel.buffers.map(printBuffer)].join(", ")})`;
  if (kernel.kind === "loops") {
    return [header, ...new KernelPrinter(kernel.buffers).loops(kernel)].join("\n");
  }
  if (kernel.kind === "matmul") {
    return [header, ...kernel.parts.flatMap((part) => printPart(part, kernel.buffers))].join("\n");
  }
  const { kind: _kind, name: _name, buffers: _buffers, ...rest } = kernel;
  const parts = Object.entries(rest).filter(([, value]) => value !== undefined);
  return [header, ...parts.map(([name, value]) => `  ${name} ${JSON.stringify(value)}`)].join("\n");
}

function printBuffer(buffer: LoopBuffer): string {
  return `${buffer.access} ${buffer.name}: ${buffer.dtype}[${buffer.elements}]`;
}

function printPart(part: MatmulPart, buffers: readonly LoopBuffer[]): string[] {
  const axes = (["batch", "m", "n"] as const).map((role) =>
    `${role} [${part[role].map(({ variable, extent }) => `${variable}:${extent}`).join(", ")}]`
  );
  const operand = ({ buffer, offset, batchStrides, freeStrides, kStrides }: MatmulOperand) => {
    const strides = [batchStrides, freeStrides, kStrides].map((list) => list.join(", "));
    return `${buffers[buffer]?.name ?? "?"}[${offset} + (${strides.join("; ")})]`;
  };
  return [
    `  matmul ${axes.join(" ")}:`,
    ...part.terms.map(({ a, b, k }) =>
      `    acc += k [${k.join(", ")}] ${operand(a)} * ${operand(b)}`
    ),
    ...new KernelPrinter(buffers).block(part.epilogue, "    "),
  ];
}

class KernelPrinter {
  readonly #buffers: readonly LoopBuffer[];
  /** Names of values printed before, in the blocks around the current one. */
  #names = new Map<Expr, string>();
  #next = 0;

  constructor(buffers: readonly LoopBuffer[]) {
    this.#buffers = buffers;
  }

  loops(kernel: LoopKernel): string[] {
    const { variable, extent } = kernel.parallel;
    return [`  parallel ${variable} < ${extent}:`, ...this.block(kernel.body, "    ")];
  }

  block(statements: readonly Statement[], indent: string): string[] {
    const outer = this.#names;
    this.#names = new Map(outer);
    const lines = statements.flatMap((statement) => this.#statement(statement, indent));
    this.#names = outer;
    return lines;
  }

  #statement(statement: Statement, indent: string): string[] {
    const lines: string[] = [];
    const text = (expr: Expr) => this.#expression(expr, lines, indent);
    switch (statement.kind) {
      case "let":
        lines.push(`${indent}${statement.name} = ${text(statement.value)}`);
        return lines;
      case "store":
      case "accumulate": {
        const sign = statement.kind === "store" ? "=" : "+=";
        const value = text(statement.value);
        const place = `${this.#bufferName(statement.buffer)}[${text(statement.index)}]`;
        lines.push(`${indent}${place} ${sign} ${value}`);
        return lines;
      }
      case "loop": {
        const mode = statement.vectorize ? "vector loop" : "loop";
        lines.push(`${indent}${mode} ${this.#range(statement.range, lines, indent)}:`);
        return [...lines, ...this.block(statement.body, `${indent}  `)];
      }
      case "reduce":
        return this.#reduce(statement, indent);
    }
  }

  #reduce(statement: Statement & { kind: "reduce" }, indent: string): string[] {
    const lines: string[] = [];
    const ranges = statement.ranges.map((range) => this.#range(range, lines, indent));
    lines.push(`${indent}reduce ${ranges.join(", ")}:`);
    const outer = this.#names;
    this.#names = new Map(outer);
    const inner = `${indent}  `;
    for (const child of statement.body) lines.push(...this.#statement(child, inner));
    for (const { name, op, value } of statement.accumulators) {
      const folded = this.#expression(value, lines, inner);
      lines.push(`${inner}${name} = ${op} ${folded}`);
    }
    this.#names = outer;
    return lines;
  }

  #range(range: LoopRange, lines: string[], indent: string): string {
    const start = this.#expression(range.start, lines, indent);
    return `${range.variable} in ${start}..${this.#expression(range.end, lines, indent)}`;
  }

  #bufferName(buffer: number): string {
    return this.#buffers[buffer]?.name ?? `buffer${buffer}`;
  }

  /** The expression's text, after lines that name the values it uses more than once. */
  #expression(root: Expr, lines: string[], indent: string): string {
    const uses = new Map<Expr, number>();
    const count = (expr: Expr): void => {
      const before = uses.get(expr) ?? 0;
      uses.set(expr, before + 1);
      if (before === 0 && !this.#names.has(expr)) partsOf(expr).forEach(count);
    };
    count(root);
    const render = (expr: Expr): string => {
      const known = this.#names.get(expr);
      if (known !== undefined) return known;
      const text = this.#render(expr, render);
      if ((uses.get(expr) ?? 0) < 2 || expr.kind === "const" || expr.kind === "var") return text;
      const name = `t${this.#next++}`;
      lines.push(`${indent}${name} = ${text}`);
      this.#names.set(expr, name);
      return name;
    };
    return render(root);
  }

  #render(expr: Expr, render: (expr: Expr) => string): string {
    switch (expr.kind) {
      case "const":
        return printConstant(expr.type, expr.value);
      case "var":
        return expr.name;
      case "load":
        return `${this.#bufferName(expr.buffer)}[${render(expr.index)}]`;
      case "unary":
        return `${expr.op}(${render(expr.a)})`;
      case "cast":
        return `${expr.type}(${render(expr.a)})`;
      case "bitcast":
        return `bits_${expr.type}(${render(expr.a)})`;
      case "roundTo":
        return `round_${expr.storage}(${render(expr.a)})`;
      case "binary": {
        const symbol = SYMBOLS[expr.op];
        const [a, b] = [render(expr.a), render(expr.b)];
        return symbol === undefined ? `${expr.op}(${a}, ${b})` : `(${a} ${symbol} ${b})`;
      }
      case "select":
      case "guarded":
        return `${expr.kind}(${render(expr.condition)}, ${render(expr.a)}, ${render(expr.b)})`;
      case "threefry": {
        const words = [expr.key0, expr.key1, expr.counter0, expr.counter1].map(render);
        return `threefry_${expr.word}(${words.join(", ")})`;
      }
    }
  }
}

function printConstant(type: string, value: number): string {
  const text = Object.is(value, -0) ? "-0" : String(value);
  if (type === "u32") return `${text}u`;
  return type === "f32" && Number.isInteger(value) ? `${text}.0` : text;
}
