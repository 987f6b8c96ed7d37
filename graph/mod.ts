/**
 * The language in which a computation is declared: typed tensors, ops over them, and the printer.
 *
 * @module
 */
export * from "./dtype.ts";
export * from "./errors.ts";
export {
  makeNode,
  type Node,
  type Provenance,
  Tensor,
  type TensorType,
  topologicalOrder,
  withScope,
} from "./node.ts";
export {
  allOps,
  type Attrs,
  type AttrValue,
  defineOp,
  type NotDifferentiable,
  type OpKind,
  type OpRecord,
  type ReferenceTensor,
  type VectorJacobianProduct,
} from "./op.ts";
export { type Dim, dim, type DimBindings, type Shape, SymbolicDim } from "./shape.ts";
export type { Site } from "./site.ts";
export * from "./ops/mod.ts";
export { flattenTree, type MapTree, mapTree, type Tree, unflattenTree } from "./tree.ts";
export {
  isSpec,
  isTensor,
  spec,
  type SpecTree,
  type TensorsOf,
  TensorSpec,
  type TensorTree,
  trace,
  type TracedGraph,
} from "./trace.ts";
export { type PrintableGraph, printGraph, type PrintOptions } from "./print.ts";
