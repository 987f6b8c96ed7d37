/** Names in generated WGSL: those of loop IR where they can be had, each declared once a module. */

/** Words that WGSL keeps, and predeclared names that kernels' own must not hide. */
const TAKEN = new Set(
  ("alias break case const const_assert continue continuing default diagnostic discard else enable " +
    "false fn for if let loop override requires return struct switch true var while main bool f16 " +
    "f32 i32 u32 array atomic vec2 vec3 vec4 abs acos all any asin atan bitcast ceil clamp cos cross " +
    "dot exp exp2 floor fma fract ldexp length log log2 max min mix normalize pow reflect round " +
    "select sign sin sqrt step tan tanh trunc item lane column group local active as async await " +
    "read write read_write storage private workgroup function uniform target module new null not " +
    "pass self static super this throw try type typeof using void where with yield final from of " +
    "half precise shared signed unsigned common cast").split(" "),
);

/** Gives out names that no other of the module has. */
export class Names {
  readonly #taken = new Set<string>(TAKEN);

  /** The name, or the name with a number behind it. */
  unique(wanted: string): string {
    const word = wanted.replaceAll(/\W+/g, "_").replace(/^_+/, "").replace(/_+$/, "");
    const base = /^[a-zA-Z]/.test(word) ? word : `b${word}`;
    let name = base;
    for (let at = 1; this.#taken.has(name); at++) name = `${base}_${at}`;
    this.#taken.add(name);
    return name;
  }
}
