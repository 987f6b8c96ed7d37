/** The graph's error classes, and the text that describes operands in them. */
import { formatShape, type Shape } from "./shape.ts";
import { captureSite, formatFullSite, formatSite, type Site } from "./site.ts";

/** What an operand looks like in a message. */
export interface OperandText {
  readonly name?: string | undefined;
  /** The op that made it, and the user's line. */
  readonly made?: { readonly op: string; readonly site: Site | undefined } | undefined;
  readonly dtype: string;
  readonly shape: Shape;
}

/** Text such as `x: f32[batch, 197, 768]`, or `operand 1 (tanh, train.ts:41): f32[2, 3]`. */
export function describeOperand(operand: OperandText, index: number): string {
  const { name, made, dtype, shape } = operand;
  const origin = made === undefined ? "" : ` (${made.op}, ${formatSite(made.site)})`;
  return `${name ?? `operand ${index}${origin}`}: ${dtype}${formatShape(shape)}`;
}

/** An op was applied to operands it does not take. The message names them and the user's line. */
export class GraphError extends TypeError {
  override readonly name: string = "GraphError";
  /** The op that refused. */
  readonly op: string;
  /** The user's own line. */
  readonly site: Site | undefined;

  constructor(op: string, problem: string, operands: readonly OperandText[]) {
    const site = captureSite();
    const list = operands.map((operand, index) => `  ${describeOperand(operand, index)}`);
    super([`${op}: ${problem}`, ...list, `  at ${formatFullSite(site)}`].join("\n"));
    this.op = op;
    this.site = site;
  }
}

/** The shapes of an op's operands do not fit together. */
export class ShapeError extends GraphError {
  override readonly name = "ShapeError";
}

/** The element types of an op's operands do not fit together. */
export class DTypeError extends GraphError {
  override readonly name = "DTypeError";
}

/** A gradient was asked for where there is none. */
export class GradientError extends TypeError {
  override readonly name = "GradientError";
}
