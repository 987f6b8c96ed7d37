/** The ViT's configuration, and how a configuration of any kind is checked. */
import * as z from "zod/mini";
import { count, countOrNone, flag, fraction, number, oneOf, positive } from "./fields.ts";

/** A configuration that cannot be used. The message lists every field that is wrong. */
export class ConfigError extends TypeError {
  override readonly name = "ConfigError";
  /** One sentence for each thing that is wrong. */
  readonly problems: readonly string[];

  constructor(what: string, problems: readonly string[]) {
    super([`Cannot use this ${what}:`, ...problems.map((problem) => `  ${problem}`)].join("\n"));
    this.problems = problems;
  }
}

/**
 * The value as the schema gives it back, with defaults filled in. Each field's `z.describe(...)` says what
 * is wanted in it, as it stands in messages.
 *
 * @throws {ConfigError} Naming each field, its value, and what was wanted.
 */
export function parseConfig<T extends z.ZodMiniObject>(
  what: string,
  schema: T,
  value: unknown,
): z.output<T> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new ConfigError(what, result.error.issues.map((issue) => describe(issue, schema, value)));
}

function describe(issue: z.core.$ZodIssue, schema: z.ZodMiniObject, value: unknown): string {
  const fields = Object.keys(schema.shape);
  if (issue.code === "unrecognized_keys") {
    return `${issue.keys.join(", ")}: no such field; the fields are ${fields.join(", ")}`;
  }
  const [field] = issue.path;
  if (typeof field !== "string") return issue.message;
  if (issue.code === "custom") {
    return `${field} is ${show(fieldOf(value, field))}, ${issue.message}`;
  }
  const wanted = descriptionOf(schema.shape[field]) ?? issue.message;
  return `${field} is ${show(fieldOf(value, field))}, wanted ${wanted}`;
}

/** A description also holds for the field with a default, or left out, around what it describes. */
function descriptionOf(field: z.core.$ZodType | undefined): string | undefined {
  if (field === undefined) return undefined;
  const text = z.globalRegistry.get(field)?.description;
  if (text !== undefined) return text;
  return field instanceof z.ZodMiniDefault || field instanceof z.ZodMiniOptional
    ? descriptionOf(field._zod.def.innerType)
    : undefined;
}

function fieldOf(value: unknown, field: string): unknown {
  return typeof value === "object" && value !== null
    ? Object.entries(value).find(([name]) => name === field)?.[1]
    : undefined;
}

function show(value: unknown): string {
  if (value === undefined) return "missing";
  if (typeof value === "number") return String(value);
  return JSON.stringify(value) ?? String(value);
}

/**
 * Where the vector that the head sees comes from: the class token, the mean over all tokens, or an
 * attention of a learned probe to all tokens.
 */
export type Pool = "cls" | "gap" | "map";

/** Layer norm, or the root-mean-square norm, which takes no mean off (Zhang and Sennrich 2019). */
export type NormKind = "layer" | "rms";

/** What {@linkcode vitConfig} accepts, field by field. */
export const vitConfigSchema = z.strictObject({
  /** Pixels on each side of the (square) image. */
  imageSize: count,
  /** Pixels on each side of a patch. Rows and columns that fill no patch are left out, as in P1. */
  patchSize: count,
  channels: z._default(count, 3),
  /** D: numbers in a token. */
  width: count,
  /** L: encoder blocks. */
  depth: countOrNone,
  /** M: numbers in the MLP's hidden layer. */
  mlpWidth: count,
  /** H: attention heads; each has width / heads numbers. */
  heads: count,
  /** K: classes the head tells apart. */
  classes: count,
  pool: z._default(oneOf(["cls", "gap", "map"]), "cls"),
  /** Whether a head with pool "map" projects its probe; if not, the probe itself is the query. */
  mapQuery: z._default(flag, true),
  /**
   * `y = x + attention(norm(x))` then `y + mlp(norm(y))`; or, as in ViT-22B (Dehghani et al. 2023),
   * `x + attention(norm(x)) + mlp(norm(x))` with one norm.
   */
  block: z._default(oneOf(["serial", "parallel"]), "serial"),
  norm: z._default(oneOf(["layer", "rms"]), "layer"),
  /** Whether norms add a bias. Default: layer norms do. */
  normBias: z.optional(flag),
  /** How each head's queries and keys are normed over d, with a scale that all heads share. */
  qkNorm: z._default(oneOf(["none", "layer", "rms"]), "none"),
  qkNormBias: z._default(flag, false),
  /** Whether the projections to queries, keys and values add a bias. */
  qkvBias: z._default(flag, true),
  /** Whether the projection of the attention's heads adds a bias. */
  outBias: z._default(flag, true),
  /** Whether the MLP's two layers add a bias. */
  mlpBias: z._default(flag, true),
  /** The paper's authors train with the tanh form; timm and Hugging Face run the erf form. */
  gelu: z._default(oneOf(["tanh", "erf"]), "tanh"),
  /** Chance that a number is dropped, after each dense layer but q, k, v and after the position. */
  dropout: z._default(fraction, 0),
  layerNormEpsilon: z._default(positive, 1e-6),
  /** Width of P1's hidden tanh layer in the head; none when left out. */
  representationSize: z.optional(count),
  /** Initial value of the head's bias: e.g. -6.9 makes 1000 sigmoid classes unlikely at first. */
  headBias: z._default(number, 0),
}).check(z.superRefine((config, context) => {
  if (config.heads > 0 && config.width % config.heads !== 0) {
    context.addIssue({
      code: "custom",
      path: ["width"],
      message: `wanted a multiple of heads, which is ${config.heads}`,
    });
  }
  if (config.patchSize > config.imageSize) {
    context.addIssue({
      code: "custom",
      path: ["patchSize"],
      message: `wanted at most imageSize, which is ${config.imageSize}`,
    });
  }
}));

/** A checked configuration: every field is there. */
export type VitConfig = Omit<z.output<typeof vitConfigSchema>, "normBias"> & {
  readonly normBias: boolean;
};

/** A configuration as the user writes it: fields with a default may be left out. */
export type VitOptions = z.input<typeof vitConfigSchema>;

/**
 * Checks a ViT's configuration and fills in what was left out.
 *
 * @throws {ConfigError} Naming each field, its value, and what was wanted.
 */
export function vitConfig(options: VitOptions): VitConfig {
  const config = parseConfig("ViT configuration", vitConfigSchema, options);
  return { ...config, normBias: config.normBias ?? config.norm === "layer" };
}

/** Patches along each side of the image. */
export function patchGrid(config: VitConfig): number {
  return Math.floor(config.imageSize / config.patchSize);
}

/** Tokens that the encoder sees: the patches and, if the head reads it, the class token. */
export function tokenCount(config: VitConfig): number {
  return patchGrid(config) ** 2 + (config.pool === "cls" ? 1 : 0);
}
