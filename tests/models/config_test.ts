import { ConfigError, tokenCount, vitConfig, type VitOptions } from "../../models/config.ts";
import { parameterCount, vitVariant } from "../../models/variants.ts";
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
  const { pool, gelu, dropout, layerNormEpsilon, headBias, representationSize } = vitConfig(small);
  assertEquals(
    { pool, gelu, dropout, layerNormEpsilon, headBias, representationSize },
    {
      pool: "cls",
      gelu: "tanh",
      dropout: 0,
      layerNormEpsilon: 1e-6,
      headBias: 0,
      representationSize: undefined,
    },
  );
});

Deno.test("a wrong field is refused by name, value and what was wanted", () => {
  const cases: [Record<string, unknown>, string][] = [
    [{ width: 65 }, "width is 65, wanted a multiple of heads, which is 4"],
    [{ width: "64" }, 'width is "64", wanted a whole number >= 1'],
    [{ channels: 0 }, "channels is 0, wanted a whole number >= 1"],
    [{ depth: 1.5 }, "depth is 1.5, wanted a whole number >= 0"],
    [{ classes: undefined }, "classes is missing, wanted a whole number >= 1"],
    [{ patchSize: 29 }, "patchSize is 29, wanted at most imageSize, which is 28"],
    [{ pool: "max" }, 'pool is "max", wanted "cls" or "gap"'],
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
