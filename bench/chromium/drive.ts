/**
 * ONNX Runtime on WebGPU in headless Chromium, driven by a process of the benchmark: it serves a page on
 * this machine, opens it, and hands requests on to it.
 */
import { chromium, type Page } from "playwright-core";
import { adapterHere } from "../adapter.ts";
import { ISOLATION } from "../../tests/support/chromium.ts";
import { buildBundle } from "../../tests/tools/bundle.ts";
import type { Reply, Request, StartMessage } from "../messages.ts";
import { inputOf, outputDimsOf } from "../onnx/input.ts";
import { modelPath } from "../onnx/model_file.ts";
import { peakBytesBelow } from "../process_memory.ts";
import type { Answering } from "../serve.ts";
import type { ForwardWork, MatmulWork } from "../works.ts";
import { chromiumPath } from "./find.ts";
import { browserFlags } from "./flags.ts";
import type { PageReady, PageTask } from "./page.ts";

/** Busy machines take long to start a browser. */
const START_MILLISECONDS = 200_000;

/**
 * The work in a page, ready to run.
 *
 * @throws {Error} When there is no Chromium, or the page cannot do the work.
 */
export async function startInChromium(
  work: MatmulWork | ForwardWork,
  { folder, setting }: StartMessage,
): Promise<Answering> {
  const executablePath = chromiumPath();
  if (executablePath === undefined) {
    throw new Error(
      "not measured, as there is no Chromium here, such as Debian's package chromium",
    );
  }
  const here = await adapterHere();
  const { name, data, dims } = inputOf(work);
  const server = await serveFiles(modelPath(folder, work.name), data);
  // The profile goes with the folder, however this process ends.
  Deno.env.set("TMPDIR", folder);
  const browser = await chromium.launch({
    executablePath,
    args: browserFlags(here?.software ?? true),
    handleSIGTERM: false,
    timeout: START_MILLISECONDS,
  });
  // Whoever has started this process ends it so, and waits until it has ended.
  Deno.addSignalListener("SIGTERM", async () => {
    await browser.close();
    Deno.exit();
  });
  const page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${server.addr.port}/index.html`, {
    timeout: START_MILLISECONDS,
  });
  const task = { setting, input: { name, dims }, outputDims: outputDimsOf(work) };
  const ready = await startPage(page, task);
  if (here?.software && here.name !== ready.adapter) {
    throw new Error(`not measured: Chromium has "${ready.adapter}", and Deno "${here.name}"`);
  }
  return {
    ready: {
      setting: `${ready.setting}, on ${ready.adapter}`,
      runtime: `chromium ${browser.version()}`,
      startUp: ready.startUp,
    },
    answer: async (request) => withPeak(await askPage(page, request)),
  };
}

/** The page's reply with the memory of the browser's processes. */
function withPeak(reply: Reply): Reply {
  return "peakBytes" in reply ? { ...reply, peakBytes: peakBytesBelow() } : reply;
}

async function startPage(page: Page, task: PageTask): Promise<PageReady> {
  return await page.evaluate(async (task): Promise<PageReady> => {
    const { start } = await import(new URL("page.js", location.href).href);
    return await start(task);
  }, task);
}

async function askPage(page: Page, request: Request): Promise<Reply> {
  return await page.evaluate(async (request): Promise<Reply> => {
    const { ask } = await import(new URL("page.js", location.href).href);
    return await ask(request);
  }, request);
}

const HTML = "<!doctype html><title>Fovea's benchmark</title><link rel=icon href=data:,>";

const TYPES: Readonly<Record<string, string>> = {
  mjs: "text/javascript",
  wasm: "application/wasm",
};

/** The page, the model, its input, and under `ort/` the package's files. */
async function serveFiles(
  model: string,
  input: Float32Array<ArrayBuffer>,
): Promise<Deno.HttpServer<Deno.NetAddr>> {
  const { text } = await buildBundle(new URL("page.ts", import.meta.url));
  const library = new URL(".", import.meta.resolve("onnxruntime-web/webgpu"));
  const made = new Map<string, readonly [type: string, body: BodyInit]>([
    ["/index.html", ["text/html", HTML]],
    ["/page.js", ["text/javascript", text]],
    ["/input.f32", ["application/octet-stream", input]],
  ]);
  return Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    async ({ url }) => {
      const { pathname } = new URL(url);
      const [type, body] = made.get(pathname) ?? [];
      if (type !== undefined) return respond(type, body);
      if (pathname === "/model.onnx") {
        return respond("application/octet-stream", await streamOf(model));
      }
      const [, file, ending = ""] = /^\/ort\/([\w.-]+\.(\w+))$/.exec(pathname) ?? [];
      const known = TYPES[ending];
      if (file === undefined || known === undefined) {
        return new Response("Not found", { status: 404 });
      }
      return respond(known, await streamOf(new URL(file, library)));
    },
  );
}

function respond(type: string, body: BodyInit | undefined): Response {
  return new Response(body, { headers: { "content-type": type, ...ISOLATION } });
}

async function streamOf(path: string | URL): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
  return (await Deno.open(path)).readable;
}
