/** Lanes: what a machine lacks is skipped with a reason, and fails where all lanes are asked for. */
import { assertEquals, assertStringIncludes } from "../support/assert.ts";

const SUITE = new URL("../conformance/webgpu_audit_test.ts", import.meta.url).pathname;

/** Runs a suite that needs a GPU on a machine that seems to have no driver for one. */
async function runWithoutDriver(env: Readonly<Record<string, string>>) {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["test", "--no-check", "--allow-read", "--allow-env", "--no-prompt", SUITE],
    env: {
      DENO_WEBGPU_BACKEND: "vulkan",
      VK_DRIVER_FILES: "/dev/null",
      VK_ICD_FILENAMES: "/dev/null",
      NO_COLOR: "1",
      FOVEA_REQUIRE_LANES: "",
      ...env,
    },
    stdout: "piped",
    stderr: "piped",
  }).output();
  const decoder = new TextDecoder();
  return { code, text: decoder.decode(stdout) + decoder.decode(stderr) };
}

Deno.test("lanes: a GPU's tests are skipped without a driver, and say what to install", async () => {
  const { code, text } = await runWithoutDriver({});
  assertEquals(code, 0, text);
  assertStringIncludes(text, "0 passed");
  assertStringIncludes(text, "(needs a WebGPU adapter, such as Debian's mesa-vulkan-drivers)");
});

Deno.test("lanes: where all are asked for, a missing one is a failure", async () => {
  const { code, text } = await runWithoutDriver({ FOVEA_REQUIRE_LANES: "all" });
  assertEquals(code, 1, text);
  assertStringIncludes(text, "0 passed");
  assertStringIncludes(text, "Missing, with FOVEA_REQUIRE_LANES=all: a WebGPU adapter");
});
