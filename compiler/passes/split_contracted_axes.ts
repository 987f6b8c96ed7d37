/**
 * A contraction that reads a reshape which no strides can express, such as an image cut into patches,
 * is rewritten over the axes from before the reshape. What was to be copied is then read where it
 * stands: the patch embedding becomes one matrix product without a tensor of patches.
 */
import { makeNode, type Node } from "../../graph/node.ts";
import { contractRecord, parseSpec } from "../../graph/ops/contract.ts";
import { reshape } from "../../graph/ops/mod.ts";
import { staticShape } from "../../graph/shape.ts";
import { operandOf } from "../lower/attributes.ts";
import { type OperandReading, templateView } from "../lower/matmul.ts";
import { type GraphModule, rewriteModule } from "../module.ts";
import type { RuleReport } from "../report.ts";
import { bytesOf } from "../schedule/access.ts";

const RULE = "split_contracted_axes";

const WHERE_IT_IS: OperandReading = { copies: new Set(), readsHalves: false };

/** The module with such contractions rewritten. */
export function splitContractedAxes(module: GraphModule, report: RuleReport): GraphModule {
  if (!report.isOn(RULE)) return module;
  return rewriteModule(module, (node) => {
    if (node.op.name !== "contract") return node;
    return splitOperand(node, 0, report) ?? splitOperand(node, 1, report) ?? node;
  });
}

/** The contraction over the axes of what the operand is a reshape of, where that saves a copy. */
function splitOperand(node: Node, position: 0 | 1, report: RuleReport): Node | undefined {
  const operand = operandOf(node, position);
  if (operand.op.name !== "reshape" || templateView(operand, WHERE_IT_IS) !== undefined) {
    return undefined;
  }
  const source = operandOf(operand, 0);
  const factors = axisFactors(staticShape(operand.shape), staticShape(source.shape));
  if (templateView(source, WHERE_IT_IS) === undefined || factors === undefined) {
    const shapes = `[${source.shape.join(", ")}] to [${operand.shape.join(", ")}]`;
    report.refused(RULE, node, `its operand's axes do not come apart: ${shapes}`);
    return undefined;
  }
  const spec = parseSpec(String(node.attrs["spec"]));
  const own = position === 0 ? spec.left : spec.right;
  const extents = new Map(own.map((letter, axis) => [letter, factors[axis] ?? []]));
  const letters = new LetterSplitter([...spec.left, ...spec.right], extents);
  const other = operandOf(node, 1 - position);
  const otherLetters = position === 0 ? spec.right : spec.left;
  const split = reshape(other, letters.shapeOf(otherLetters, staticShape(other.shape)));
  const sides = [letters.split(spec.left), letters.split(spec.right)].map((side) => side.join(""));
  report.applied(RULE, node, `reads [${source.shape.join(", ")}] as it is`, 2 * bytesOf(operand));
  const made = makeNode(
    contractRecord,
    position === 0 ? [source, split] : [split, source],
    { spec: `${sides.join(",")}->${letters.split(spec.output).join("")}` },
  );
  return reshape(made, node.shape);
}

/** For each axis of the shape, the neighbouring axes of `from` that it is made of. */
function axisFactors(
  shape: readonly number[],
  from: readonly number[],
): number[][] | undefined {
  let next = 0;
  const factors: number[][] = [];
  for (const extent of shape) {
    const group: number[] = [];
    let product = 1;
    while (next < from.length && (product < extent || group.length === 0)) {
      const factor = from[next] ?? 1;
      if (product * factor > extent) return undefined;
      product *= factor;
      group.push(factor);
      next++;
    }
    if (product !== extent || group.length === 0) return undefined;
    factors.push(group);
  }
  const rest = from.slice(next);
  if (rest.some((extent) => extent !== 1)) return undefined;
  factors.at(-1)?.push(...rest);
  return factors;
}

/** Gives each factor of a letter's axis a letter of its own. */
class LetterSplitter {
  readonly #factors: ReadonlyMap<string, readonly number[]>;
  readonly #letters = new Map<string, string[]>();

  constructor(used: readonly string[], factors: ReadonlyMap<string, readonly number[]>) {
    this.#factors = factors;
    const free = [..."abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"]
      .filter((letter) => !used.includes(letter));
    for (const letter of new Set(used)) {
      const count = factors.get(letter)?.length ?? 1;
      this.#letters.set(letter, [letter, ...free.splice(0, count - 1)]);
    }
  }

  split(letters: readonly string[]): string[] {
    return letters.flatMap((letter) => this.#letters.get(letter) ?? [letter]);
  }

  shapeOf(letters: readonly string[], shape: readonly number[]): number[] {
    return letters.flatMap((letter, axis) => this.#factors.get(letter) ?? [shape[axis] ?? 1]);
  }
}
