/** Tables for the terminal. */

/** A column: its heading, and whether its cells are numbers, which stand to the right. */
export interface Column {
  readonly heading: string;
  readonly numeric?: boolean;
}

/**
 * Rows of text under headings, in columns as wide as their widest cell.
 *
 * @throws {RangeError} When a row does not have a cell for each column.
 */
export function renderTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
): string {
  const wrong = rows.find((row) => row.length !== columns.length);
  if (wrong !== undefined) {
    throw new RangeError(`A row has ${wrong.length} cells, wanted ${columns.length}`);
  }
  const lines = [columns.map(({ heading }) => heading), ...rows];
  const widths = columns.map((_, column) =>
    lines.reduce((widest, line) => Math.max(widest, line[column]?.length ?? 0), 0)
  );
  return lines.map((line) => {
    const cells = columns.map(({ numeric = false }, column) => {
      const [cell, width] = [line[column] ?? "", widths[column] ?? 0];
      return numeric ? cell.padStart(width) : cell.padEnd(width);
    });
    return cells.join("  ").trimEnd();
  }).join("\n");
}

/** A number in about three digits, as long as it is below a thousand. */
export function threeDigits(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  const decimals = value === 0 ? 0 : Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.min(decimals, 6));
}
