/** Programs with 64-bit addresses: when they are chosen, what they compute, and what is refused. */
import type { Executable } from "../../backends/backend.ts";
import { KernelError, OutOfMemoryError } from "../../backends/errors.ts";
import type { AddressType } from "../../backends/wasm/address_instructions.ts";
import { wasm, wasmCapabilities, type WasmOptions } from "../../backends/wasm/backend.ts";
import { WasmExecutable } from "../../backends/wasm/runtime.ts";
import type { Program } from "../../compiler/program.ts";
import * as g from "../../graph/mod.ts";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "../support/assert.ts";
import {
  emitUnits,
  mirrorBody,
  mirrored,
  mirrorProgram,
  trapBody,
  trapProgram,
} from "./hand_made_programs.ts";

const EXTENT = 37;
const WIDTH = 64;
const PICKED = 4;
const GIB = 2 ** 30;
/** A table that ends 1.24 GiB beyond what 32-bit addresses reach. */
const TABLE_ROWS = 22_000_000;

function load(
  program: Program,
  threads: number,
  addressTypes: readonly AddressType[],
  Memory = WebAssembly.Memory,
): Promise<WasmExecutable> {
  const emit = emitUnits({ mirror: mirrorBody(EXTENT), trap: trapBody(EXTENT - 1) });
  return WasmExecutable.load(program, { threads, emit, addressTypes, description: "test", Memory });
}

/** Takes note of being asked. */
function watchedMemory() {
  const asked: WebAssembly.MemoryDescriptor[] = [];
  class Watched extends WebAssembly.Memory {
    constructor(descriptor: WebAssembly.MemoryDescriptor) {
      asked.push(descriptor);
      super(descriptor);
    }
  }
  return { asked, Watched };
}

for (const threads of [1, 2, 3]) {
  Deno.test(`memory64: ${threads} threads meet and give what one gives`, async () => {
    using executable = await load(mirrorProgram(EXTENT, 25), threads, ["i64"]);
    for (let run = 0; run < 300; run++) {
      const x = Float32Array.from({ length: EXTENT }, (_, index) => run + index * index / 7);
      executable.write("x", { data: x });
      await executable.run();
      let wanted: Float32Array = x;
      for (let time = 0; time < 25; time++) wanted = mirrored(wanted);
      assertEquals(executable.readOutput("y").data, wanted, `run ${run}`);
    }
  });

  Deno.test(`memory64: a trap on the last of ${threads} threads is a KernelError`, async () => {
    using executable = await load(trapProgram(EXTENT, []), threads, ["i64"]);
    executable.write("x", { data: new Float32Array(EXTENT) });
    const error = await assertRejects(() => executable.run(), KernelError, "out of bounds");
    assertEquals([error.step, error.thread], [1, threads - 1]);
  });
}

function product(size: number, options: WasmOptions): Promise<Executable> {
  const [a, b] = ["a", "b"].map((path) => g.input(path, "f32", [size, size]));
  if (a === undefined || b === undefined) throw new TypeError();
  const inputs = new Map(Object.entries({ a, b }));
  const outputs = new Map([["y", g.contract("i k, k j -> i j", a, b)]]);
  return wasm({ threads: 1, ...options }).prepare({ inputs, outputs }, { bind: {}, donate: {} });
}

Deno.test("memory64: small programs have 32-bit addresses unless asked", async () => {
  assertEquals(wasmCapabilities().maxMemoryBytes, 16 * GIB);
  using narrow = await product(8, {});
  assert(!narrow.describe().includes("64-bit addresses"), narrow.describe());
  using wide = await product(8, { memory64: true });
  assertStringIncludes(wide.describe(), ", 64-bit addresses");
});

Deno.test("memory64: without it, what 32 bits cannot reach is refused", async () => {
  assertEquals(wasmCapabilities({ memory64: false }).maxMemoryBytes, 4 * GIB);
  const large = () => product(20_000, { memory64: false });
  const error = await assertRejects(large, OutOfMemoryError, "4294967296 bytes (4096 MiB)");
  assert(error.bytesWanted >= 4.8e9 && error.bytesWanted < 4.81e9, `${error.bytesWanted}`);
  assertStringIncludes(error.message, "(memory64) are missing or switched off");
  assertStringIncludes(error.message, "bind smaller sizes");
});

Deno.test("memory64: what 64-bit addresses cannot reach is refused before memory is taken", async () => {
  const { asked, Watched } = watchedMemory();
  const program = mirrorProgram(EXTENT, 1);
  const refused = async (arenaBytes: number, types: readonly AddressType[], message: string) => {
    const loading = () => load({ ...program, arenaBytes }, 2, types, Watched);
    const error = await assertRejects(loading, OutOfMemoryError, message);
    assert(error.bytesWanted > arenaBytes && error.bytesWanted < arenaBytes + 65536);
  };
  // Within reach by itself, but not with control words and commands.
  await refused(4 * GIB - 64, ["i32"], "(4096 MiB)");
  await refused(16 * GIB - 64, ["i32", "i64"], "17179869184 bytes (16384 MiB)");
  assertEquals(asked, []);
  using narrow = await load(program, 2, ["i32", "i64"], Watched);
  using wide = await load({ ...program, arenaBytes: 4 * GIB }, 2, ["i32", "i64"], Watched);
  const wanted = [{ initial: 1, maximum: 1, shared: true }, {
    initial: 65537n,
    maximum: 65537n,
    shared: true,
    address: "i64",
  }];
  assertEquals<readonly unknown[]>(asked, wanted);
  for (const executable of [narrow, wide]) {
    executable.write("x", { data: Float32Array.from({ length: EXTENT }, (_, index) => index) });
    await executable.run();
  }
  assertEquals(wide.readOutput("y"), narrow.readOutput("y"));
});

Deno.test("memory64: a tensor of more elements than kernels can count is refused", async () => {
  const error = await assertRejects(() => product(2 ** 16, {}), OutOfMemoryError);
  assertEquals(error.bytesWanted, 16 * GIB);
  assertStringIncludes(error.message, "has 4294967296 elements, and one tensor may have 2147");
  assertStringIncludes(error.message, "divide it into several");
});

/** Rows of a large table, picked by number, and a product and a softmax of its last rows. */
async function largeTable(threads: number): Promise<Executable> {
  const table = g.input("table", "f32", [TABLE_ROWS, WIDTH]);
  const rows = g.input("rows", "i32", [PICKED]);
  const weights = g.input("weights", "f32", [WIDTH, WIDTH]);
  const last = g.slice(table, [TABLE_ROWS - PICKED, 0], [TABLE_ROWS, WIDTH]);
  const inputs = new Map<string, g.Tensor>(Object.entries({ table, rows, weights }));
  const outputs = new Map<string, g.Tensor>(Object.entries({
    picked: g.mul(g.gather(table, rows), 2),
    product: g.contract("n d, d e -> n e", last, weights),
    probabilities: g.softmax(last),
  }));
  return await wasm({ threads }).prepare({ inputs, outputs }, { bind: {}, donate: {} });
}

for (const threads of [1, 2]) {
  // Only the pages that are touched take memory.
  Deno.test(`memory64: tensors above 4 GiB, on ${threads} threads`, async () => {
    using executable = await largeTable(threads);
    assert(executable.memory().totalBytes > 5 * GIB);
    assertStringIncludes(executable.describe(), ", 64-bit addresses");
    const element = (row: number, column: number) => row % 1000 + column / 128;
    const lastRows = Array.from({ length: PICKED }, (_, at) => TABLE_ROWS - PICKED + at);
    const picked = [0, TABLE_ROWS - 1, 17_000_000, TABLE_ROWS - 3];
    for (const row of [...picked, ...lastRows]) {
      const data = Float32Array.from({ length: WIDTH }, (_, column) => element(row, column));
      executable.write("table", { data }, row * WIDTH);
    }
    executable.write("rows", { data: Int32Array.from(picked) });
    const tripled = Float32Array.from(
      { length: WIDTH * WIDTH },
      (_, at) => Math.floor(at / WIDTH) === at % WIDTH ? 3 : 0,
    );
    executable.write("weights", { data: tripled });
    const results = await executable.run(["picked", "product", "probabilities"]);
    const wanted = (rows: readonly number[], factor: number) =>
      Float32Array.from(
        { length: PICKED * WIDTH },
        (_, at) => factor * element(rows[Math.floor(at / WIDTH)] ?? NaN, at % WIDTH),
      );
    assertEquals(results.get("picked")?.data, wanted(picked, 2));
    assertEquals(results.get("product")?.data, wanted(lastRows, 3));
    const probabilities = [...results.get("probabilities")?.data ?? []];
    const exponentials = Array.from({ length: WIDTH }, (_, column) => Math.exp(column / 128));
    const total = exponentials.reduce((sum, value) => sum + value, 0);
    assertEquals(probabilities.length, PICKED * WIDTH);
    probabilities.forEach((value, at) => {
      const expected = (exponentials[at % WIDTH] ?? NaN) / total;
      assert(Math.abs(value - expected) < 1e-6 * expected, `${at}: ${value}, not ${expected}`);
    });
  });
}
