/** Products of rows with panels: how near to the memory's end they read. */
import { ModuleBuilder } from "../../backends/wasm/encoder.ts";
import { emitGemmBlock } from "../../backends/wasm/templates/gemm_block.ts";
import {
  emitMicrokernel,
  type MicrokernelName,
  MICROKERNELS,
} from "../../backends/wasm/templates/microkernel.ts";
import { COLUMN_GROUP, panelWidths } from "../../backends/wasm/templates/panels.ts";
import { roundUp } from "../../compiler/multiples.ts";
import { assertEquals, assertThrows } from "../support/assert.ts";
import fc from "../support/fast_check.ts";

const NAMES = Object.keys(MICROKERNELS) as MicrokernelName[];
const PAGE_BYTES = 65536;
/** The products' inputs are small whole numbers: sums are exact in any order. */
const valueAt = (index: number) => (index * 7) % 11 - 5;

interface Loaded {
  readonly words: Int32Array;
  readonly numbers: Float32Array;
  readonly call: CallableFunction;
}

/** One function in a memory of at least so many bytes. */
function load(bytes: number, emit: (module: ModuleBuilder) => number): Loaded {
  const pages = roundUp(bytes, PAGE_BYTES) / PAGE_BYTES;
  const module = new ModuleBuilder();
  module.importMemory("env", "memory", { pages, shared: false });
  module.export("call", emit(module));
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
  const compiled = new WebAssembly.Module(module.build());
  const { call } = new WebAssembly.Instance(compiled, { env: { memory } }).exports;
  if (typeof call !== "function") throw new TypeError("The module exports no function");
  return {
    words: new Int32Array(memory.buffer),
    numbers: new Float32Array(memory.buffer),
    call,
  };
}

const blocks = fc.record({
  name: fc.constantFrom(...NAMES),
  rows: fc.integer({ min: 1, max: 110 }),
  groups: fc.integer({ min: 1, max: 13 }),
  /** Of k: what lies before and after the part that is multiplied. */
  before: fc.integer({ min: 0, max: 20 }),
  k: fc.integer({ min: 1, max: 70 }),
  after: fc.integer({ min: 0, max: 20 }),
  areFar: fc.constantFrom(0, 1),
});

Deno.test("wasm products: panels may end where the memory does", () => {
  fc.assert(fc.property(blocks, ({ name, rows, groups, before, k, after, areFar }) => {
    const tile = MICROKERNELS[name];
    const [columns, length] = [4 * groups, before + k + after];
    const [table, start, sums] = [0, rows, rows + rows * k];
    const needed = sums + rows * columns + length * columns;
    const { words, numbers, call } = load(4 * needed, (m) => emitGemmBlock(m, tile, true));
    const packed = numbers.length - length * columns;
    for (let row = 0; row < rows; row++) words[table + row] = 4 * (start + row * k);
    const a = numbers.subarray(start, sums);
    a.forEach((_, index) => a[index] = valueAt(index));
    const panels = numbers.subarray(packed);
    panels.forEach((_, index) => panels[index] = valueAt(3 * index));
    call(
      4 * table,
      0,
      rows,
      4 * packed,
      k,
      columns,
      4 * sums,
      4 * columns,
      0,
      before,
      length,
      areFar,
    );

    const expected = new Float32Array(rows * columns);
    for (let first = 0, width = 0; first < columns; first += width) {
      const left = columns - first;
      width = panelWidths(tile.columns).find((width) => width - COLUMN_GROUP < left) ??
        COLUMN_GROUP;
      for (let row = 0; row < rows; row++) {
        for (let column = 0; column < Math.min(width, left); column++) {
          for (let at = 0; at < k; at++) {
            const b = panels[first * length + (before + at) * width + column] ?? NaN;
            const place = row * columns + first + column;
            expected[place] = (expected[place] ?? NaN) + (a[row * k + at] ?? NaN) * b;
          }
        }
      }
    }
    assertEquals(numbers.slice(sums, sums + rows * columns), expected);
  }));
});

Deno.test("wasm products: a register tile brings near as many bytes as a row of it has", () => {
  for (const name of NAMES) {
    const tile = MICROKERNELS[name];
    for (const k of [1, 15, 16, 40, 64]) {
      const { words, numbers, call } = load(PAGE_BYTES, (m) => emitMicrokernel(m, tile, true));
      words.fill(4096, 0, tile.rows);
      const run = (ahead: number, touches = 1) =>
        call(0, 0, 8192, k, 32768, 4 * tile.columns, 0, ahead, touches);
      const end = 4 * numbers.length;
      run(end - 4 * k);
      run(end, 0);
      const lines = Math.floor(k / 16);
      if (lines === 0) {
        run(end);
      } else {
        assertThrows(
          () => run(end - 64 * (lines - 1)),
          WebAssembly.RuntimeError,
          "out of bounds",
        );
      }
    }
  }
});
