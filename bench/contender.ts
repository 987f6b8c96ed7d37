/** A system in a process of its own, as the benchmark sees it. */
import { contenderCommand } from "./contender_command.ts";
import type { Reply, ReplyOf, Request, StartMessage } from "./messages.ts";

/** A system could not be measured. */
export class ContenderError extends Error {
  override readonly name = "ContenderError";
}

/** One system with one setting, ready for requests. It ends with `await using`. */
export class Contender implements AsyncDisposable {
  readonly start: StartMessage;
  /** How the system was set up, in its own words, and what it can say of its start. */
  readonly ready: ReplyOf<"ready">;
  readonly #process: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #lines: AsyncIterator<string>;

  private constructor(start: StartMessage, ready: ReplyOf<"ready">, channel: Channel) {
    this.start = start;
    this.ready = ready;
    this.#process = channel.process;
    this.#input = channel.input;
    this.#lines = channel.lines;
  }

  /**
   * Starts the process and waits until the system is ready.
   *
   * @throws {ContenderError} When it does not start.
   * @throws {HostError} When its host is not there for this machine.
   */
  static async launch(start: StartMessage): Promise<Contender> {
    const channel = await openChannel(start);
    try {
      return new Contender(start, await readReply(channel.lines, "ready", start), channel);
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

async function openChannel(start: StartMessage): Promise<Channel> {
  const { work, vulkanDriver } = start;
  const { program, args } = await contenderCommand(work.suite === "matmul" ? work.host : "deno");
  const process = new Deno.Command(program, {
    args: [...args, JSON.stringify(start)],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
    ...(vulkanDriver === undefined ? {} : { env: vulkanEnvironment(vulkanDriver) }),
  }).spawn();
  return { process, input: process.stdin.getWriter(), lines: linesOf(process.stdout) };
}

/** What makes the Vulkan loader take this driver alone: its name of today, and that of older loaders. */
function vulkanEnvironment(manifest: string): Record<string, string> {
  return { VK_DRIVER_FILES: manifest, VK_ICD_FILENAMES: manifest };
}

async function* linesOf(stream: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<string> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
}

async function readReply<Kind extends Reply["kind"]>(
  lines: AsyncIterator<string>,
  kind: Kind,
  { system, work }: StartMessage,
): Promise<ReplyOf<Kind>> {
  const { done, value } = await inTime(lines.next(), `${system} did not answer in "${work.name}"`);
  if (done) throw new ContenderError(`The process of ${system} ended during "${work.name}"`);
  const reply = parseReply(value, system);
  if (reply.kind === "error") {
    throw new ContenderError(`${system} failed: ${reply.message}`);
  }
  if (reply.kind !== kind) {
    throw new ContenderError(
      `${system} sent "${reply.kind}" during "${work.name}", wanted "${kind}"`,
    );
  }
  // Its kind was compared above.
  return reply as ReplyOf<Kind>;
}

/** Far longer than any request should take. */
const TIME_LIMIT_MILLISECONDS = 300_000;

async function inTime<T>(answer: Promise<T>, failure: string): Promise<T> {
  const { promise: tooLate, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => reject(new ContenderError(`${failure} within ${TIME_LIMIT_MILLISECONDS / 1000} s`)),
    TIME_LIMIT_MILLISECONDS,
  );
  try {
    return await Promise.race([answer, tooLate]);
  } finally {
    clearTimeout(timer);
  }
}

function parseReply(line: string, system: string): Reply {
  try {
    // Written by contender_process.ts.
    return JSON.parse(line) as Reply;
  } catch (cause) {
    throw new ContenderError(`The process of ${system} printed ${JSON.stringify(line)}`, { cause });
  }
}
