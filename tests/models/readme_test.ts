import { assert, assertEquals } from "../support/assert.ts";

const ROOT = new URL("../../", import.meta.url);

Deno.test("the README shows the script that the examples run", async () => {
  const readme = await Deno.readTextFile(new URL("README.md", ROOT));
  const script = await Deno.readTextFile(new URL("examples/readme.ts", ROOT));
  const shown = /```ts ignore\n([\s\S]*?)```/.exec(readme)?.[1];
  assertEquals(shown, script.slice(script.indexOf("*/") + 3));
});

Deno.test("every file that the README links to is there", async () => {
  const readme = await Deno.readTextFile(new URL("README.md", ROOT));
  const links = [...readme.matchAll(/\]\(((?!https?:)[^)]+)\)/g)].map(([, target = ""]) => target);
  assert(links.length > 3);
  for (const link of links) await Deno.stat(new URL(link, ROOT));
});
