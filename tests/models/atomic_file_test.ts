import { FileWriteError, writeFileAtomic } from "../../models/atomic_file.ts";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "../support/assert.ts";
import { pathToFileURL } from "node:url";

async function inFolder(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "fovea_atomic_" });
  try {
    await run(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function listing(folder: string): string[] {
  return [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
}

const text = (value: string) => new TextEncoder().encode(value);

Deno.test("a file is written whole, from one chunk or several, and nothing stays beside it", async () => {
  await inFolder(async (folder) => {
    const path = `${folder}/a.bin`;
    await writeFileAtomic(path, text("one"));
    assertEquals(await Deno.readTextFile(path), "one");
    await writeFileAtomic(pathToFileURL(path), [text("two, "), text(""), text("three")]);
    assertEquals(await Deno.readTextFile(path), "two, three");
    await writeFileAtomic(path, []);
    assertEquals(await Deno.readTextFile(path), "");
    assertEquals(listing(folder), ["a.bin"]);
  });
});

Deno.test("a failure while writing keeps the old file and removes the temporary one", async () => {
  await inFolder(async (folder) => {
    const path = `${folder}/a.bin`;
    await writeFileAtomic(path, text("old"));
    const seen: string[][] = [];
    function* failing(): Generator<Uint8Array> {
      yield text("new");
      seen.push(listing(folder));
      throw new RangeError("No more data");
    }
    const error = await assertRejects(() => writeFileAtomic(path, failing()), FileWriteError);
    assertEquals(error.message, `Cannot write ${path}: No more data`);
    assertEquals(error.path, path);
    assert(error.cause instanceof RangeError);
    assertEquals(seen[0]?.length, 2);
    assertStringIncludes(seen[0]?.[0] ?? "", ".a.bin.");
    assertEquals(await Deno.readTextFile(path), "old");
    assertEquals(listing(folder), ["a.bin"]);
  });
});

Deno.test("a rename that fails removes the temporary file and names the path", async () => {
  await inFolder(async (folder) => {
    const path = `${folder}/taken`;
    await Deno.mkdir(path);
    const error = await assertRejects(() => writeFileAtomic(path, text("x")), FileWriteError);
    assertStringIncludes(error.message, `Cannot write ${path}: `);
    assert(error.cause instanceof Error);
    assertEquals(listing(folder), ["taken"]);
  });
});

Deno.test("a missing folder is an error that names the path", async () => {
  await inFolder(async (folder) => {
    const path = `${folder}/none/a.bin`;
    const error = await assertRejects(() => writeFileAtomic(path, text("x")), FileWriteError);
    assertStringIncludes(error.message, `Cannot write ${path}: `);
    assert(error.cause instanceof Deno.errors.NotFound);
    assertEquals(listing(folder), []);
  });
});

Deno.test("writers of one path at the same time leave one of their files", async () => {
  await inFolder(async (folder) => {
    const path = `${folder}/a.bin`;
    const contents = Array.from({ length: 8 }, (_, index) => `${index}`.repeat(100_000));
    await Promise.all(contents.map((content) => writeFileAtomic(path, text(content))));
    assert(contents.includes(await Deno.readTextFile(path)));
    assertEquals(listing(folder), ["a.bin"]);
  });
});
