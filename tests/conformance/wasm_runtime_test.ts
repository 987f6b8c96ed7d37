import { WorkerPool } from "../../backends/wasm/pool.ts";
import { WasmExecutable } from "../../backends/wasm/runtime.ts";
import {
  KernelError,
  OutOfMemoryError,
  UnusableProgramError,
  WorkerError,
} from "../../backends/errors.ts";
import { makeNode, withScope } from "../../graph/node.ts";
import { input } from "../../graph/ops/source.ts";
import type { Program } from "../../compiler/program.ts";
import type { HostTensor } from "../../backends/host_array.ts";
import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "../support/assert.ts";
import {
  emitUnits,
  mirrorBody,
  mirrored,
  mirrorProgram,
  trapBody,
  trapProgram,
} from "./hand_made_programs.ts";

const EXTENT = 37;

function load(program: Program, threads: number, trappingUnit = 0): Promise<WasmExecutable> {
  const emit = emitUnits({ mirror: mirrorBody(EXTENT), trap: trapBody(trappingUnit) });
  return WasmExecutable.load(program, { threads, emit, description: "test" });
}

function ramp(start = 0): HostTensor<"f32"> {
  const data = Float32Array.from({ length: EXTENT }, (_, index) => start + index * index / 7);
  return { dtype: "f32", shape: [EXTENT], data };
}

function mirroredTimes(values: Float32Array, times: number): Float32Array {
  let result = values;
  for (let time = 0; time < times; time++) result = mirrored(result);
  return result;
}

for (const threads of [1, 2, 3, 5]) {
  Deno.test(`wasm runtime: ${threads} threads give what one gives`, async () => {
    using executable = await load(mirrorProgram(EXTENT, 25), threads);
    executable.write("x", ramp());
    await executable.run();
    assertEquals(executable.readOutput("y").data, mirroredTimes(ramp().data, 25));
    assertEquals(executable.readInput("x").data, ramp().data);
  });
}

Deno.test("wasm runtime: steps timed one by one give what a run gives, on one thread alone", async () => {
  using executable = await load(mirrorProgram(EXTENT, 25), 1);
  executable.write("x", ramp());
  const times = executable.timeSteps();
  assertEquals(times.length, executable.steps().length);
  assert(times.every((time) => time >= 0), times.join(" "));
  assertEquals(executable.readOutput("y").data, mirroredTimes(ramp().data, 25));
  using crowded = await load(mirrorProgram(EXTENT, 3), 2);
  assertThrows(() => crowded.timeSteps(), TypeError, "on one thread alone");
});

Deno.test("wasm runtime: more threads than units", async () => {
  using executable = await load(mirrorProgram(EXTENT, 3), EXTENT + 3);
  executable.write("x", ramp());
  await executable.run();
  assertEquals(executable.readOutput("y").data, mirroredTimes(ramp().data, 3));
});

for (const [threads, runs] of [[2, 5000], [3, 2000]] as const) {
  Deno.test(`wasm runtime: ${runs} runs in a row on ${threads} threads`, async () => {
    const steps = 6;
    using executable = await load(mirrorProgram(EXTENT, steps), threads);
    for (let run = 0; run < runs; run++) {
      const x = ramp(run);
      executable.write("x", x);
      await executable.run();
      const y = executable.readOutput("y").data;
      assertEquals(y, mirroredTimes(x.data, steps), `run ${run}`);
    }
  });
}

Deno.test("wasm runtime: two programs take turns in one pool", async () => {
  using first = await load(mirrorProgram(EXTENT, 4), 2);
  using second = await load(mirrorProgram(EXTENT, 9), 2);
  for (let run = 0; run < 200; run++) {
    first.write("x", ramp(run));
    second.write("x", ramp(-run));
    await first.run();
    await second.run();
    assertEquals(first.readOutput("y").data, mirroredTimes(ramp(run).data, 4));
    assertEquals(second.readOutput("y").data, mirroredTimes(ramp(-run).data, 9));
  }
});

Deno.test("wasm runtime: programs come and go in a running pool", async () => {
  using kept = await load(mirrorProgram(EXTENT, 4), 2);
  for (let round = 0; round < 50; round++) {
    const passing = await load(mirrorProgram(EXTENT, 2), 2);
    passing.write("x", ramp(round));
    await passing.run();
    assertEquals(passing.readOutput("y").data, mirroredTimes(ramp(round).data, 2));
    passing[Symbol.dispose]();
    kept.write("x", ramp(round));
    await kept.run();
    assertEquals(kept.readOutput("y").data, mirroredTimes(ramp(round).data, 4));
  }
});

function trappedNodes() {
  return withScope("encoder", () => {
    const x = input("x", "f32", [EXTENT]);
    return [makeNode(x.op, [], { ...x.attrs, path: "pixels" }, "pixels")];
  });
}

for (
  const { threads, unit, thread } of [
    { threads: 1, unit: 5, thread: 0 },
    { threads: 2, unit: 0, thread: 0 },
    { threads: 2, unit: EXTENT - 1, thread: 1 },
    { threads: 3, unit: EXTENT - 1, thread: 2 },
  ]
) {
  Deno.test(`wasm runtime: a trap on thread ${thread} of ${threads} is a KernelError`, async () => {
    const program = trapProgram(EXTENT, trappedNodes());
    using executable = await load(program, threads, unit);
    executable.write("x", ramp());
    const error = await assertRejects(() => executable.run(), KernelError);
    assertEquals(error.kernel, "trap");
    assertEquals(error.step, 1);
    assertEquals(error.thread, thread);
    assertEquals(error.nodes.map(({ label, scope }) => ({ label, scope })), [
      { label: "pixels", scope: "encoder" },
    ]);
    assertMatch(error.message, /^Kernel "trap" \(step 1, thread \d\) failed: .*out of bounds/);
    assertStringIncludes(error.message, 'input "pixels" in encoder at ');
    assertStringIncludes(error.message, "wasm_runtime_test.ts");
    assert(error.cause instanceof Error);
    const after = await assertRejects(() => executable.run(), UnusableProgramError);
    assertStringIncludes(after.message, 'Kernel "trap"');
    assert(after.cause === error);
  });
}

Deno.test("wasm runtime: a trap leaves other programs of the pool alone", async () => {
  using healthy = await load(mirrorProgram(EXTENT, 4), 2);
  for (const unit of [0, EXTENT - 1, 3]) {
    using failing = await load(trapProgram(EXTENT, []), 2, unit);
    failing.write("x", ramp());
    const failed = failing.run();
    // At once, while the workers of the failed run may not have noticed yet.
    healthy.write("x", ramp(unit));
    await healthy.run();
    assertEquals(healthy.readOutput("y").data, mirroredTimes(ramp(unit).data, 4));
    await assertRejects(() => failed, KernelError, "out of bounds");
  }
});

Deno.test("wasm runtime: a disposed program is refused", async () => {
  const executable = await load(mirrorProgram(EXTENT, 2), 2);
  executable[Symbol.dispose]();
  executable[Symbol.dispose]();
  await assertRejects(() => executable.run(), UnusableProgramError, "disposed");
  assertThrows(() => executable.readOutput("y"), UnusableProgramError, "disposed");
  assertThrows(() => executable.write("x", ramp()), UnusableProgramError, "disposed");
});

Deno.test("wasm runtime: memory beyond 32-bit addresses is refused before it is taken", async () => {
  const program = { ...mirrorProgram(EXTENT, 1), arenaBytes: 2 ** 32 };
  const error = await assertRejects(() => load(program, 1), OutOfMemoryError, "4096 MiB");
  assert(error.bytesWanted > 2 ** 32);
});

Deno.test("wasm runtime: the engine's refusal of memory is an OutOfMemoryError", async () => {
  class Refusing {
    readonly buffer = new ArrayBuffer(0);
    constructor() {
      throw new RangeError("could not allocate memory");
    }
    grow(): number {
      return 0;
    }
  }
  const program = mirrorProgram(EXTENT, 1);
  const emit = emitUnits({ mirror: mirrorBody(EXTENT) });
  const options = { threads: 1, emit, description: "test", Memory: Refusing };
  const error = await assertRejects(() => WasmExecutable.load(program, options), OutOfMemoryError);
  assertEquals(error.bytesWanted, 65536);
  assertStringIncludes(error.message, "could not allocate memory");
});

Deno.test("wasm runtime: a worker that cannot be loaded is a WorkerError", async () => {
  const failing = new URL("data:text/javascript,throw new Error('not today')");
  const error = await assertRejects(() => WorkerPool.start(2, { url: failing }), WorkerError);
  assertMatch(error.message, /worker 1: .*not today/);
});

async function loadWithWorker(script: string) {
  const url = new URL(script, import.meta.url);
  const pool = await WorkerPool.start(2, { url, startLimit: 1200 });
  const emit = emitUnits({ mirror: mirrorBody(EXTENT) });
  const options = { threads: 2, emit, description: "test", pool };
  return { pool, executable: await WasmExecutable.load(mirrorProgram(EXTENT, 3), options) };
}

Deno.test("wasm runtime: a worker that never takes up a run is a WorkerError, not a hang", async () => {
  const { executable } = await loadWithWorker("./idle_worker.ts");
  const error = await assertRejects(() => executable.run(), WorkerError);
  assertStringIncludes(error.message, "worker 1 did not take up a run within 1.2 s");
  await assertRejects(() => executable.run(), UnusableProgramError, "did not take up a run");
  executable[Symbol.dispose]();
});

Deno.test("wasm runtime: a worker that ends between runs is a WorkerError", async () => {
  const { pool, executable } = await loadWithWorker("./ending_worker.ts");
  while (pool.failure === undefined) await new Promise((resolve) => setTimeout(resolve, 10));
  await assertRejects(() => executable.run(), WorkerError, "worker 1: it ended with code 3");
  await assertRejects(() => executable.run(), WorkerError);
  executable[Symbol.dispose]();
});

Deno.test("wasm runtime: programs share a pool, which ends when none has used it for a while", async () => {
  const first = await WorkerPool.acquire(4);
  const second = await WorkerPool.acquire(4);
  assert(first === second);
  first.release();
  assert(await WorkerPool.acquire(4) === first);
  first.release();
  second.release();
  assert(await WorkerPool.acquire(4) === first, "it lingers");
  first.release();
  await new Promise((resolve) => setTimeout(resolve, 1500));
  const next = await WorkerPool.acquire(4);
  assert(next !== first);
  next.release();
});

Deno.test("wasm runtime: a program that nobody disposed does not keep the process alive", async () => {
  const script = new URL("./forgotten_program.ts", import.meta.url);
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--no-check", "--allow-read", script.href],
    stdout: "piped",
    stderr: "piped",
    signal: AbortSignal.timeout(20_000),
  }).output();
  assertEquals(new TextDecoder().decode(stderr), "");
  assertEquals(new TextDecoder().decode(stdout), "ran\n");
  assertEquals(code, 0);
});

Deno.test("wasm runtime: no barrier between steps that share nothing", async () => {
  const program = mirrorProgram(EXTENT, 2);
  const bytes = program.buffers[1]?.offset ?? NaN;
  const independent: Program = {
    ...program,
    steps: [0, 1, 2].map((step) => ({
      kernel: 0,
      members: [{ buffers: [0, step + 1], sizes: [] }],
      nodes: [],
    })),
    buffers: [0, 1, 2, 3].map((index) => ({
      name: `b${index}`,
      dtype: "f32",
      elements: EXTENT,
      offset: index * bytes,
      bytes: EXTENT * 4,
    })),
    arenaBytes: 4 * bytes,
  };
  using executable = await load(independent, 2);
  assertEquals(executable.barriers, 1);
  using chained = await load(mirrorProgram(EXTENT, 5), 2);
  assertEquals(chained.barriers, 5);
});
