import { assertEquals } from "../support/assert.ts";
import { findWrongImports, wrongImportsIn } from "../tools/check_imports.ts";

Deno.test("imports between rooms go one way", async () => {
  assertEquals(await findWrongImports(new URL("../../", import.meta.url)), []);
});

Deno.test("an import that goes the wrong way is found", () => {
  const text = 'import { a } from "../backends/mod.ts";\nimport { b } from "./node.ts";\n' +
    'const c = await import("../models/mod.ts");\n';
  const rooms: Record<string, string> = {
    "../backends/mod.ts": "backends",
    "./node.ts": "graph",
    "../models/mod.ts": "models",
  };
  const wrong = wrongImportsIn("graph/a.ts", text, (target) => rooms[target]);
  assertEquals(wrong.map((found) => found.room), ["backends", "models"]);
});
