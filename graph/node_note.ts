/** Nodes as errors, listings and explanations show them. */
import type { Node } from "./node.ts";
import type { Site } from "./site.ts";

/** A graph node behind something that the compiler made. */
export interface NodeNote {
  /** The op's name. */
  readonly op: string;
  readonly label: string | undefined;
  /** Where in the model: `encoder/3/attention`. */
  readonly scope: string;
  /** The user's line that made it. */
  readonly site: Site | undefined;
}

/** The note of a node. It finds out the site when it is asked for it. */
export function noteNode({ op, label, scope, origin }: Node): NodeNote {
  return {
    op: op.name,
    label,
    scope,
    get site() {
      return origin();
    },
  };
}
