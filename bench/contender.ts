/** A system in a process of its own, as the benchmark sees it. */
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import type { Reply, ReplyOf, Request, StartMessage } from "./messages.ts";

/** A system could not be measured. */
export class ContenderError extends Error {
  override readonly name = "ContenderError";
}

/** One system with one setting, ready for requests. It ends with `await using`. */
export class Contender implements AsyncDisposable {
  readonly start: StartMessage;
  /** How the system was set up, in its own words. */
  readonly setting: string;
  readonly #process: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #lines: AsyncIterator<string>;

  private constructor(start: StartMessage, setting: string, channel: Channel) {
    this.start = start;
    this.setting = setting;
    this.#process = channel.process;
    this.#input = channel.input;
    this.#lines = channel.lines;
  }

  /**
   * Starts the process and waits until the system is ready.
   *
   * @throws {ContenderError} When it does not start.
   */
  static async launch(start: StartMessage): Promise<Contender> {
    const channel = openChannel(start);
    try {
      const { setting } = await readReply(channel.lines, "ready", start);
      return new Contender(start, setting, channel);
    } catch (error) {
      await channel.process[Symbol.asyncDispose]();
      throw error;
    }
  }

  /**
   * Sends a request and waits for its reply.
   *
   * @throws {ContenderError} When the system fails.
   */
  async ask<const R extends Request>(request: R): Promise<ReplyOf<R["kind"]>> {
    await this.#input.write(new TextEncoder().encode(`${JSON.stringify(request)}\n`));
    return await readReply<R["kind"]>(this.#lines, request.kind, this.start);
  }

  /** Ends the process. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]();
  }
}

interface Channel {
  readonly process: Deno.ChildProcess;
  readonly input: WritableStreamDefaultWriter<Uint8Array>;
  readonly lines: AsyncIterator<string>;
}

function openChannel(start: StartMessage): Channel {
  const script = new URL("./contender_process.ts", import.meta.url).href;
  const process = new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-read", "--no-prompt", script, JSON.stringify(start)],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const output = createInterface({ input: Readable.fromWeb(process.stdout) });
  return { process, input: process.stdin.getWriter(), lines: output[Symbol.asyncIterator]() };
}

async function readReply<Kind extends Reply["kind"]>(
  lines: AsyncIterator<string>,
  kind: Kind,
  { system, work }: StartMessage,
): Promise<ReplyOf<Kind>> {
  const { done, value } = await lines.next();
  if (done) throw new ContenderError(`The process of ${system} ended during "${work}"`);
  const reply = parseReply(value, system);
  if (reply.kind === "error") {
    throw new ContenderError(`${system} failed during "${work}": ${reply.message}`);
  }
  if (reply.kind !== kind) {
    throw new ContenderError(`${system} sent "${reply.kind}" during "${work}", wanted "${kind}"`);
  }
  // Its kind was compared above.
  return reply as ReplyOf<Kind>;
}

function parseReply(line: string, system: string): Reply {
  try {
    // Written by contender_process.ts.
    return JSON.parse(line) as Reply;
  } catch (cause) {
    throw new ContenderError(`The process of ${system} printed ${JSON.stringify(line)}`, { cause });
  }
}
