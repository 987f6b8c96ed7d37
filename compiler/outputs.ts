/** What is done about outputs that no kernel writes as they are wanted. */
import type { Node } from "../graph/node.ts";
import { staticShape, staticSize } from "../graph/shape.ts";
import type { GraphModule } from "./module.ts";
import type { Program } from "./program.ts";
import { accessOf } from "./schedule/access.ts";
import { isComputed } from "./schedule/ops.ts";
import { copyOf } from "./schedule/copy.ts";

/** A graph each of whose outputs has a place in memory of its own or is an unchanged input. */
export interface OwnedOutputs {
  readonly module: GraphModule;
  /** For each donated output node, the input node whose memory it takes. */
  readonly overwrites: ReadonlyMap<Node, Node>;
}

/** Outputs that are a reshape of what a kernel computes become that: the numbers are the same. */
export function outputsBehindReshapes(module: GraphModule): GraphModule {
  const outputs = new Map<string, Node>();
  for (const [path, node] of module.outputs) {
    const { producer, pattern } = accessOf(node);
    outputs.set(path, pattern === "same" && isComputed(producer) ? producer : node);
  }
  return { inputs: module.inputs, outputs };
}

/** The program with its outputs' shapes as the graph has them. */
export function withShapes(program: Program, outputs: ReadonlyMap<string, Node>): Program {
  return {
    ...program,
    outputs: program.outputs.map((port) => {
      const node = outputs.get(port.path);
      return node === undefined ? port : { ...port, shape: staticShape(node.shape) };
    }),
  };
}

/** Whether an output is made of numbers that no kernel computes and no input brings. */
function isWrittenOut(node: Node): boolean {
  return node.op.kind === "source" && node.op.name !== "input" &&
    staticSize(staticShape(node.shape)) > 0;
}

/**
 * Gives outputs without a kernel one that copies them: numbers that nothing computes, inputs that
 * are overwritten, and views that take an input's memory. Each donated output becomes a node of its
 * own; one that is the donated input itself, unchanged, needs none. Returns which node takes which
 * input's memory.
 */
export function ownOutputs(
  module: GraphModule,
  pairs: ReadonlyMap<string, string>,
): OwnedOutputs {
  const copies = new Set<Node>();
  const copied = (node: Node): Node => {
    const copy = copyOf(node);
    copies.add(copy);
    return copy;
  };
  const changed = [...pairs].flatMap(([from, to]) => {
    const input = module.inputs.get(from);
    return input === undefined || input === module.outputs.get(to) ? [] : [{ input, to }];
  });
  const lost = new Set(changed.map(({ input }) => input));
  const outputs = new Map<string, Node>();
  for (const [path, node] of module.outputs) {
    outputs.set(path, isWrittenOut(node) || lost.has(node) ? copied(node) : node);
  }
  const overwrites = new Map<Node, Node>();
  for (const { input, to } of changed) {
    let output = outputs.get(to);
    if (output === undefined) continue;
    // A copy of a copy is another node, where two inputs are to become one output.
    if (!isComputed(output) && !copies.has(output)) output = copied(output);
    while (overwrites.has(output)) output = copied(output);
    outputs.set(to, output);
    overwrites.set(output, input);
  }
  return { module: { inputs: module.inputs, outputs }, overwrites };
}
