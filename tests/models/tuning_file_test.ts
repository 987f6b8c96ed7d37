/** What tuning has found, in files. */
import { tuningFile, TuningFileError } from "../../models/mod.ts";
import { assertEquals, assertRejects } from "../support/assert.ts";

async function inFolder(test: (path: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await test(`${folder}/made/tuning.json`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("tuning in a file is found again, by adapter and kernel", () =>
  inFolder(async (path) => {
    const store = await tuningFile(path);
    assertEquals(store.get("one", "a"), undefined);
    await store.add("one", new Map([["a", "large"], ["b", "direct"]] as const));
    const other = await tuningFile(path);
    await other.add("two", new Map([["a", "small"]] as const));
    await store.add("one", new Map([["c", "row"]] as const));
    for (const found of [store, await tuningFile(path)]) {
      assertEquals(found.get("one", "a"), "large");
      assertEquals(found.get("one", "b"), "direct");
      assertEquals(found.get("one", "c"), "row");
      assertEquals(found.get("two", "a"), "small");
      assertEquals(found.get("two", "b"), undefined);
    }
  }));

Deno.test("tuning files of other versions and other files", () =>
  inFolder(async (path) => {
    await (await tuningFile(path)).add("one", new Map([["a", "large"]] as const));
    await Deno.writeTextFile(path, `{ "one": { "a": "enormous", "b": "small" } }`);
    const store = await tuningFile(path);
    assertEquals([store.get("one", "a"), store.get("one", "b")], [undefined, "small"]);
    const others = [
      "",
      "[]",
      "{",
      `{ "one": 1 }`,
      `{ "one": { "a": {} } }`,
      `{ "a": {}, "a": {} }`,
    ];
    for (const text of others) {
      await Deno.writeTextFile(path, text);
      await assertRejects(() => tuningFile(path), TuningFileError, "holds no tuning");
    }
    await Deno.writeTextFile(path, " ".repeat(2 ** 20 + 1));
    await assertRejects(() => tuningFile(path), TuningFileError, "more than 1048576");
  }));
