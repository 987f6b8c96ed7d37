/** Writing a file so that a crash, a kill or a full disk leaves either the old content or the new. */

/** A file could not be written. Its earlier content, if any, is untouched unless the message says so. */
export class FileWriteError extends Error {
  override readonly name = "FileWriteError";
  /** The file that was to be written. */
  readonly path: string;

  constructor(path: string, problem: string, cause: unknown) {
    super(`Cannot write ${path}: ${problem}`, { cause });
    this.path = path;
  }
}

/**
 * Writes `content` to `path` in one step: to a new file in the same folder, synced to the disk, then
 * renamed over `path`, then the folder synced. A reader sees the old file or the new one, never a part.
 * A killed process can leave a `.NAME.*.tmp` beside the file. A symbolic link at `path` is replaced by
 * the file. The chunks must not change before the promise resolves.
 *
 * Needs permission to write the folder, and to read it (for the sync; not on Windows, where a folder
 * cannot be synced).
 *
 * @throws {FileWriteError} when any step fails; the temporary file has then been removed.
 */
export async function writeFileAtomic(
  path: string | URL,
  content: Uint8Array | Iterable<Uint8Array>,
): Promise<void> {
  // Here, not above: a page that only decodes safetensors has neither module.
  const { basename, dirname, join } = await import("node:path");
  const target = path instanceof URL ? (await import("node:url")).fileURLToPath(path) : path;
  const chunks = content instanceof Uint8Array ? [content] : content;
  const temporary = join(dirname(target), `.${basename(target)}.${crypto.randomUUID()}.tmp`);
  try {
    // Opened before anything is written, so that a missing folder or permission changes nothing.
    using folder = await openFolder(dirname(target));
    await writeThenRename(temporary, target, chunks);
    if (folder !== undefined) await syncFolder(folder, target);
  } catch (error) {
    if (error instanceof FileWriteError) throw error;
    throw new FileWriteError(target, messageOf(error), error);
  }
}

async function writeThenRename(
  temporary: string,
  target: string,
  chunks: Iterable<Uint8Array>,
): Promise<void> {
  const file = await Deno.open(temporary, { write: true, createNew: true });
  try {
    try {
      for (const chunk of chunks) await writeAll(file, chunk);
      await file.sync();
    } finally {
      file.close();
    }
    await Deno.rename(temporary, target);
  } catch (error) {
    await removeTemporary(temporary, target, error);
    throw error;
  }
}

async function writeAll(file: Deno.FsFile, chunk: Uint8Array): Promise<void> {
  for (let written = 0; written < chunk.byteLength;) {
    written += await file.write(chunk.subarray(written));
  }
}

async function removeTemporary(temporary: string, target: string, reason: unknown): Promise<void> {
  try {
    await Deno.remove(temporary);
  } catch (error) {
    throw new FileWriteError(
      target,
      `${messageOf(reason)}; and the temporary file ${temporary} stays: ${messageOf(error)}`,
      reason,
    );
  }
}

async function openFolder(folder: string): Promise<Deno.FsFile | undefined> {
  return Deno.build.os === "windows" ? undefined : await Deno.open(folder, { read: true });
}

async function syncFolder(folder: Deno.FsFile, target: string): Promise<void> {
  try {
    await folder.sync();
  } catch (error) {
    // Some network and virtual file systems have no such operation; the file itself has been synced.
    if (error instanceof Error && "code" in error && error.code === "EINVAL") return;
    if (error instanceof Deno.errors.NotSupported) return;
    throw new FileWriteError(
      target,
      `its new content is in place, but its folder could not be synced: ${messageOf(error)}`,
      error,
    );
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
