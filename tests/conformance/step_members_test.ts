/** Steps with several members, interpreted and on WASM. */
import { emitKernel } from "../../backends/wasm/emit_kernel.ts";
import { planCommands } from "../../backends/wasm/commands.ts";
import { ModuleBuilder } from "../../backends/wasm/encoder.ts";
import { WasmExecutable } from "../../backends/wasm/runtime.ts";
import type { Program } from "../../compiler/program.ts";
import { verifyProgram } from "../../compiler/verify_program.ts";
import { assert, assertEquals } from "../support/assert.ts";
import fc from "../support/fast_check.ts";
import { BLOCK, groupedProgram, memberInput } from "../support/grouped_program.ts";
import { InterpretedProgram } from "../support/interpret_program.ts";

const LENGTHS = [3, 700, 1, 33, 0, 5000, 64, 2, 31];
const SHIFT = 0.5;
const OPTIONS = { relaxedSimd: false };

function interpretedResults(lengths: readonly number[]): Map<string, number[]> {
  const program = groupedProgram(lengths);
  const interpreted = new InterpretedProgram(program);
  interpreted.write("s", [SHIFT]);
  lengths.forEach((length, at) => interpreted.write(`x${at}`, memberInput(at, length)));
  interpreted.run();
  return new Map(program.outputs.map(({ path }) => [path, interpreted.read(path)]));
}

async function wasmResults(
  lengths: readonly number[],
  threads: number,
): Promise<Map<string, number[]>> {
  const program = groupedProgram(lengths);
  using executable = await WasmExecutable.load(program, {
    threads,
    description: "test",
    emit: (module, kernel) => emitKernel(module, kernel, OPTIONS),
  });
  const write = (path: string, data: Float32Array<ArrayBuffer>) => executable.write(path, { data });
  write("s", Float32Array.of(SHIFT));
  for (const [at, length] of lengths.entries()) write(`x${at}`, memberInput(at, length));
  const results = await executable.run(program.outputs.map(({ path }) => path));
  return new Map(program.outputs.map(({ path }) => [path, [...results.get(path)?.data ?? []]]));
}

Deno.test("members of a step each compute with their own buffers and sizes, interpreted", () => {
  verifyProgram(groupedProgram(LENGTHS), 64);
  const results = interpretedResults(LENGTHS);
  for (const [at, length] of LENGTHS.entries()) {
    const x = memberInput(at, length);
    assertEquals(results.get(`y${at}`), [...x].map((value) => Math.fround(2 * value + SHIFT)));
    assertEquals(results.get(`sums${at}`)?.length, Math.ceil(length / BLOCK));
    const sum = [...x].reduce((total, value) => total + value, 0);
    const found = results.get(`sums${at}`)?.reduce((total, value) => total + value, 0) ?? NaN;
    assert(Math.abs(found - sum) <= 1e-5 * Math.max(length, 1), `${found}, wanted ${sum}`);
  }
});

Deno.test("members of a step compute the same bits on any number of WASM threads", async () => {
  const [one, two, many] = await Promise.all(
    [1, 2, 5].map((threads) => wasmResults(LENGTHS, threads)),
  );
  assertEquals(two, one);
  assertEquals(many, one);
  for (const [path, wanted] of interpretedResults(LENGTHS)) {
    const found = one?.get(path) ?? [];
    assertEquals(found.length, wanted.length);
    wanted.forEach((value, at) => {
      const error = Math.abs((found[at] ?? NaN) - value);
      assert(error <= 1e-6 * Math.max(1, Math.abs(value)), `${path}[${at}] is ${found[at]}`);
    });
  }
});

function plannedBounds(program: Program, threads: number) {
  const module = new ModuleBuilder();
  const emitted = program.kernels.map((kernel) => emitKernel(module, kernel, OPTIONS));
  return planCommands(program, emitted, threads);
}

Deno.test("random members: every unit is done once, and the threads have equal work", () => {
  const lengths = fc.array(fc.oneof(fc.nat(40), fc.nat(20_000)), { minLength: 1, maxLength: 30 });
  fc.assert(fc.property(lengths, fc.integer({ min: 1, max: 9 }), (lengths, threads) => {
    const commands = plannedBounds(groupedProgram(lengths), threads);
    const units = commands.map(({ member }) => Math.ceil((member.sizes[0] ?? 0) / BLOCK));
    assertEquals(commands.length, lengths.filter((length) => length > 0).length);
    assertEquals(commands.filter(({ barrier }) => barrier).length, 0);
    const work = new Array<number>(threads).fill(0);
    commands.forEach(({ bounds }, at) => {
      assertEquals([bounds[0], bounds[threads]], [0, units[at] ?? 0]);
      for (let thread = 0; thread < threads; thread++) {
        const share = (bounds[thread + 1] ?? NaN) - (bounds[thread] ?? NaN);
        assert(share >= 0);
        work[thread] = (work[thread] ?? 0) + share;
      }
    });
    const total = lengths.reduce((sum, length) => sum + length, 0) / BLOCK;
    // A member's last unit is not full, and it counts one scalar and one sum a block beside.
    const slack = 2 + 0.1 * total / threads + lengths.length;
    for (const share of work) assert(share <= total / threads + slack, `${work} of ${total} units`);
  }));
});

Deno.test("big and tiny members in any order are divided evenly among threads", () => {
  const lengths = [...new Array<number>(80).fill(20), 64 * BLOCK, 64 * BLOCK];
  const commands = plannedBounds(groupedProgram(lengths), 2);
  const elements = commands.map(({ member, bounds }) => {
    const [first = 0, second = 0, end = 0] = bounds;
    return [second - first, end - second].map((units) =>
      Math.min(units * BLOCK, member.sizes[0] ?? 0)
    );
  });
  const [one, two] = [0, 1].map((thread) =>
    elements.reduce((sum, shares) => sum + (shares[thread] ?? 0), 0)
  );
  assert(Math.abs((one ?? 0) - (two ?? 0)) <= 6 * BLOCK, `${one} and ${two} elements`);
});
