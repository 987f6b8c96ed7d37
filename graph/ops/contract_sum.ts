/** The sum of several contractions as one: what the compiler makes of a sum of matrix products. */
import { ShapeError } from "../errors.ts";
import { makeNode, type Node } from "../node.ts";
import { defineOp } from "../op.ts";
import { sameShape } from "../shape.ts";
import { add } from "./binary.ts";
import { contractRecord } from "./contract.ts";
import { at, textsOf } from "./support.ts";

type SpecsAttrs = { readonly specs: readonly string[] };

/** Operands 2i and 2i + 1 are those of term i, contracted by `specs[i]`. */
export const contractSumRecord = defineOp<SpecsAttrs>({
  name: "contractSum",
  kind: "contract",
  doc: "The sum of contractions of the same shape: one matrix product over the joined axes.",
  infer: (inputs, { specs }) => {
    if (specs.length === 0 || inputs.length !== 2 * specs.length) {
      throw new ShapeError(
        "contractSum",
        `${inputs.length} operands do not fit ${specs.length} terms`,
        textsOf(inputs),
      );
    }
    const types = specs.map((spec, term) =>
      contractRecord.infer(inputs.slice(2 * term, 2 * term + 2), { spec })
    );
    const first = at(types, 0);
    if (types.every((type) => sameShape(type.shape, first.shape))) return first;
    throw new ShapeError("contractSum", "the terms have different shapes", textsOf(inputs));
  },
  vjp: "decompose",
  flops: (inputs, output, { specs }) =>
    specs.reduce(
      (total, spec, term) =>
        total + contractRecord.flops(inputs.slice(2 * term, 2 * term + 2), output, { spec }),
      0,
    ),
  reference: (inputs, output, { specs }) => {
    const terms = specs.map((spec, term) =>
      contractRecord.reference(inputs.slice(2 * term, 2 * term + 2), output, { spec })
    );
    return at(terms, 0).map((_, index) =>
      terms.reduce((total, values) => total + at(values, index), 0)
    );
  },
  decompose: (node) => termsOf(node).reduce((total, term): Node => add(total, term)),
});

/** The contractions that a node is the sum of: itself, when it is a plain one. */
export function termsOf(node: Node): Node[] {
  if (node.op.name !== "contractSum") return [node];
  // The record's infer has checked the attribute.
  const specs = node.attrs["specs"] as readonly string[];
  return specs.map((spec, term) =>
    makeNode(contractRecord, node.inputs.slice(2 * term, 2 * term + 2), { spec })
  );
}

/** The sum of contractions of one shape, as one node. */
export function contractSum(terms: readonly Node[]): Node {
  const specs = terms.map((term) => String(term.attrs["spec"]));
  return makeNode(contractSumRecord, terms.flatMap((term) => term.inputs), { specs });
}
