import fc from "../support/fast_check.ts";
import { type BufferLifetime, planArena } from "../../compiler/memory.ts";
import { assert, assertEquals } from "../support/assert.ts";

const lifetimes = fc.array(
  fc.record({ bytes: fc.nat(5000), firstStep: fc.nat(20), length: fc.nat(10) }),
  { maxLength: 40 },
).map((list): BufferLifetime[] =>
  list.map(({ bytes, firstStep, length }) => ({ bytes, firstStep, lastStep: firstStep + length }))
);

Deno.test("buffers that live at the same time never overlap", () => {
  fc.assert(fc.property(lifetimes, (buffers) => {
    const { offsets, arenaBytes, lowerBoundBytes } = planArena(buffers, 64);
    assert(arenaBytes >= lowerBoundBytes);
    buffers.forEach((a, i) => {
      const start = offsets[i] ?? NaN;
      assertEquals(start % 64, 0);
      assert(start + a.bytes <= arenaBytes);
      buffers.forEach((b, j) => {
        if (i >= j || a.lastStep < b.firstStep || b.lastStep < a.firstStep) return;
        const other = offsets[j] ?? NaN;
        assert(start + a.bytes <= other || other + b.bytes <= start || a.bytes * b.bytes === 0);
      });
    });
  }));
});

Deno.test("a chain of equal buffers takes two places", () => {
  const chain = Array.from({ length: 10 }, (_, step) => ({
    bytes: 640,
    firstStep: step,
    lastStep: step + 1,
  }));
  assertEquals(planArena(chain, 64).arenaBytes, 1280);
});
