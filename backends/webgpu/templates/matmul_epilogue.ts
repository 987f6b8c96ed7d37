/** What a matmul does with its finished sums: the epilogue, as a function of four of a row's. */
import type { MatmulPart } from "../../../compiler/loop_ir.ts";
import type { MatmulRoles, RoleAxis } from "../../matmul_roles.ts";
import { Code } from "../wgsl/code.ts";
import { ExpressionWriter, writeSimpleStatement } from "../wgsl/expressions.ts";
import type { ModuleWriter } from "../wgsl/module.ts";
import { axisIndices, sizeOf } from "../wgsl/strides.ts";
import type { Locals } from "./locals.ts";

/** The function's name and text. */
export interface EpilogueFunction {
  readonly name: string;
  readonly lines: readonly string[];
}

/** Writes the function of (batch, row, first column, four sums) that finishes a part's results. */
export function writeEpilogue(
  module: ModuleWriter,
  locals: Locals,
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
  code.block(`for (var ${at} = 0; ${at} < 4; ${at}++)`, () => {
    code.add(`let ${flat} = ${column} + ${at};`);
    if (extent(n) % 4 !== 0) code.add(`if (${flat} >= ${extent(n)}) { break; }`);
    writer.scope(() => {
      writeCoordinates(code, writer, n, flat);
      const acc = names.unique("acc");
      code.add(`let ${acc} = ${sums}[${at}];`);
      writer.bind("acc", acc);
      for (const statement of part.epilogue) writeSimpleStatement(writer, context, statement);
    });
  });
  return {
    name,
    lines: [
      `fn ${name}(${entry}: i32, ${row}: i32, ${column}: i32, ${sums}: vec4<f32>) {`,
      ...code.lines,
      "}",
    ],
  };
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
