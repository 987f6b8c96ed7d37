/**
 * Serves a bundled page on this machine, opens it in headless Chromium and prints what the page's tasks
 * gave, as JSON. Run by a test, with permissions that the tests do not have:
 *
 *     deno run --allow-all tests/browser/drive.ts '{"browser": "/usr/bin/chromium", "visits": [...]}'
 */
import { chromium, type Page } from "playwright-core";
import { COMMON_FLAGS, ISOLATION, SOFTWARE_FLAG } from "../support/chromium.ts";
import { buildBundle } from "../tools/bundle.ts";
import type { Result, Task } from "./client.ts";

/** One opening of the page. */
export interface Visit {
  /** Whether the page is cross-origin isolated, which gives it shared memory. */
  readonly isolated: boolean;
  /** Which of its threads calls the library. */
  readonly caller: "main" | "worker";
  /** What it loads: everything that the task takes, or inference alone, as users get it. */
  readonly client: "client.js" | "inference_client.mjs";
  readonly task: Task;
}

/** What came of a visit. */
export type Outcome = { readonly result: Result } | { readonly error: string };

const WORKER = `import { run } from "./client.js";
onmessage = async ({ data: { task, weights } }) => {
  try {
    postMessage({ result: await run(task, weights) });
  } catch (error) {
    postMessage({ error: String(error) });
  }
};`;

async function serve(): Promise<Deno.HttpServer<Deno.NetAddr>> {
  const { text } = await buildBundle(new URL("./client.ts", import.meta.url));
  const inference = await buildBundle();
  const inferenceClient = await Deno.readTextFile(
    new URL("./inference_client.mjs", import.meta.url),
  );
  const weights = await Deno.readFile(
    new URL("../golden/vit_small.safetensors", import.meta.url),
  );
  const files = new Map<string, readonly [type: string, body: BodyInit]>([
    ["index.html", ["text/html", "<!doctype html><title>Fovea</title><link rel=icon href=data:,>"]],
    ["client.js", ["text/javascript", text]],
    ["worker.js", ["text/javascript", WORKER]],
    ["inference.js", ["text/javascript", inference.text]],
    ["inference_client.mjs", ["text/javascript", inferenceClient]],
    ["weights.safetensors", ["application/octet-stream", weights]],
  ]);
  return Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, ({ url }) => {
    const [, folder, name = ""] = new URL(url).pathname.split("/");
    const [type, body] = files.get(name) ?? [];
    if (type === undefined) return new Response("Not found", { status: 404 });
    const isolation = folder === "isolated" ? ISOLATION : {};
    return new Response(body, { headers: { "content-type": type, ...isolation } });
  });
}

async function visit(page: Page, { caller, client, task }: Visit): Promise<Outcome> {
  return await page.evaluate(async ({ caller, client, task }): Promise<Outcome> => {
    const weights = new URL("weights.safetensors", location.href).href;
    if (caller === "worker") {
      const worker = new Worker(new URL("worker.js", location.href), { type: "module" });
      return await new Promise((resolve) => {
        worker.onmessage = ({ data }) => resolve(data);
        worker.onerror = ({ message }) => resolve({ error: message });
        worker.postMessage({ task, weights });
      });
    }
    try {
      const { run } = await import(new URL(client, location.href).href);
      return { result: await run(task, weights) };
    } catch (error) {
      return { error: String(error) };
    }
  }, { caller, client, task });
}

async function drive(executablePath: string, visits: readonly Visit[]): Promise<Outcome[]> {
  const server = await serve();
  const browser = await chromium.launch({ executablePath, args: [...COMMON_FLAGS, SOFTWARE_FLAG] });
  try {
    const outcomes: Outcome[] = [];
    for (const each of visits) {
      const page = await browser.newPage();
      const folder = each.isolated ? "isolated" : "plain";
      await page.goto(`http://127.0.0.1:${server.addr.port}/${folder}/index.html`);
      outcomes.push(await visit(page, each));
      await page.close();
    }
    return outcomes;
  } finally {
    await browser.close();
    await server.shutdown();
  }
}

if (import.meta.main) {
  const { browser, visits } = JSON.parse(Deno.args[0] ?? "");
  console.log(JSON.stringify(await drive(browser, visits)));
}
