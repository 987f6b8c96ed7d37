/**
 * Products of matrices as WGSL. A kernel is one dispatch: its parts are functions, and each workgroup
 * computes one tile of one of them. Every element's sum is taken in the same order in every run.
 */
import type { MatmulKernel, MatmulPart } from "../../../compiler/loop_ir.ts";
import { assignRoles, type MatmulRoles } from "../../matmul_roles.ts";
import {
  type Dispatch,
  type EmitOptions,
  gridOf,
  groupNumber,
  ModuleWriter,
} from "../wgsl/module.ts";
import { wideInEpilogues } from "./epilogue_fours.ts";
import { Locals } from "./locals.ts";
import { writeEpilogue } from "./matmul_epilogue.ts";
import { type OperandView, type Stage, wideBuffers } from "./matmul_operand.ts";
import {
  extentOf,
  operandView,
  type PartContext,
  type PreparedPart,
  preparePart,
  sumLength,
  tilesOf,
  writePart,
} from "./matmul_part.ts";
import {
  chooseTile,
  fits,
  invocationsOf,
  type MatmulTileName,
  type PartExtents,
  suitableTiles,
  type Tile,
  type TileDevice,
  TILES,
} from "./tile.ts";
import { isMatmulTile, type TileName } from "./tile_names.ts";

/**
 * The dispatch that computes a matmul kernel, or none where its results have no elements.
 *
 * @throws {RangeError} When the device cannot run it.
 */
export function emitMatmul(
  kernel: MatmulKernel,
  options: EmitOptions,
): Dispatch[] {
  const parts = partsOf(kernel);
  if (parts.length === 0) return [];
  const tile = tileOf(kernel, options.tile) ??
    chooseTile(parts.map(({ extents }) => extents), options);
  checkFits(kernel, tile, options);
  const wide = new Set([
    ...wideBuffers(kernel.buffers, viewsOf(parts)),
    ...wideInEpilogues(kernel.buffers, parts),
  ]);
  const module = new ModuleWriter(kernel, options, wide);
  if (tile.sharing > 1) module.enableSubgroups();
  const locals = new Locals(module.names);
  const context = { buffers: module.buffers, locals };
  const prepared = parts.map(({ part, roles, extents }) =>
    preparePart(context, part, roles, extents)
  );
  const { shared, declarations } = workgroupMemory(tile, prepared, locals);
  const functions = parts.flatMap(({ part, roles }, index) => {
    const found = prepared[index];
    if (found === undefined) return [];
    const epilogue = writeEpilogue(module, locals, kernel.buffers, part, roles, index);
    const name = locals.of(`part_${index}`);
    const { software } = options;
    const whole = writePart({ ...context, ...shared, tile, software }, found, epilogue, name);
    return ["", ...epilogue.lines, "", describePart(found), ...whole];
  });
  const grid = gridOf(prepared.reduce((sum, part) => sum + tilesOf(tile, part), 0), options.limits);
  writeMain(module, locals, prepared, tile, groupNumber(grid));
  const wgsl = module.module([invocationsOf(tile), 1], [...declarations, ...functions]);
  return [{ wgsl, grid }];
}

function tileOf({ name }: MatmulKernel, tile: TileName | undefined): Tile | undefined {
  if (tile === undefined) return undefined;
  if (isMatmulTile(tile)) return TILES[tile];
  throw new RangeError(`Kernel ${name} is a matmul, for which there is no tile "${tile}"`);
}

/** The tiles that may suit the kernel on a device: those worth a measurement. */
export function tilesFor(kernel: MatmulKernel, device: TileDevice): MatmulTileName[] {
  const parts = partsOf(kernel);
  return parts.length === 0 ? [] : suitableTiles(parts.map(({ extents }) => extents), device);
}

/** The parts that have results. */
function partsOf(kernel: MatmulKernel) {
  return kernel.parts.map((part) => {
    const roles = assignRoles(part);
    const extents: PartExtents = {
      batch: extentOf(roles.batch),
      rows: extentOf(roles.m),
      columns: extentOf(roles.n),
      k: part.terms.reduce((sum, term) => sum + sumLength(term), 0),
    };
    return { part, roles, extents };
  }).filter(({ extents: { batch, rows, columns } }) => batch * rows * columns > 0);
}

function viewsOf(
  parts: readonly { readonly part: MatmulPart; readonly roles: MatmulRoles }[],
): OperandView[] {
  return parts.flatMap(({ part, roles }) =>
    part.terms.flatMap((term, index) =>
      (["a", "b"] as const).map((side) => operandView(roles, term, index, side))
    )
  );
}

function checkFits({ name }: MatmulKernel, tile: Tile, device: TileDevice): void {
  if (fits(tile, device)) return;
  throw new RangeError(
    `Kernel ${name} cannot be computed in tiles of ${tile.rows}x${tile.columns}: they take ` +
      `${invocationsOf(tile)} invocations, or more workgroup memory than the device has, or ` +
      `subgroups of a size that it has not`,
  );
}

function workgroupMemory(
  tile: Tile,
  parts: readonly PreparedPart[],
  locals: Locals,
): { readonly shared: Pick<PartContext, "stages" | "halves">; readonly declarations: string[] } {
  const declarations: string[] = [];
  const declare = (word: string, length: number) => {
    const name = locals.of(word);
    declarations.push(`var<workgroup> ${name}: array<vec4<f32>, ${length}>;`);
    return name;
  };
  const stageOf = (side: "a" | "b", extent: number): Stage => {
    // Where elements of one step are stored far from each other, a gap keeps them from one bank.
    const scatters = parts.some(({ terms }) => terms.some((term) => term[side].scatters));
    const pitch = extent / 4 + (scatters ? 1 : 0);
    const name = declare(`${side}_stage`, tile.depth * pitch);
    return { name, extent, depth: tile.depth, pitch, invocations: invocationsOf(tile) };
  };
  const stages = tile.staged
    ? { a: stageOf("a", tile.rows), b: stageOf("b", tile.columns) }
    : undefined;
  const halves = tile.slices === 1
    ? undefined
    : declare("halves", tile.rows * tile.columns * tile.slices / 8);
  return { shared: { stages, halves }, declarations };
}

function describePart({ extents: { batch, rows, columns, k } }: PreparedPart): string {
  return `// ${batch === 1 ? "" : `${batch} x `}${rows} x ${columns} results, each a sum of ${k}.`;
}

/** The entry point: finds the workgroup's part and the number of its tile. */
function writeMain(
  { code }: ModuleWriter,
  locals: Locals,
  parts: readonly PreparedPart[],
  tile: Tile,
  number: string,
): void {
  const [tiles, lane] = [locals.of("tile"), locals.of("invocation")];
  code.add(`let ${tiles} = i32(${number});`, `let ${lane} = i32(local.x);`);
  let first = 0;
  parts.forEach((part, index) => {
    const end = first + tilesOf(tile, part);
    const own = first === 0 ? tiles : `${tiles} - ${first}`;
    const header = `${index === 0 ? "if" : "else if"} (${tiles} < ${end})`;
    code.block(header, () => code.add(`${locals.of(`part_${index}`)}(${own}, ${lane});`));
    first = end;
  });
}
