/** How many lanes share an item of a loop kernel. */
import type { LoopRange, Statement } from "../../../compiler/loop_ir.ts";
import type { PlainLoopKernel } from "../../../compiler/sizes.ts";
import { type ItemSpace, tripsOf } from "./item_space.ts";
import type { EmitOptions } from "./module.ts";
import type { LaneGrid } from "./reductions.ts";

/** Invocations in a workgroup whose items are each one invocation's. */
const ALONE = 64;
/** Reductions and loops up to this long are not worth sharing. */
const SHORT = 16;
/** What a lane has of a row, if there is enough. */
const ELEMENTS_PER_LANE = 4;
const FEWEST_LANES = 32;
/** What a driver in software runs as one: more lanes than that it runs one after the other. */
const SOFTWARE_LANES = 8;
const MOST_LANES = 256;
/** Items side by side, so that lanes next to each other read memory next to each other. */
const SIDE_BY_SIDE = 16;
const LANES_SIDE_BY_SIDE = 16;
/** With this many items side by side the device is busy without lanes. */
const ENOUGH_ITEMS = 1 << 15;
/** The same for a processor that runs a driver in software. */
const ENOUGH_FOR_SOFTWARE = 64;

/** The shape of the kernel's workgroups. */
export function chooseLanes(
  kernel: PlainLoopKernel,
  { body, sideBySide }: ItemSpace,
  items: number,
  { limits, software }: Pick<EmitOptions, "limits" | "software">,
): LaneGrid {
  const most = Math.min(
    MOST_LANES,
    limits.maxComputeInvocationsPerWorkgroup,
    limits.maxComputeWorkgroupSizeX,
    limits.maxComputeWorkgroupSizeY,
  );
  const alone = { columns: Math.min(ALONE, most), lanes: 1 };
  const longest = Math.max(0, ...body.map(tripsShared));
  if (longest <= SHORT || kernel.parallel.extent === 0) return alone;
  if (!sideBySide) {
    if (software && most >= SOFTWARE_LANES) return { columns: 1, lanes: SOFTWARE_LANES };
    const wanted = powerOfTwoFrom(longest / ELEMENTS_PER_LANE);
    return { columns: 1, lanes: Math.min(Math.max(wanted, FEWEST_LANES), powerOfTwoUpTo(most)) };
  }
  const share = most >= SIDE_BY_SIDE * LANES_SIDE_BY_SIDE &&
    items < (software ? ENOUGH_FOR_SOFTWARE : ENOUGH_ITEMS) &&
    longest >= LANES_SIDE_BY_SIDE * ELEMENTS_PER_LANE;
  return share ? { columns: SIDE_BY_SIDE, lanes: LANES_SIDE_BY_SIDE } : alone;
}

/** How many iterations lanes could share out of a statement that they run together. */
function tripsShared(statement: Statement): number {
  if (statement.kind === "reduce") return productOf(statement.ranges);
  if (statement.kind !== "loop") return 0;
  const inner = Math.max(1, ...statement.body.map(tripsShared));
  return statement.vectorize ? productOf([statement.range]) * inner : inner;
}

function productOf(ranges: readonly LoopRange[]): number {
  return ranges.reduce((product, range) => product * (tripsOf(range)?.trips ?? 1), 1);
}

function powerOfTwoFrom(least: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(least, 1)));
}

function powerOfTwoUpTo(most: number): number {
  return 2 ** Math.floor(Math.log2(most));
}
