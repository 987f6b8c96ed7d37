import {
  ConfigError,
  type Pool,
  tokenCount,
  vitConfig,
  type VitOptions,
} from "../../models/config.ts";
import { parameterCount, vitVariant, type VitVariantName } from "../../models/variants.ts";
import { assertEquals, assertThrows } from "../support/assert.ts";

const small: VitOptions = {
  imageSize: 28,
  patchSize: 7,
  channels: 1,
  width: 64,
  depth: 4,
  mlpWidth: 128,
  heads: 4,
  classes: 10,
};

Deno.test("the published variants have exactly the published code's parameter counts", () => {
  const published = {
    "Ti/16": 5717416,
    "S/16": 22050664,
    "S/32": 22878952,
    "B/16": 86567656,
    "B/32": 88224232,
    "L/16": 304326632,
    "L/32": 306535400,
    "H/14": 632045800,
  } as const;
  const counted = Object.fromEntries(
    ([
      "Ti/16",
      "S/16",
      "S/32",
      "B/16",
      "B/32",
      "L/16",
      "L/32",
      "H/14",
    ] as const).map((name) => [name, parameterCount(vitVariant(name))]),
  );
  assertEquals(counted, published);
});

/** Without class token, pooling and head; with the class token; with attention pooling; and its head. */
const COUNTS = {
  "s/28": [5357824, 5358336, 6147328, 6404328],
  "s/16": [4986112, 4986624, 5775616, 6032616],
  "Ti/16": [5524032, 5524416, 5968704, 6161704],
  "S/32": [22493184, 22493952, 24267264, 24652264],
  "S/16": [21664896, 21665664, 23438976, 23823976],
  "B/32": [87453696, 87455232, 94540800, 95309800],
  "B/28": [86912256, 86913792, 93999360, 94768360],
  "B/16": [85797120, 85798656, 92884224, 93653224],
  "L/16": [303299584, 303301632, 315894784, 316919784],
  "L/32": [305508352, 305510400, 318103552, 319128552],
  "H/14": [630762240, 630764800, 650438400, 651719400],
  "g/14": [1011199616, 1011202432, 1036448384, 1037857384],
  "G/14": [1842772352, 1842775680, 1881132416, 1882797416],
  "So400m/14": [412442352, 412444656, 427680704, 428833704],
  "e/14": [3805417728, 3805421312, 3873342720, 3875135720],
} as const;

/** Parameters but for the head's. */
function headless(name: VitVariantName, pool: Pool): number {
  const config = vitVariant(name, { pool });
  return parameterCount(config) - (config.width + 1) * config.classes;
}

Deno.test("the variants of the later papers have their counts to the last parameter", () => {
  for (const [name, wanted] of Object.entries(COUNTS)) {
    const variant = name as keyof typeof COUNTS;
    const pools = (["gap", "cls", "map"] as const).map((pool) => headless(variant, pool));
    const whole = parameterCount(vitVariant(variant, { pool: "map" }));
    assertEquals([...pools, whole], [...wanted], name);
  }
});

Deno.test("the papers' own tables: millions of parameters, each in its paper's convention", () => {
  // Zhai et al. 2022, table 2, has neither class token nor pooling nor head.
  const trunks = {
    "s/28": 5.4,
    "s/16": 5.0,
    "Ti/16": 5.5,
    "S/32": 22,
    "S/16": 22,
    "B/32": 87,
    "B/28": 87,
    "B/16": 86,
    "L/16": 303,
    "g/14": 1011,
    "G/14": 1843,
  } as const;
  for (const [name, millions] of Object.entries(trunks)) {
    const digits = millions < 10 ? 1 : 0;
    const trunk = headless(name as keyof typeof trunks, "gap");
    assertEquals((trunk / 1e6).toFixed(digits), millions.toFixed(digits), name);
  }
  // Alabdulmohsin et al. 2023, table 1: with the pooling, whichever the resolution.
  assertEquals(Math.round(headless("So400m/14", "map") / 1e6), 428);
  // Dehghani et al. 2023, table 1: with the pooling and the 29,593 classes of its data.
  assertEquals(Math.round(parameterCount(vitVariant("e/14", { classes: 29593 })) / 1e6), 3926);
});

Deno.test("ViT-22B has 21,750.5 million parameters, and with its pooling the published 22,165", () => {
  const [width, depth, hidden] = [6144, 48, 24576];
  const products = depth * 12 * width ** 2;
  const biases = depth * (width + hidden + width);
  const norms = depth * (width + 2 * 128) + width;
  const embedding = 14 * 14 * 3 * width + width + 16 * 16 * width;
  const trunk = headless("22B/14", "gap");
  assertEquals(trunk, products + biases + norms + embedding);
  assertEquals(trunk, 21_750_546_432);
  assertEquals((trunk / 1e6).toFixed(1), "21750.5");
  assertEquals(Math.floor(headless("22B/14", "map") / 1e6), 22_165);
  const projected = parameterCount(vitVariant("22B/14", { mapQuery: true }));
  assertEquals(projected - parameterCount(vitVariant("22B/14")), width ** 2);
  const fused = parameterCount(vitVariant("22B/14", { outBias: false }));
  // One bias a block and the pooling's.
  assertEquals(parameterCount(vitVariant("22B/14")) - fused, (depth + 1) * width);
});

Deno.test("pooling over tokens has no class token: two widths fewer parameters", () => {
  const cls = vitVariant("B/16");
  const gap = vitVariant("B/16", { pool: "gap" });
  assertEquals(parameterCount(cls) - parameterCount(gap), 2 * 768);
  assertEquals([tokenCount(cls), tokenCount(gap)], [197, 196]);
});

Deno.test("rows and columns that fill no patch are left out", () => {
  assertEquals(tokenCount(vitVariant("H/14", { imageSize: 384, pool: "gap" })), 27 * 27);
});

Deno.test("fields left out get the paper's values", () => {
  assertEquals(vitConfig(small), {
    ...small,
    channels: 1,
    pool: "cls",
    mapQuery: true,
    block: "serial",
    norm: "layer",
    normBias: true,
    qkNorm: "none",
    qkNormBias: false,
    qkvBias: true,
    outBias: true,
    mlpBias: true,
    gelu: "tanh",
    dropout: 0,
    layerNormEpsilon: 1e-6,
    headBias: 0,
  });
});

Deno.test("root-mean-square norms have a bias only when asked for", () => {
  assertEquals(vitConfig({ ...small, norm: "rms" }).normBias, false);
  assertEquals(vitConfig({ ...small, norm: "rms", normBias: true }).normBias, true);
  assertEquals(vitConfig({ ...small, normBias: false }).normBias, false);
});

Deno.test("a wrong field is refused by name, value and what was wanted", () => {
  const cases: [Record<string, unknown>, string][] = [
    [{ width: 65 }, "width is 65, wanted a multiple of heads, which is 4"],
    [{ width: "64" }, 'width is "64", wanted a whole number >= 1'],
    [{ channels: 0 }, "channels is 0, wanted a whole number >= 1"],
    [{ depth: 1.5 }, "depth is 1.5, wanted a whole number >= 0"],
    [{ classes: undefined }, "classes is missing, wanted a whole number >= 1"],
    [{ patchSize: 29 }, "patchSize is 29, wanted at most imageSize, which is 28"],
    [{ pool: "max" }, 'pool is "max", wanted "cls", "gap" or "map"'],
    [{ block: "both" }, 'block is "both", wanted "serial" or "parallel"'],
    [{ norm: "none" }, 'norm is "none", wanted "layer" or "rms"'],
    [{ qkNorm: true }, 'qkNorm is true, wanted "none", "layer" or "rms"'],
    [{ qkvBias: 0 }, "qkvBias is 0, wanted true or false"],
    [{ normBias: "no" }, 'normBias is "no", wanted true or false'],
    [{ dropout: 1 }, "dropout is 1, wanted a number from 0 up to, not including, 1"],
    [{ layerNormEpsilon: NaN }, "layerNormEpsilon is NaN, wanted a number > 0"],
    [{ hidden: 3 }, "hidden: no such field; the fields are imageSize, patchSize"],
  ];
  for (const [change, message] of cases) {
    // The compiler refuses these too; a configuration read from a file meets only this check.
    const options = { ...small, ...change } as VitOptions;
    assertThrows(() => vitConfig(options), ConfigError, message);
  }
});

Deno.test("all wrong fields are listed at once", () => {
  const error = assertThrows(() => vitConfig({ ...small, depth: -1, heads: 0 }), ConfigError);
  assertEquals(error.problems.length, 2);
});

Deno.test("an unknown variant is refused with an example", () => {
  // The name's type refuses it as well.
  const name = "X/16" as "B/16";
  assertThrows(
    () => vitVariant(name),
    RangeError,
    'There is no ViT variant "X/16": wanted one of Ti,',
  );
});
