/** Suggestions for misspelt names. */

/** Text such as `; did you mean "images"?`, or nothing where no candidate is near. */
export function suggestion(name: string, candidates: Iterable<string>): string {
  let best: string | undefined;
  let least = Math.max(2, Math.floor(name.length / 3)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(name, candidate);
    if (distance >= least) continue;
    least = distance;
    best = candidate;
  }
  return best === undefined ? "" : `; did you mean "${best}"?`;
}

/** Letters to insert, delete or replace to get from one text to the other (Levenshtein 1966). */
export function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let line = 1; line <= a.length; line++) {
    const next = [line];
    for (let column = 1; column <= b.length; column++) {
      const same = a[line - 1] === b[column - 1];
      const replaced = (row[column - 1] ?? 0) + (same ? 0 : 1);
      const inserted = (next[column - 1] ?? 0) + 1;
      const deleted = (row[column] ?? 0) + 1;
      next.push(Math.min(replaced, inserted, deleted));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
