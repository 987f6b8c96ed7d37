import { CalmRounds, Watch } from "../../bench/calm.ts";
import { assertEquals } from "../support/assert.ts";

/** A machine of the rates, one after the other, the last again and again; a look takes 10 ms. */
function machine(...rates: number[]) {
  const state = { now: 0, looks: 0, rounds: 0 };
  const rate = () => {
    state.now += 10;
    return Promise.resolve(rates[Math.min(state.looks++, rates.length - 1)] ?? NaN);
  };
  const watch = new Watch([{ rate, share: 0.95 }]);
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
  const rate = (threads: number) => Promise.resolve(rates.get(threads) ?? NaN);
  const watch = new Watch([{ rate, share: 0.95 }]);
  assertEquals([await watch.isCalm(2), await watch.isCalm(1)], [true, true]);
  rates.set(2, 60);
  assertEquals([await watch.isCalm(2), await watch.isCalm(1)], [false, true]);
});

Deno.test("bench: the machine is calm when every probe says so", async () => {
  const rates = [118, 90];
  const probe = (index: number) => () => Promise.resolve(rates[index] ?? NaN);
  const watch = new Watch([{ rate: probe(0), share: 0.95 }, { rate: probe(1), share: 0.8 }]);
  assertEquals(await watch.isCalm(2), true);
  rates[1] = 72;
  assertEquals(await watch.isCalm(2), true);
  rates[1] = 71;
  assertEquals(await watch.isCalm(2), false);
  rates.splice(0, 2, 110, 90);
  assertEquals(await watch.isCalm(2), false);
});
