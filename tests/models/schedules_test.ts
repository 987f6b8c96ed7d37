import { ConfigError } from "../../models/config.ts";
import { learningRateAt, schedule, type ScheduleOptions } from "../../models/schedules.ts";
import { assertAlmostEquals, assertEquals, assertThrows } from "../support/assert.ts";
import golden from "../golden/optimizer.json" with { type: "json" };

const base = { learningRate: 1 } as const;

Deno.test("the host's schedules agree with optax's tables", () => {
  let compared = 0;
  for (const table of golden.scheduleTables) {
    const kind = table.schedule === "cosine" ? "cosine" : "linear";
    const of = schedule({ ...base, kind, warmupSteps: table.warmup, totalSteps: table.total });
    for (const [step, value] of table.values.entries()) {
      assertAlmostEquals(learningRateAt(of, step), value, 1e-15, `${kind} at ${step}`);
      compared++;
    }
  }
  assertEquals(compared, 60);
});

Deno.test("a decay ends at endLearningRate and stays there", () => {
  for (const kind of ["cosine", "linear"] as const) {
    const of = schedule({ kind, learningRate: 3e-3, totalSteps: 7, endLearningRate: 1e-5 });
    assertEquals(learningRateAt(of, 0), 3e-3);
    assertAlmostEquals(learningRateAt(of, 7), 1e-5, 1e-18);
    assertAlmostEquals(learningRateAt(of, 700), 1e-5, 1e-18);
  }
});

Deno.test("a constant schedule warms up, then stays", () => {
  const of = schedule({ kind: "constant", learningRate: 0.5, warmupSteps: 4 });
  assertEquals([0, 1, 2, 4, 400].map((step) => learningRateAt(of, step)), [
    0,
    0.125,
    0.25,
    0.5,
    0.5,
  ]);
});

Deno.test("a schedule that makes no sense is refused by field and value", () => {
  const cases: [ScheduleOptions, string][] = [
    [
      { ...base, kind: "cosine" },
      "totalSteps is missing, wanted more than warmupSteps, which is 0",
    ],
    [
      { ...base, kind: "linear", warmupSteps: 9, totalSteps: 9 },
      "totalSteps is 9, wanted more than",
    ],
    [{ ...base, kind: "constant", totalSteps: 9 }, "totalSteps is 9, wanted none"],
    [{ kind: "constant", learningRate: -1 }, "learningRate is -1, wanted a number >= 0"],
    [
      { ...base, kind: "linear", totalSteps: 2, endLearningRate: 2 },
      "endLearningRate is 2, wanted at most learningRate, which is 1",
    ],
  ];
  for (const [options, message] of cases) {
    assertThrows(() => schedule(options), ConfigError, message);
  }
});
