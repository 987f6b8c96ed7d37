/**
 * Optimizers as graph builders: one update of all parameters, with clipping, decoupled weight decay and
 * the schedule in it. The order of the transformations is that of the ViT papers' code:
 *
 *     g     <- g * c / |g|  where the global norm |g| >= c
 *     u     <- adam(g) or momentum(g)
 *     theta <- theta - rate(step) * (u + decay * multiplier * theta)
 */
import * as z from "zod/mini";
import {
  add,
  cast,
  constant,
  cos,
  div,
  flattenTree,
  greaterEqual,
  isTensor,
  mapTree,
  maximum,
  minimum,
  mul,
  select,
  sqrt,
  square,
  sub,
  sum,
  tanh,
  type Tensor,
} from "../graph/mod.ts";
import { ConfigError, parseConfig } from "./config.ts";
import { fraction, positive, positiveOrZero } from "./fields.ts";
import { isDeclaration, type ParameterValues } from "./parameters.ts";
import {
  learningRateIn,
  type Schedule,
  schedule,
  type ScheduleArithmetic,
  type ScheduleOptions,
} from "./schedules.ts";

/** Which parameters decay how much: the first pattern that a path matches gives the multiplier. */
export type DecayGroup = readonly [pattern: string, multiplier: number];

/** Matrices decay; biases, norms, positions and the class token do not. */
const KERNELS_DECAY: readonly DecayGroup[] = [["(^|/)kernel$", 1]];

const decayGroup = z.readonly(z.tuple([z.string(), z.number()]));
const common = {
  /** Gradients with a global norm of this or more are scaled down to it; no limit when left out. */
  clipNorm: z.optional(positive),
  /** Share of a parameter, relative to the learning rate, that each step takes away. */
  weightDecay: z._default(positiveOrZero, 0),
  /** Regular expressions over parameter paths; a path that matches none does not decay. */
  decayGroups: z._default(
    z.readonly(z.array(decayGroup)).check(z.describe("a list of [regular expression, multiplier]")),
    KERNELS_DECAY,
  ),
};
const adamSchema = z.strictObject({
  b1: z._default(fraction, 0.9),
  b2: z._default(fraction, 0.999),
  epsilon: z._default(positive, 1e-8),
  ...common,
});
const sgdSchema = z.strictObject({ momentum: z._default(fraction, 0.9), ...common });

/** Adam's options; the schedule gives the learning rate. */
export type AdamOptions = z.input<typeof adamSchema> & { readonly schedule: ScheduleOptions };
/** SGD's options; the schedule gives the learning rate. */
export type SgdOptions = z.input<typeof sgdSchema> & { readonly schedule: ScheduleOptions };

/** What an update is made from. All structures are like the parameters'. */
export interface UpdateInput<P> {
  readonly parameters: P;
  readonly gradients: P;
  readonly state: OptimizerState<P>;
  /** Steps done before this one: an i32 scalar. */
  readonly step: Tensor;
}

/** What an update makes. */
export interface Update<P> {
  readonly parameters: P;
  readonly state: OptimizerState<P>;
  /** Of this step: an f32 scalar. */
  readonly learningRate: Tensor;
  /** Before clipping: an f32 scalar. */
  readonly gradientNorm: Tensor;
}

/** The state by slot (Adam's `mu` and `nu`, momentum's `trace`), each like the parameters. */
export type OptimizerState<P> = Readonly<Record<string, P>>;

/** Updates parameters inside a graph. All state starts at zero. */
export interface Optimizer {
  readonly name: "adam" | "sgd";
  /** Names of the state's slots. */
  readonly slots: readonly string[];
  readonly schedule: Schedule;
  /** Everything it was configured with, as JSON. */
  readonly configuration: Readonly<Record<string, unknown>>;
  /** Element type and shape of the state, given the parameters', to trace with. */
  stateSpecs<Specs>(parameterSpecs: Specs): OptimizerState<Specs>;
  /** The state before the first step, zeros, for a program's input. */
  initialState<Declarations>(
    declarations: Declarations,
  ): OptimizerState<ParameterValues<Declarations>>;
  /** The graph of one update. */
  update<P>(input: UpdateInput<P>): Update<P>;
}

interface Rule {
  readonly slots: readonly string[];
  /** The scalars that all parameters share in one step. */
  readonly shared: (rate: Tensor, step: Tensor) => readonly Tensor[];
  /** One parameter's new slots, and what its update is, times the rate. */
  readonly apply: (
    gradient: Tensor,
    slots: readonly Tensor[],
    shared: readonly Tensor[],
  ) => { readonly slots: readonly Tensor[]; readonly change: Tensor };
}

interface CommonOptions {
  readonly clipNorm?: number | undefined;
  readonly weightDecay: number;
  readonly decayGroups: readonly DecayGroup[];
}

/**
 * Adam (Kingma and Ba 2015, algorithm 1) with bias correction and decoupled weight decay.
 *
 * @throws {ConfigError} Naming each field, its value, and what was wanted.
 */
export function adam(options: AdamOptions): Optimizer {
  const { schedule: rate, ...rest } = options;
  const config = parseConfig("Adam configuration", adamSchema, rest);
  const { b1, b2, epsilon } = config;
  return optimizer("adam", schedule(rate), config, {
    slots: ["mu", "nu"],
    shared: (rate, step) => [
      div(rate, oneMinusPower(b1, step)),
      div(1, sqrt(oneMinusPower(b2, step))),
    ],
    apply: (gradient, [mu, nu], [rate, spread]) => {
      const first = add(mul(present(mu), b1), mul(gradient, 1 - b1));
      const second = add(mul(present(nu), b2), mul(square(gradient), 1 - b2));
      // rate * (mu / c1) / (sqrt(nu / c2) + epsilon), with both corrections drawn into scalars.
      const root = add(mul(sqrt(second), present(spread)), epsilon);
      return { slots: [first, second], change: div(mul(first, present(rate)), root) };
    },
  });
}

/**
 * Stochastic gradient descent with momentum in the trace form, `v <- g + m v` and `u = v`: the running
 * sum is not scaled by `1 - m`.
 *
 * @throws {ConfigError} Naming each field, its value, and what was wanted.
 */
export function sgd(options: SgdOptions): Optimizer {
  const { schedule: rate, ...rest } = options;
  const config = parseConfig("SGD configuration", sgdSchema, rest);
  return optimizer("sgd", schedule(rate), config, {
    slots: ["trace"],
    shared: (rate) => [rate],
    apply: (gradient, [trace], [rate]) => {
      const next = add(gradient, mul(present(trace), config.momentum));
      return { slots: [next], change: mul(next, present(rate)) };
    },
  });
}

/** `1 - base^(step + 1)` for a base below 1, without the cancellation of taking the power first. */
function oneMinusPower(base: number, step: Tensor): Tensor {
  if (base === 0) return constant(1);
  // With y = -(step + 1) log(base) / 2, the result is 1 - exp(-2y) = 2 tanh(y) / (1 + tanh(y)).
  const half = tanh(mul(add(step, 1), -Math.log(base) / 2));
  return div(mul(half, 2), add(half, 1));
}

const graphArithmetic: ScheduleArithmetic<Tensor> = {
  number: (value) => constant(value),
  add,
  multiply: mul,
  divide: div,
  minimum,
  maximum,
  cos,
};

function optimizer(
  name: "adam" | "sgd",
  schedule: Schedule,
  options: CommonOptions,
  rule: Rule,
): Optimizer {
  const groups = compiled(options.decayGroups);
  return {
    name,
    slots: rule.slots,
    schedule,
    configuration: { name, schedule, ...options },
    stateSpecs: (specs) => perSlot(rule, () => specs),
    initialState: (declarations) =>
      perSlot(
        rule,
        () => mapTree(declarations, isDeclaration, ({ size }) => new Float32Array(size)),
      ),
    update: (input) => {
      const step = cast(input.step, "f32");
      const learningRate = learningRateIn(schedule, step, graphArithmetic);
      const gradientNorm = globalNorm([...flattenTree(input.gradients, isTensor).values()]);
      const clipped = clip(input.gradients, gradientNorm, options.clipNorm);
      const shared = rule.shared(learningRate, step);
      const slots = rule.slots.map((slot) => flattenTree(input.state[slot], isTensor));
      const gradients = flattenTree(clipped, isTensor);
      const next = rule.slots.map(() => new Map<string, Tensor>());
      const parameters = mapTensors(input.parameters, (parameter, path) => {
        const before = slots.map((slot) => present(slot.get(path), path));
        const applied = rule.apply(present(gradients.get(path), path), before, shared);
        applied.slots.forEach((value, slot) => next[slot]?.set(path, value));
        const decay = options.weightDecay * multiplierOf(groups, path);
        if (decay === 0) return sub(parameter, applied.change);
        const decayed = mul(parameter, mul(learningRate, decay));
        return sub(parameter, add(applied.change, decayed));
      });
      const state = perSlot(
        rule,
        (index) => mapTensors(input.parameters, (_, path) => present(next[index]?.get(path), path)),
      );
      return { parameters, state, learningRate, gradientNorm };
    },
  };
}

function perSlot<T>({ slots }: Rule, make: (index: number) => T): Record<string, T> {
  return Object.fromEntries(slots.map((slot, index) => [slot, make(index)]));
}

function mapTensors<P>(tree: P, map: (tensor: Tensor, path: string) => Tensor): P {
  // Replacing tensors by tensors keeps the structure's type.
  return mapTree(tree, isTensor, map) as P;
}

function present(tensor: Tensor | undefined, path = "this update"): Tensor {
  if (tensor !== undefined) return tensor;
  throw new TypeError(`Cannot update "${path}": its gradient or a slot of its state is missing`);
}

/** The 2-norm of all numbers in the tensors: an f32 scalar. */
export function globalNorm(tensors: readonly Tensor[]): Tensor {
  const squares = tensors.map((tensor) => sum(square(tensor)));
  return sqrt(squares.reduce((a, b) => add(a, b), constant(0)));
}

/** The gradients scaled down to a global norm of `limit` where they have that or more. */
function clip<P>(gradients: P, norm: Tensor, limit: number | undefined): P {
  if (limit === undefined) return gradients;
  const scale = select(greaterEqual(norm, limit), div(limit, norm), 1);
  return mapTensors(gradients, (gradient) => mul(gradient, scale));
}

interface CompiledGroup {
  readonly pattern: RegExp;
  readonly multiplier: number;
}

function compiled(groups: readonly DecayGroup[]): CompiledGroup[] {
  return groups.map(([pattern, multiplier]) => {
    try {
      return { pattern: new RegExp(pattern), multiplier };
    } catch (cause) {
      if (!(cause instanceof SyntaxError)) throw cause;
      throw new ConfigError("weight decay", [
        `decayGroups has ${JSON.stringify(pattern)}, wanted a regular expression: ${cause.message}`,
      ]);
    }
  });
}

function multiplierOf(groups: readonly CompiledGroup[], path: string): number {
  return groups.find(({ pattern }) => pattern.test(path))?.multiplier ?? 0;
}
