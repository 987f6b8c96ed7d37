/** A kernel that copies a buffer. */
import type { DType } from "../../graph/dtype.ts";
import type { LoopKernel } from "../loop_ir.ts";
import { blockedRange, variable } from "./ranges.ts";
import { scalarType } from "./values.ts";

/** Elements that one parallel iteration copies. */
const BLOCK = 4096;

/** The kernel that copies `elements` elements from its first buffer to its second. */
export function copyKernel(dtype: DType, elements: number): LoopKernel {
  const place = variable("c");
  return {
    kind: "loops",
    name: `copy_${dtype}_${elements}`,
    buffers: [
      { name: "in0", dtype, elements, access: "read" },
      { name: "out1", dtype, elements, access: "write" },
    ],
    parallel: { variable: "u", extent: Math.ceil(elements / BLOCK) },
    body: [{
      kind: "loop",
      range: blockedRange("c", "u", BLOCK, elements),
      vectorize: true,
      body: [{
        kind: "store",
        buffer: 1,
        index: place,
        value: { kind: "load", type: scalarType(dtype), buffer: 0, index: place },
      }],
    }],
  };
}
