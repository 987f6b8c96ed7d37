/** The ViT's configuration, and how a configuration of any kind is checked. */
import { z } from "zod";

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
 * The value as the schema gives it back, with defaults filled in. Each field's `.describe(...)` says what
 * is wanted in it, as it stands in messages.
 *
 * @throws {ConfigError} Naming each field, its value, and what was wanted.
 */
export function parseConfig<T extends z.ZodObject>(
  what: string,
  schema: T,
  value: unknown,
): z.output<T> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new ConfigError(what, result.error.issues.map((issue) => describe(issue, schema, value)));
}

function describe(issue: z.core.$ZodIssue, schema: z.ZodObject, value: unknown): string {
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
  const text = field instanceof z.ZodType ? field.description : undefined;
  if (text !== undefined) return text;
  return field instanceof z.ZodDefault || field instanceof z.ZodOptional
    ? descriptionOf(field.unwrap())
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

const count = z.int().min(1).describe("a whole number >= 1");

/**
 * Where the vector that the head sees comes from: the class token, the mean over all tokens, or an
 * attention of a learned probe to all tokens.
 */
export type Pool = "cls" | "gap" | "map";

/** Layer norm, or the root-mean-square norm, which takes no mean off (Zhang and Sennrich 2019). */
export type NormKind = "layer" | "rms";

const flag = z.boolean().describe("true or false");

/** What {@linkcode vitConfig} accepts, field by field. */
export const vitConfigSchema = z.strictObject({
  /** Pixels on each side of the (square) image. */
  imageSize: count,
  /** Pixels on each side of a patch. Rows and columns that fill no patch are left out, as in P1. */
  patchSize: count,
  channels: count.default(3),
  /** D: numbers in a token. */
  width: count,
  /** L: encoder blocks. */
  depth: z.int().min(0).describe("a whole number >= 0"),
  /** M: numbers in the MLP's hidden layer. */
  mlpWidth: count,
  /** H: attention heads; each has width / heads numbers. */
  heads: count,
  /** K: classes the head tells apart. */
  classes: count,
  pool: z.enum(["cls", "gap", "map"]).default("cls").describe('"cls", "gap" or "map"'),
  /** Whether a head with pool "map" projects its probe; if not, the probe itself is the query. */
  mapQuery: flag.default(true),
  /**
   * `y = x + attention(norm(x))` then `y + mlp(norm(y))`; or, as in ViT-22B (Dehghani et al. 2023),
   * `x + attention(norm(x)) + mlp(norm(x))` with one norm.
   */
  block: z.enum(["serial", "parallel"]).default("serial").describe('"serial" or "parallel"'),
  norm: z.enum(["layer", "rms"]).default("layer").describe('"layer" or "rms"'),
  /** Whether norms add a bias. Default: layer norms do. */
  normBias: flag.optional(),
  /** How each head's queries and keys are normed over d, with a scale that all heads share. */
  qkNorm: z.enum(["none", "layer", "rms"]).default("none").describe('"none", "layer" or "rms"'),
  qkNormBias: flag.default(false),
  /** Whether the projections to queries, keys and values add a bias. */
  qkvBias: flag.default(true),
  /** Whether the projection of the attention's heads adds a bias. */
  outBias: flag.default(true),
  /** Whether the MLP's two layers add a bias. */
  mlpBias: flag.default(true),
  /** The paper's authors train with the tanh form; timm and Hugging Face run the erf form. */
  gelu: z.enum(["tanh", "erf"]).default("tanh").describe('"tanh" or "erf"'),
  /** Chance that a number is dropped, after each dense layer but q, k, v and after the position. */
  dropout: z.number().min(0).lt(1).default(0).describe("a number from 0 up to, not including, 1"),
  layerNormEpsilon: z.number().gt(0).default(1e-6).describe("a number > 0"),
  /** Width of P1's hidden tanh layer in the head; none when left out. */
  representationSize: count.optional(),
  /** Initial value of the head's bias: e.g. -6.9 makes 1000 sigmoid classes unlikely at first. */
  headBias: z.number().default(0).describe("a number"),
}).superRefine((config, context) => {
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
});

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
