/**
 * Lowers a `rows` cluster: for each row, one pass over the columns per level of reductions, then one
 * that writes the results. Without reductions it is a plain map.
 */
import type { Node } from "../../graph/node.ts";
import { staticShape, staticSize } from "../../graph/shape.ts";
import { flatten, Index, unflatten } from "../index_expr.ts";
import type { Expr, Kernel, Statement } from "../loop_ir.ts";
import { valueOperands } from "../schedule/access.ts";
import { isReduction } from "../schedule/ops.ts";
import { type KernelPlan, operationWeight } from "../schedule/stores.ts";
import { accumulatorOf } from "./accumulators.ts";
import { innermostDivisions } from "./divisions.ts";
import { KernelBuilder, type LoweredKernel, storesAfterValues } from "./kernel_builder.ts";
import { describeKernel } from "./names.ts";
import { blockedRange, wholeRange } from "./ranges.ts";
import { candidateLayouts, type Layout } from "./row_layouts.ts";
import { renumberBuffers } from "./renumber.ts";
import { operandOf } from "./attributes.ts";
import { scalarType, ValueBuilder } from "./values.ts";

/** Elements that one parallel iteration should have, so that its overhead does not show. */
const UNIT_ELEMENTS = 4096;
/** Rows longer than this are not kept in scratch. */
const SCRATCH_LIMIT = 1 << 15;
/** Ops at least this heavy are worth keeping rather than computing twice. */
const HEAVY = 10;

const COLUMN_VARIABLES = /^c/;
const ALL_VARIABLES = /^[cr]/;

/** The kernel of a `rows` cluster. */
export function lowerRows(plan: KernelPlan, isHeld: (node: Node) => boolean): LoweredKernel {
  let best: { lowered: LoweredKernel; divisions: number } | undefined;
  for (const layout of candidateLayouts(plan)) {
    const lowered = new RowsLowering(plan, layout, isHeld).lower();
    const divisions = divisionsPerElement(lowered.kernel, staticSize(layout.columns));
    if (best === undefined || divisions < best.divisions) best = { lowered, divisions };
    if (divisions === 0) break;
  }
  if (best === undefined) throw new TypeError("A rows cluster has no layout");
  return best.lowered;
}

/** How many divisions an element's indices take; those of its row are shared by the columns. */
function divisionsPerElement(kernel: Kernel, columns: number): number {
  const inner = innermostDivisions(kernel, COLUMN_VARIABLES);
  const all = innermostDivisions(kernel, ALL_VARIABLES);
  return inner + (all - inner) / columns;
}

class RowsLowering {
  readonly #plan: KernelPlan;
  readonly #layout: Layout;
  readonly #isHeld: (node: Node) => boolean;
  readonly #builder = new KernelBuilder();
  readonly #rowIndices: readonly Index[];
  readonly #columnIndices: readonly Index[];
  readonly #accumulatorNames = new Map<Node, string>();
  readonly #phases = new Map<Node, number>();
  /** Values kept in scratch, with the pass that computes them. */
  readonly #kept = new Map<Node, { buffer: number; phase: number }>();

  constructor(plan: KernelPlan, layout: Layout, isHeld: (node: Node) => boolean) {
    this.#plan = plan;
    this.#layout = layout;
    this.#isHeld = isHeld;
    const name = (prefix: string, axes: readonly number[], at: number) =>
      axes.length === 1 ? prefix : `${prefix}${at}`;
    this.#rowIndices = layout.rows.map((extent, at) =>
      Index.variable(name("r", layout.rows, at), extent)
    );
    this.#columnIndices = layout.columns.map((extent, at) =>
      Index.variable(name("c", layout.columns, at), extent)
    );
  }

  lower(): LoweredKernel {
    const row = this.#rowStatements();
    const rows = staticSize(this.#layout.rows);
    const columns = staticSize(this.#layout.columns);
    const isMap = this.#accumulatorNames.size === 0;
    const { extent, body } = isMap && this.#layout.rows.length === 0
      ? blockColumns(row, columns)
      : this.#blockRows(row, rows, columns);
    const statements = renumberBuffers(body, (buffer) => this.#builder.final(buffer));
    const { buffers, bindings, writes } = this.#builder.finish();
    return {
      kernel: {
        kind: "loops",
        name: describeKernel("rows", this.#plan, `${rows}x${columns}`),
        buffers,
        parallel: { variable: "u", extent },
        body: statements,
      },
      bindings,
      writes,
      nodes: this.#plan.nodes,
    };
  }

  #blockRows(row: readonly Statement[], rows: number, columns: number) {
    const perUnit = Math.max(1, Math.ceil(UNIT_ELEMENTS / Math.max(columns, 1)));
    const extent = Math.ceil(rows / perUnit);
    if (rows === 1) return { extent: 1, body: [...row] };
    const split = this.#layout.rows.length > 1 ? this.#splitRow() : [];
    const range = blockedRange("r", "u", perUnit, rows);
    const loop: Statement = {
      kind: "loop",
      range,
      vectorize: columns === 1 && split.length === 0 && this.#accumulatorNames.size === 0,
      body: [...split, ...row],
    };
    return { extent, body: [loop] };
  }

  /** Names the row's index along each axis. */
  #splitRow(): Statement[] {
    const flat = Index.variable("r", staticSize(this.#layout.rows));
    return unflatten(flat, this.#layout.rows).map((index, at): Statement => ({
      kind: "let",
      name: `r${at}`,
      value: index.toExpr(),
    }));
  }

  #rowStatements(): Statement[] {
    const { stores, cluster } = this.#plan;
    const reductions = this.#neededReductions();
    this.#chooseKept(reductions);
    const statements: Statement[] = [];
    const last = Math.max(0, ...reductions.map((node) => this.#phaseOf(node)));
    reductions.forEach((node, at) => this.#accumulatorNames.set(node, `acc${at}`));
    for (let phase = 1; phase <= last; phase++) {
      const here = reductions.filter((node) => this.#phaseOf(node) === phase);
      statements.push(this.#reducePass(here, phase));
    }
    const full = stores.filter((node) => cluster.members.get(node) === "full");
    const perRow = stores.filter((node) => cluster.members.get(node) === "row");
    if (full.length > 0) statements.push(...this.#storePass(full, last + 1));
    statements.push(...this.#rowStores(perRow, last + 1));
    return statements;
  }

  #reducePass(reductions: readonly Node[], phase: number): Statement {
    const values = this.#valuesIn(phase);
    const body = this.#keepStatements(values, phase);
    const accumulators = reductions.map((node) =>
      accumulatorOf(node, this.#nameOf(node), this.#fullValue(values, operandOf(node, 0)))
    );
    const ranges = this.#layout.columns.length === 0
      ? [wholeRange("c", 1)]
      : this.#layout.columns.map((extent, at) => wholeRange(columnName(this.#layout, at), extent));
    return { kind: "reduce", ranges, body, accumulators };
  }

  #storePass(nodes: readonly Node[], phase: number): Statement[] {
    const values = this.#valuesIn(phase);
    let body = storesAfterValues(nodes.map((node) => ({
      buffer: this.#builder.write(node),
      index: this.#spaceIndex().toExpr(),
      value: this.#fullValue(values, node),
    })));
    for (let at = this.#layout.columns.length - 1; at >= 0; at--) {
      const extent = this.#layout.columns[at] ?? 1;
      const innermost = at === this.#layout.columns.length - 1;
      const range = wholeRange(columnName(this.#layout, at), extent);
      body = [{ kind: "loop", range, vectorize: innermost, body }];
    }
    return body;
  }

  #rowStores(nodes: readonly Node[], phase: number): Statement[] {
    const values = this.#valuesIn(phase);
    const row = flatten(this.#rowIndices, this.#layout.rows);
    return nodes.map((node): Statement => ({
      kind: "store",
      buffer: this.#builder.write(node),
      index: row.toExpr(),
      value: values.atFlat(node, row),
    }));
  }

  #keepStatements(values: ValueBuilder, phase: number): Statement[] {
    const kept = [...this.#kept].filter(([, where]) => where.phase === phase);
    return kept.map(([node, where]): Statement => ({
      kind: "store",
      buffer: where.buffer,
      index: this.#columnIndex().toExpr(),
      value: this.#fullValue(values, node),
    }));
  }

  #spaceIndex(): Index {
    return flatten(
      [...this.#rowIndices, ...this.#columnIndices],
      [...this.#layout.rows, ...this.#layout.columns],
    );
  }

  #columnIndex(): Index {
    return flatten(this.#columnIndices, this.#layout.columns);
  }

  #fullValue(values: ValueBuilder, node: Node): Expr {
    return values.atFlat(node, this.#spaceIndex());
  }

  #nameOf(reduction: Node): string {
    const name = this.#accumulatorNames.get(reduction);
    if (name === undefined) throw new TypeError(`${reduction} is not reduced in this kernel`);
    return name;
  }

  #valuesIn(phase: number): ValueBuilder {
    return new ValueBuilder({
      held: (node, indices) => {
        if (this.#isMember(node) && isReduction(node)) {
          return { kind: "var", type: scalarType(node.dtype), name: this.#nameOf(node) };
        }
        const kept = this.#kept.get(node);
        if (kept !== undefined && kept.phase < phase && this.#isOwnPlace(node, indices)) {
          const index = this.#columnIndex().toExpr();
          return { kind: "load", type: "f32", buffer: kept.buffer, index };
        }
        if (this.#isMember(node) || !this.#isHeld(node)) return undefined;
        return this.#builder.load(node, indices);
      },
    });
  }

  /** Whether the indices are the place in the space that the current iteration stands at. */
  #isOwnPlace(node: Node, indices: readonly Index[]): boolean {
    const own = unflatten(this.#spaceIndex(), staticShape(node.shape));
    return own.every((index, axis) => index.key === indices[axis]?.key);
  }

  #isMember(node: Node): boolean {
    return this.#plan.cluster.members.has(node);
  }

  /** Nodes computed in this kernel that `node` needs, itself included; `each` says whether to go on. */
  #walk(node: Node, each: (node: Node) => boolean, seen = new Set<Node>()): void {
    if (seen.has(node)) return;
    seen.add(node);
    if (!this.#isMember(node) && this.#isHeld(node)) return;
    if (!each(node)) return;
    for (const input of valueOperands(node)) this.#walk(input, each, seen);
  }

  #neededReductions(): Node[] {
    const found = new Set<Node>();
    const seen = new Set<Node>();
    for (const store of this.#plan.stores) {
      this.#walk(store, (node) => {
        if (isReduction(node)) found.add(node);
        return true;
      }, seen);
    }
    return [...this.#plan.cluster.members.keys()].filter((node) => found.has(node));
  }

  /** The pass after which the node's value can be had: 0 needs no reduction of this kernel. */
  #phaseOf(node: Node): number {
    const known = this.#phases.get(node);
    if (known !== undefined) return known;
    let phase = 0;
    if (this.#isMember(node) || !this.#isHeld(node)) {
      for (const input of valueOperands(node)) phase = Math.max(phase, this.#phaseOf(input));
      if (this.#isMember(node) && isReduction(node)) phase += 1;
    }
    this.#phases.set(node, phase);
    return phase;
  }

  /** Heavy values of full size that several passes need are computed in the first and kept. */
  #chooseKept(reductions: readonly Node[]): void {
    const columns = staticSize(this.#layout.columns);
    if (columns > SCRATCH_LIMIT || reductions.length === 0) return;
    const last = Math.max(...reductions.map((node) => this.#phaseOf(node)));
    const usedIn = new Map<Node, Set<number>>();
    const visit = (target: Node, phase: number) =>
      this.#walk(target, (node) => {
        if (isReduction(node) && node !== target) return false;
        if (isHeavy(node) && staticSize(staticShape(node.shape)) === this.#plan.cluster.total) {
          const phases = usedIn.get(node) ?? new Set();
          usedIn.set(node, phases.add(phase));
        }
        return true;
      });
    for (const node of reductions) visit(operandOf(node, 0), this.#phaseOf(node));
    for (const node of this.#plan.stores) {
      if (!isReduction(node)) visit(node, last + 1);
    }
    for (const [node, phases] of usedIn) {
      if (phases.size < 2) continue;
      const phase = Math.min(...phases);
      this.#kept.set(node, { buffer: this.#builder.scratch(columns), phase });
    }
  }
}

function isHeavy(node: Node): boolean {
  return node.dtype === "f32" && operationWeight(node) >= HEAVY;
}

function columnName(layout: Layout, at: number): string {
  return layout.columns.length === 1 ? "c" : `c${at}`;
}

/** A map over one long row: blocks of it are the parallel iterations. */
function blockColumns(row: readonly Statement[], columns: number) {
  if (columns <= UNIT_ELEMENTS) return { extent: 1, body: [...row] };
  const body = row.map((statement): Statement =>
    statement.kind === "loop" && statement.range.variable === "c"
      ? { ...statement, range: blockedRange("c", "u", UNIT_ELEMENTS, columns) }
      : statement
  );
  return { extent: Math.ceil(columns / UNIT_ELEMENTS), body };
}
