/**
 * Lanes: tests that need something of the machine beside Deno. Where it is missing they are skipped
 * and their name says how to get it; with `FOVEA_REQUIRE_LANES=all`, as in `.ci/run`, they fail.
 */

/** What a lane needs: where it is, or how to get it. */
export type Requirement = { readonly path: string } | { readonly missing: string };

/** Adds a test that runs where its requirement is met. */
export function laneTest(
  name: string,
  requirement: Requirement,
  test: (path: string, context: Deno.TestContext) => Promise<void>,
): void {
  if ("path" in requirement) {
    Deno.test(name, (context) => test(requirement.path, context));
    return;
  }
  const { missing } = requirement;
  Deno.test({
    name: `${name} (needs ${missing})`,
    ignore: Deno.env.get("FOVEA_REQUIRE_LANES") !== "all",
    fn: () => {
      throw new Error(`Missing, with FOVEA_REQUIRE_LANES=all: ${missing}`);
    },
  });
}

/** The first of these commands on the PATH whose `--version` matches. */
export function commandOnPath(
  commands: readonly string[],
  version: RegExp,
  remedy: string,
): Requirement {
  const folders = (Deno.env.get("PATH") ?? "").split(":").filter((folder) => folder !== "");
  const paths = commands.flatMap((command) => folders.map((folder) => `${folder}/${command}`));
  const path = paths.find((path) => isFile(path) && version.test(versionOf(path)));
  return path === undefined ? { missing: remedy } : { path };
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

function versionOf(path: string): string {
  const { stdout } = new Deno.Command(path, { args: ["--version"] }).outputSync();
  return new TextDecoder().decode(stdout);
}
