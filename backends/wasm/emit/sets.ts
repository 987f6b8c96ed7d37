/** Sets, where the engine may lack their newer methods: Node.js has them from 22, Chrome from 122. */

/** Whether no member of one is in the other. */
export function areDisjoint<T>(one: ReadonlySet<T>, other: ReadonlySet<T>): boolean {
  const [smaller, larger] = one.size <= other.size ? [one, other] : [other, one];
  for (const member of smaller) if (larger.has(member)) return false;
  return true;
}
