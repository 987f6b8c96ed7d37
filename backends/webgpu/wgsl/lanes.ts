/** How many lanes share an item of a loop kernel. */
import type { LoopRange, Statement } from "../../../compiler/loop_ir.ts";
import type { PlainLoopKernel } from "../../../compiler/sizes.ts";
import { isIndependent, type ItemSpace, tripsOf } from "./item_space.ts";
import type { EmitOptions } from "./module.ts";
import { foldsInSubgroups, type LaneGrid, sharedTypes } from "./reductions.ts";

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

/** Invocations in a workgroup of several rows, each of which is a subgroup's. */
const IN_ROWS = 128;
/** With fewer workgroups than this, where each could be more, a device is not busy. */
const ENOUGH_GROUPS = 64;
const ENOUGH_GROUPS_FOR_SOFTWARE = 8;

/** The shape of the kernel's workgroups. */
export function chooseLanes(
  kernel: PlainLoopKernel,
  { body, sideBySide }: ItemSpace,
  items: number,
  { limits, software, subgroups }: Pick<EmitOptions, "limits" | "software" | "subgroups">,
): LaneGrid {
  const most = Math.min(
    MOST_LANES,
    limits.maxComputeInvocationsPerWorkgroup,
    limits.maxComputeWorkgroupSizeX,
    limits.maxComputeWorkgroupSizeY,
  );
  const enoughGroups = software ? ENOUGH_GROUPS_FOR_SOFTWARE : ENOUGH_GROUPS;
  const alone = { columns: Math.min(ALONE, most), lanes: 1, rows: 1 };
  const longest = Math.max(0, ...body.map(tripsShared));
  if (longest <= SHORT || kernel.parallel.extent === 0) return alone;
  const words = wordsShared(body);
  const sharing = Math.min(most, limits.maxComputeWorkgroupStorageSize / (4 * Math.max(words, 1)));
  if (sharing < 2) return alone;
  if (!sideBySide) {
    const wanted = Math.max(powerOfTwoFrom(longest / ELEMENTS_PER_LANE), FEWEST_LANES);
    const lanes = Math.min(software ? SOFTWARE_LANES : wanted, powerOfTwoUpTo(sharing));
    const rows = Math.floor(Math.min(IN_ROWS, most) / lanes);
    const inRows = lanes === subgroups?.minSize && lanes === subgroups.maxSize &&
      items >= rows * enoughGroups && body.every((one) => meetsInSubgroups(one, kernel));
    return { columns: 1, lanes, rows: inRows ? rows : 1 };
  }
  const share = sharing >= SIDE_BY_SIDE * LANES_SIDE_BY_SIDE &&
    items < (software ? ENOUGH_FOR_SOFTWARE : ENOUGH_ITEMS) &&
    longest >= LANES_SIDE_BY_SIDE * ELEMENTS_PER_LANE;
  if (share) return { columns: SIDE_BY_SIDE, lanes: LANES_SIDE_BY_SIDE, rows: 1 };
  // Few long sums: each of a processor's threads takes some.
  const each = Math.max(powerOfTwoUpTo(items / enoughGroups), SOFTWARE_LANES);
  return software ? { ...alone, columns: Math.min(alone.columns, each) } : alone;
}

/** Whether an item's lanes, when they are a subgroup, take no workgroup memory for a statement. */
function meetsInSubgroups(statement: Statement, kernel: PlainLoopKernel): boolean {
  if (statement.kind === "loop") return isIndependent(statement, kernel);
  if (statement.kind !== "reduce") return true;
  return statement.accumulators.every(foldsInSubgroups) &&
    statement.ranges.every((range) => tripsOf(range)?.exact === true);
}

/** Words of workgroup memory that each lane takes at most: reductions one after another have the same. */
function wordsShared(body: readonly Statement[]): number {
  const most = new Map<string, number>();
  const visit = (statement: Statement): void => {
    if (statement.kind === "loop") statement.body.forEach(visit);
    if (statement.kind !== "reduce") return;
    const here = new Map<string, number>();
    for (const type of statement.accumulators.flatMap(sharedTypes)) {
      const count = (here.get(type) ?? 0) + 1;
      here.set(type, count);
      most.set(type, Math.max(most.get(type) ?? 0, count));
    }
  };
  body.forEach(visit);
  return [...most.values()].reduce((sum, count) => sum + count, 0);
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
