/** What a matmul does with its finished sums: the epilogue, as a function of four of a row's. */
import type { KernelBuffer, MatmulPart, Statement } from "../../../compiler/loop_ir.ts";
import { ExpressionNumbers } from "../../../compiler/lower/expressions.ts";
import type { MatmulRoles, RoleAxis } from "../../matmul_roles.ts";
import { Code } from "../wgsl/code.ts";
import {
  type ExpressionContext,
  ExpressionWriter,
  writeSimpleStatement,
} from "../wgsl/expressions.ts";
import type { ModuleWriter } from "../wgsl/module.ts";
import { axisIndices, sizeOf } from "../wgsl/strides.ts";
import { foursOf, type LoadExpr } from "./epilogue_fours.ts";
import type { Locals } from "./locals.ts";

/** The function's name and text. */
export interface EpilogueFunction {
  readonly name: string;
  readonly lines: readonly string[];
  /** Whether it may as well be written out for each of an invocation's results. */
  readonly isShort: boolean;
}

/** Lines of a function that is short. */
const SHORT = 20;

/** Writes the function of (batch, row, first column, four sums) that finishes a part's results. */
export function writeEpilogue(
  module: ModuleWriter,
  locals: Locals,
  declared: readonly KernelBuffer[],
  part: MatmulPart,
  { batch, m, n }: MatmulRoles,
  index: number,
): EpilogueFunction {
  const code = new Code();
  const { names, library, buffers, written } = module;
  const context = { code, names, library, buffers, written };
  const writer = new ExpressionWriter(context);
  const name = locals.of(`finish_${index}`);
  const [entry, row, column, sums, at] = ["batch", "row", "first_column", "sums", "at"].map((
    word,
  ) => locals.of(word)) as [string, string, string, string, string];
  const flat = locals.of("result_column");
  const extent = (axes: readonly RoleAxis[]) => sizeOf(axes.map(({ extent }) => extent));
  code.add(`if (${row} >= ${extent(m)} || ${column} >= ${extent(n)}) { return; }`);
  writeCoordinates(code, writer, batch, entry);
  writeCoordinates(code, writer, m, row);
  const fours = new Fours(context, writer, part, n, declared);
  writer.scope(() => {
    if (fours.isEmpty) return;
    writeCoordinates(code, writer, n, column);
    fours.writeBefore();
  });
  code.block(`for (var ${at} = 0; ${at} < 4; ${at}++)`, () => {
    writer.scope(() => {
      code.add(`let ${flat} = ${column} + ${at};`);
      if (extent(n) % 4 !== 0) code.add(`if (${flat} >= ${extent(n)}) { break; }`);
      writeCoordinates(code, writer, n, flat);
      const acc = names.unique("acc");
      code.add(`let ${acc} = ${sums}[${at}];`);
      writer.bind("acc", acc);
      fours.enter(at);
      for (const statement of part.epilogue) {
        if (!fours.keep(statement, at)) writeSimpleStatement(writer, context, statement);
      }
    });
  });
  fours.writeAfter();
  return {
    name,
    isShort: code.lines.length <= SHORT,
    lines: [
      `fn ${name}(${entry}: i32, ${row}: i32, ${column}: i32, ${sums}: vec4<f32>) {`,
      ...code.lines,
      "}",
    ],
  };
}

/** What an epilogue loads by fours before it goes through its columns, and stores so afterwards. */
class Fours {
  readonly #context: ExpressionContext;
  readonly #writer: ExpressionWriter;
  readonly #loads: readonly { readonly load: LoadExpr; readonly name: string }[];
  readonly #stores: ReadonlyMap<Statement, { readonly name: string; readonly buffer: number }>;
  readonly #places = new Map<Statement, string>();

  constructor(
    context: ExpressionContext,
    writer: ExpressionWriter,
    part: MatmulPart,
    columns: readonly RoleAxis[],
    declared: readonly KernelBuffer[],
  ) {
    this.#context = context;
    this.#writer = writer;
    const { names, buffers } = context;
    const { loads, stores } = foursOf(part, columns, declared);
    const numbers = new ExpressionNumbers();
    const different = new Map(loads.map((load) => [numbers.of(load), load]));
    this.#loads = [...different.values()].filter(({ buffer }) => buffers.isWide(buffer)).map((
      load,
    ) => ({ load, name: names.unique(`${buffers.nameOf(load.buffer)}_four`) }));
    this.#stores = new Map(
      [...stores].filter(({ buffer }) => buffers.isWide(buffer)).map((store) => [
        store,
        { name: names.unique(`${buffers.nameOf(store.buffer)}_four`), buffer: store.buffer },
      ]),
    );
  }

  get isEmpty(): boolean {
    return this.#loads.length === 0 && this.#stores.size === 0;
  }

  /** Loads, and finds where to store; columns' variables stand for the first of four. */
  writeBefore(): void {
    const { code, buffers, names } = this.#context;
    for (const { load, name } of this.#loads) {
      const index = this.#writer.value(load.index);
      code.add(`let ${name} = ${buffers.loadFour(load.buffer, index)};`);
    }
    for (const [statement, { name }] of this.#stores) {
      if (statement.kind !== "store") continue;
      const place = names.unique(`${name}_place`);
      code.add(`let ${place} = ${this.#writer.value(statement.index)};`, `var ${name}: vec4<f32>;`);
      this.#places.set(statement, place);
    }
  }

  /** Lets loads stand for what was loaded for this column of the four. */
  enter(at: string): void {
    for (const { load, name } of this.#loads) this.#writer.know(load, `${name}[${at}]`);
  }

  /** Keeps what one of the stores would store; false where the statement is another. */
  keep(statement: Statement, at: string): boolean {
    const kept = this.#stores.get(statement);
    if (kept === undefined || statement.kind !== "store") return false;
    const value = this.#writer.value(statement.value);
    this.#context.code.add(`${kept.name}[${at}] = ${value};`);
    return true;
  }

  /** Stores what was kept. */
  writeAfter(): void {
    const { code, buffers } = this.#context;
    for (const [statement, { name, buffer }] of this.#stores) {
      code.add(buffers.storeFour(buffer, this.#places.get(statement) ?? "0", name));
    }
  }
}

/** Names the axes' variables of a flat index. */
function writeCoordinates(
  code: Code,
  writer: ExpressionWriter,
  axes: readonly RoleAxis[],
  flat: string,
): void {
  const indices = axisIndices(flat, axes.map(({ extent }) => extent));
  axes.forEach(({ variable }, at) => {
    const index = indices[at] ?? "0";
    if (index === "0") writer.bind(variable, index);
    else code.add(`let ${writer.declare(variable)} = ${index};`);
  });
}
