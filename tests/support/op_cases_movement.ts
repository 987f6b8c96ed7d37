/** Cases of movement, of reading and adding at computed places, and of sources. */
import * as graph from "../../graph/mod.ts";
import { dim } from "../../graph/shape.ts";
import { floats, type OpCase, opCase, typed } from "./op_case.ts";

const EXACT = { tolerance: 0 };
const FIXED = { differentiable: false, tolerance: 0 };
const BATCH = dim("batch");

const SHAPED: readonly OpCase[] = [
  opCase("reshape", [floats([2, 3, 4])], (x) => graph.reshape(x, [4, 6]), EXACT),
  opCase("reshape to a scalar", [floats([1, 1])], (x) => graph.reshape(x, []), EXACT),
  opCase("reshape of nothing", [floats([0, 3])], (x) => graph.reshape(x, [6, 0]), EXACT),
  opCase("reshape with -1", [floats([2, 3, 4])], (x) => graph.reshape(x, [3, -1]), EXACT),
  opCase("reshape of a dim", [floats([BATCH, 3, 4])], (x) => graph.reshape(x, [BATCH, -1]), {
    ...EXACT,
    bindings: { batch: 5 },
  }),
  opCase("transpose", [floats([3, 5])], (x) => graph.transpose(x), EXACT),
  opCase("transpose of 4", [floats([2, 3, 1, 5])], (x) => graph.transpose(x, [2, 0, 3, 1]), EXACT),
  opCase("transpose of nothing", [floats([0, 5])], (x) => graph.transpose(x), EXACT),
  opCase(
    "broadcast new axes",
    [floats([3])],
    (x) => graph.broadcast(x, [2, 3, 5], [1]),
    EXACT,
  ),
  opCase("broadcast a 1", [floats([3, 1])], (x) => graph.broadcastTo(x, [2, 3, 5]), EXACT),
  opCase("broadcast a scalar", [floats([])], (x) => graph.broadcastTo(x, [17]), EXACT),
  opCase("broadcast to nothing", [floats([1, 3])], (x) => graph.broadcastTo(x, [0, 3]), EXACT),
  opCase("broadcast to a dim", [floats([3])], (x) => graph.broadcastTo(x, [BATCH, 3]), {
    ...EXACT,
    bindings: { batch: 2 },
  }),
  opCase("reverse", [floats([3, 5])], (x) => graph.reverse(x, -1), EXACT),
  opCase("reverse all", [floats([3, 1, 5])], (x) => graph.reverse(x), EXACT),
  opCase("reverse of nothing", [floats([0, 5])], (x) => graph.reverse(x), EXACT),
  opCase("expandDims", [floats([3, 5])], (x) => graph.expandDims(x, 1), EXACT),
  opCase("squeeze", [floats([3, 1, 5])], (x) => graph.squeeze(x, 1), EXACT),
];

const PIECES: readonly OpCase[] = [
  opCase("slice", [floats([5, 7])], (x) => graph.slice(x, [1, 2], [4, 7]), EXACT),
  opCase(
    "slice with steps",
    [floats([5, 7])],
    (x) => graph.slice(x, [0, 1], [5, 6], [2, 3]),
    EXACT,
  ),
  opCase("slice from the end", [floats([5])], (x) => graph.slice(x, [-3], [-1]), EXACT),
  opCase("slice of nothing", [floats([5, 7])], (x) => graph.slice(x, [2, 0], [2, 7]), EXACT),
  opCase("slice beside a dim", [floats([BATCH, 7])], (x) => graph.sliceAxis(x, 1, 0, 1), {
    ...EXACT,
    bindings: { batch: 3 },
  }),
  opCase(
    "pad",
    [floats([2, 3])],
    (x) => graph.pad(x, { low: [1, 0], high: [0, 2], interior: [0, 1], value: 0.5 }),
    EXACT,
  ),
  opCase("pad of nothing", [floats([0, 3])], (x) => graph.pad(x, { low: [2, 1] }), EXACT),
  opCase(
    "concat",
    [floats([2, 3]), floats([2, 1]), floats([2, 0])],
    (...parts) => graph.concat(parts, 1),
    EXACT,
  ),
  opCase("concat of one", [floats([3])], (x) => graph.concat([x], 0), EXACT),
  opCase("concat of the same", [floats([3])], (x) => graph.concat([x, x], 0), EXACT),
  opCase("stack", [floats([3]), floats([3])], (...parts) => graph.stack(parts, -1), EXACT),
  opCase("split", [floats([4, 3])], (x) => {
    const [first, second] = graph.split(x, 2, 0);
    return graph.mul(first ?? x, second ?? x);
  }),
  opCase("patchify", [floats([2, 4, 6, 3])], (x) => graph.patchify(x, 2), EXACT),
  opCase("patchify of a dim", [floats([BATCH, 6, 6, 1])], (x) => graph.patchify(x, 3), {
    ...EXACT,
    bindings: { batch: 2 },
  }),
];

const PLACES = typed("i32", [4], "places");

const INDEXED: readonly OpCase[] = [
  opCase("gather rows", [floats([5, 3]), PLACES], (x, at) => graph.gather(x, at), EXACT),
  opCase(
    "gather columns",
    [floats([2, 5, 3]), typed("i32", [2, 2], "places")],
    (x, at) => graph.gather(x, at, 1),
    EXACT,
  ),
  opCase(
    "gather by a scalar",
    [floats([5, 3]), typed("i32", [], "places")],
    (x, at) => graph.take(x, at, 1),
    EXACT,
  ),
  opCase(
    "gather nothing",
    [floats([5, 3]), typed("i32", [0], "places")],
    (x, at) => graph.gather(x, at),
    EXACT,
  ),
  opCase(
    "scatterAdd",
    [floats([4, 3]), PLACES],
    (updates, at) => graph.scatterAdd(updates, at, 0, 5),
  ),
  opCase(
    "scatterAdd inside",
    [floats([2, 2, 2, 3]), typed("i32", [2, 2], "places")],
    (updates, at) => graph.scatterAdd(updates, at, 1, 5),
  ),
  opCase("oneHot", [typed("i32", [7], "places")], (labels) => graph.oneHot(labels, 5), FIXED),
];

const SOURCES: readonly OpCase[] = [
  opCase("iota i32", [], () => graph.iota([2, 3, 4], "i32", 1), FIXED),
  opCase("iota f32", [], () => graph.iota([5], "f32"), FIXED),
  opCase("constant", [], () => graph.constant([1.5, -2, 0.25]), FIXED),
  opCase("full of a dim", [], () => graph.full(3, [BATCH, 2]), {
    ...FIXED,
    bindings: { batch: 3 },
  }),
  opCase("dimSize", [floats([BATCH])], (x) => graph.mul(x, graph.dimSize(BATCH)), {
    bindings: { batch: 3 },
  }),
];

/** Cases that move numbers without computing any. */
export const MOVEMENT_CASES: readonly OpCase[] = [...SHAPED, ...PIECES, ...INDEXED, ...SOURCES];
