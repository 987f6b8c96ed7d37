import { CalmRounds, Watch } from "../../bench/calm.ts";
import { assertEquals } from "../support/assert.ts";

/** A machine of the rates, one after the other, the last again and again; a look takes 10 ms. */
function machine(...rates: number[]) {
  const state = { now: 0, looks: 0, rounds: 0 };
  const watch = new Watch(() => {
    state.now += 10;
    return Promise.resolve(rates[Math.min(state.looks++, rates.length - 1)] ?? NaN);
  });
  const round = () => {
    state.now += 100;
    return Promise.resolve(++state.rounds);
  };
  return {
    state,
    round,
    rounds: (patience: number) => new CalmRounds(watch, patience, () => state.now),
  };
}

Deno.test("bench: a round counts when the machine is at its best before and after it", async () => {
  const { state, round, rounds } = machine(100, 96);
  assertEquals(await rounds(1000).time(2, round), { result: 1, calm: true });
  assertEquals(state.looks, 2);
});

Deno.test("bench: a round waits for a calm machine, and is run again where it was not calm after it", async () => {
  const { state, round, rounds } = machine(100, 100, 50, 50, 99, 60, 97, 98);
  const calm = rounds(1000);
  assertEquals(await calm.time(2, round), { result: 1, calm: true });
  assertEquals(await calm.time(2, round), { result: 3, calm: true });
  assertEquals(state.looks, 8);
});

Deno.test("bench: patience ends, for all rounds together", async () => {
  const { state, round, rounds } = machine(100, 100, 50);
  const calm = rounds(45);
  assertEquals((await calm.time(2, round)).calm, true);
  assertEquals((await calm.time(2, round)).calm, false);
  const { now } = state;
  assertEquals((await calm.time(2, round)).calm, false);
  assertEquals(state.now, now + 110);
});

Deno.test("bench: each number of threads has a best of its own", async () => {
  const rates = new Map([[1, 59], [2, 118]]);
  const watch = new Watch((threads) => Promise.resolve(rates.get(threads) ?? NaN));
  assertEquals([await watch.isCalm(2), await watch.isCalm(1)], [true, true]);
  rates.set(2, 60);
  assertEquals([await watch.isCalm(2), await watch.isCalm(1)], [false, true]);
});
