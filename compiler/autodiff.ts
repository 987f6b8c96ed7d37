/**
 * Reverse-mode differentiation from graph to graph, by the gradient rules of the op records. The
 * result is made of ordinary nodes, so that it can be differentiated again.
 */
import { isFloat } from "../graph/dtype.ts";
import { GradientError } from "../graph/errors.ts";
import { type Node, Tensor, withProvenance } from "../graph/node.ts";
import { checkpointRegionOf } from "../graph/ops/checkpoint.ts";
import { add, ones, zeros } from "../graph/ops/mod.ts";
import { formatShape } from "../graph/shape.ts";
import { captureSite, formatFullSite } from "../graph/site.ts";
import { isTensor } from "../graph/trace.ts";
import { flattenTree, mapTree } from "../graph/tree.ts";
import { Recomputation } from "./recomputation.ts";

/**
 * The gradient of a scalar by each tensor of a structure: a structure of the same form, element types
 * and shapes. Where nothing leads from a tensor to the loss, its gradient is zeros.
 *
 * @param loss A float scalar.
 * @param wrt Tensors in records and arrays: inputs or anything on the way to the loss.
 * @throws {GradientError} When the loss is no float scalar, a tensor to differentiate by holds whole
 *   numbers or truth values, or an op on the way has no gradient.
 */
export function gradients<Tensors>(loss: Tensor, wrt: Tensors): Tensors {
  requireScalar(loss);
  const leaves = flattenTree(wrt, isTensor);
  for (const [path, tensor] of leaves) requireFloat(path, tensor);
  const targets = new Set(leaves.values());
  const cotangents = withProvenance(
    loss,
    () => pullBack(loss, ones([], loss.dtype), targets, new Set()),
  );
  const tree = mapTree(
    wrt,
    isTensor,
    (tensor) =>
      cotangents.get(tensor) ?? withProvenance(tensor, () => zeros(tensor.shape, tensor.dtype)),
  );
  // Every leaf was replaced by a tensor of its own element type and shape.
  return tree as unknown as Tensors;
}

function requireScalar(loss: Tensor): void {
  if (loss.shape.length === 0 && isFloat(loss.dtype)) return;
  throw new GradientError(
    `Cannot differentiate ${describe(loss)}: wanted a float scalar; sum it or take its mean\n` +
      `  at ${formatFullSite(captureSite())}`,
  );
}

function requireFloat(path: string, tensor: Tensor): void {
  if (isFloat(tensor.dtype)) return;
  const name = path === "" ? "" : `"${path}", `;
  throw new GradientError(
    `Cannot differentiate by ${name}${describe(tensor)}: ${tensor.dtype} has no gradient\n` +
      `  at ${formatFullSite(captureSite())}`,
  );
}

/** Text such as `x: f32[2, 3]`, or the op's name where the tensor has no label. */
function describe(tensor: Tensor): string {
  const name = tensor.label ?? `the result of ${tensor.op.name}`;
  return `${name}: ${tensor.dtype}${formatShape(tensor.shape)}`;
}

/**
 * The cotangents of `targets`, given that of `root`. What `ends` holds is not looked into: it counts
 * as given.
 */
function pullBack(
  root: Node,
  cotangent: Node,
  targets: ReadonlySet<Node>,
  ends: ReadonlySet<Node>,
): Map<Node, Node> {
  const order = activeNodes(root, targets, ends);
  const cotangents = new Map<Node, Node>([[root, cotangent]]);
  const isActive = new Set(order);
  const recomputed = new RecomputedRegions();
  for (const node of order.reverse()) {
    const given = cotangents.get(node);
    if (given === undefined || ends.has(node) || node.inputs.length === 0) continue;
    recomputed.reach(node, given);
    const inputCotangents = withProvenance(
      { scope: node.scope, origin: node.origin },
      () => inputGradients(recomputed.of(node), given),
    );
    node.inputs.forEach((input, index) => {
      const part = inputCotangents[index];
      if (part === undefined || !isActive.has(input)) return;
      const known = cotangents.get(input);
      const provenance = { scope: input.scope, origin: input.origin };
      const total = known === undefined ? part : withProvenance(provenance, () => add(known, part));
      cotangents.set(input, total);
    });
  }
  return cotangents;
}

/** What the gradient rules read in place of the nodes inside of checkpoints. */
class RecomputedRegions {
  readonly #copies = new Map<Node, Node>();
  readonly #reached = new Set<string>();

  /** The node, or its copy where it lies in a region that has been reached. */
  of(node: Node): Node {
    return this.#copies.get(node) ?? node;
  }

  /**
   * If the node is a checkpoint's result, from here on its region is read as copies, which wait for
   * the cotangent. All results of a region share the copies that wait for the first.
   */
  reach(node: Node, cotangent: Node): void {
    const region = checkpointRegionOf(node);
    const key = node.inputs.map(({ id }) => id).join();
    if (region === undefined || this.#reached.has(key)) return;
    this.#reached.add(key);
    const borders = new Set(region.borders);
    const recomputation = new Recomputation(cotangent, node.scope || node.op.name);
    for (const inner of orderDownTo(node, borders)) {
      // What is kept may be a copy itself, where this region lies in another.
      if (inner !== node && !borders.has(inner)) recomputation.add(inner, (kept) => this.of(kept));
    }
    for (const [original, copy] of recomputation.copies) this.#copies.set(original, copy);
  }
}

/** The nodes on float paths from the targets to the root, each after its inputs. */
function activeNodes(root: Node, targets: ReadonlySet<Node>, ends: ReadonlySet<Node>): Node[] {
  const active = new Set<Node>();
  const order: Node[] = [];
  for (const node of orderDownTo(root, ends)) {
    const carries = targets.has(node) ||
      (!ends.has(node) && passesGradient(node) && node.inputs.some((input) => active.has(input)));
    if (!carries) continue;
    active.add(node);
    order.push(node);
  }
  return order;
}

/** Whether a change of the node's inputs may change it at all. */
function passesGradient(node: Node): boolean {
  const { vjp } = node.op;
  const isZero = typeof vjp === "object" && vjp.zero;
  return isFloat(node.dtype) && !isZero;
}

/** All that the root needs, each after its inputs, without what the ends need. */
function orderDownTo(root: Node, ends: ReadonlySet<Node>): Node[] {
  const order: Node[] = [];
  const seen = new Set<Node>([root]);
  const stack = [{ node: root, next: 0 }];
  for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
    const input = ends.has(top.node) ? undefined : top.node.inputs[top.next++];
    if (input === undefined) {
      order.push(top.node);
      stack.pop();
    } else if (!seen.has(input)) {
      seen.add(input);
      stack.push({ node: input, next: 0 });
    }
  }
  return order;
}

function inputGradients(node: Node, cotangent: Node): readonly (Node | undefined)[] {
  const { vjp, decompose, name } = node.op;
  if (typeof vjp === "function") return vjp(node, cotangent);
  if (vjp !== "decompose") {
    throw new GradientError(
      `${name} has no gradient: ${vjp.because}\n  ${describe(node)}` +
        `${node.scope === "" ? "" : ` in ${node.scope}`}\n  at ${formatFullSite(node.site)}`,
    );
  }
  if (decompose === undefined) {
    throw new TypeError(`Op "${name}" takes its gradient from a decomposition that it lacks`);
  }
  const inputs = new Set(node.inputs);
  const cotangents = pullBack(decompose(node), cotangent, inputs, inputs);
  // An operand given twice has one cotangent, which must be counted once.
  return node.inputs.map((input, index) =>
    node.inputs.indexOf(input) === index ? cotangents.get(input) : undefined
  );
}

/** Which arguments to differentiate by: a position, or several. */
export type Argnums = number | readonly number[];

/** The arguments in these positions: one, or a tuple. */
export type Selected<Args extends readonly unknown[], Positions extends Argnums> = Positions extends
  number ? Args[Positions]
  : { -readonly [Place in keyof Positions]: Args[Positions[Place] & number] };

/** Options of {@linkcode grad} and {@linkcode valueAndGrad}. */
export interface GradOptions<Positions extends Argnums> {
  /** Which arguments to differentiate by; without it, the first. */
  readonly argnums: Positions;
}

function select(args: readonly unknown[], argnums: Argnums): unknown {
  const pick = (place: number): unknown => {
    if (Number.isInteger(place) && place >= 0 && place < args.length) return args[place];
    throw new RangeError(
      `Cannot differentiate by argument ${place}: the function was given ${args.length}`,
    );
  };
  return typeof argnums === "number" ? pick(argnums) : argnums.map(pick);
}

/**
 * The function that gives the gradient of `fn`, a function of tensor structures to a float scalar, by
 * its first argument, or by those that `argnums` names.
 *
 * @throws {GradientError} When called: see {@linkcode gradients}.
 */
export function grad<First, Rest extends readonly unknown[]>(
  fn: (first: First, ...rest: Rest) => Tensor,
): (first: First, ...rest: Rest) => First;
export function grad<Args extends readonly unknown[], const Positions extends Argnums>(
  fn: (...args: Args) => Tensor,
  options: GradOptions<Positions>,
): (...args: Args) => Selected<Args, Positions>;
export function grad(
  fn: (...args: readonly unknown[]) => Tensor,
  options: GradOptions<Argnums> = { argnums: 0 },
): (...args: readonly unknown[]) => unknown {
  return (...args) => gradients(fn(...args), select(args, options.argnums));
}

/** Says that `fn` returns `[loss, aux]`. */
export interface WithAux {
  readonly hasAux: true;
}

/**
 * The function that gives `[value, gradient]` of `fn`, a function of tensor structures to a float
 * scalar, by its first argument, or by those that `argnums` names. With `hasAux`, `fn` returns
 * `[loss, aux]`, and the result is `[value, gradient, aux]`.
 *
 * @throws {GradientError} When called: see {@linkcode gradients}.
 */
export function valueAndGrad<First, Rest extends readonly unknown[]>(
  fn: (first: First, ...rest: Rest) => Tensor,
): (first: First, ...rest: Rest) => [value: Tensor, gradient: First];
export function valueAndGrad<
  Args extends readonly unknown[],
  Aux,
  const Positions extends Argnums,
>(
  fn: (...args: Args) => readonly [loss: Tensor, aux: Aux],
  options: GradOptions<Positions> & WithAux,
): (...args: Args) => [value: Tensor, gradient: Selected<Args, Positions>, aux: Aux];
export function valueAndGrad<First, Rest extends readonly unknown[], Aux>(
  fn: (first: First, ...rest: Rest) => readonly [loss: Tensor, aux: Aux],
  options: WithAux,
): (first: First, ...rest: Rest) => [value: Tensor, gradient: First, aux: Aux];
export function valueAndGrad<Args extends readonly unknown[], const Positions extends Argnums>(
  fn: (...args: Args) => Tensor,
  options: GradOptions<Positions>,
): (...args: Args) => [value: Tensor, gradient: Selected<Args, Positions>];
export function valueAndGrad(
  fn: (...args: readonly unknown[]) => Tensor | readonly [loss: Tensor, aux: unknown],
  options: Partial<GradOptions<Argnums> & WithAux> = {},
): (...args: readonly unknown[]) => readonly unknown[] {
  return (...args) => {
    const result = fn(...args);
    const wanted = select(args, options.argnums ?? 0);
    if (result instanceof Tensor) return [result, gradients(result, wanted)];
    const [loss, aux] = result;
    return [loss, gradients(loss, wanted), aux];
  };
}
