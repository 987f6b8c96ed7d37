/** Whole numbers: conversions, and random words. */
import type { LibraryFunction } from "./library.ts";

const ROTATIONS = [[13, 15, 26, 6], [17, 29, 16, 24]] as const;

/** Threefry-2x32 with 20 rounds (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"). */
function threefry(): string {
  const keys = ["k0", "k1", "k2"];
  const lines = [
    "let k0 = key.x;",
    "let k1 = key.y;",
    "let k2 = k0 ^ k1 ^ 0x1bd11bdau;",
    "var a = counter.x + k0;",
    "var b = counter.y + k1;",
  ];
  for (let group = 0; group < 5; group++) {
    for (const by of ROTATIONS[group % 2] ?? []) {
      lines.push(`a += b; b = ((b << ${by}u) | (b >> ${32 - by}u)) ^ a;`);
    }
    lines.push(`a += ${keys[(group + 1) % 3]}; b += ${keys[(group + 2) % 3]} + ${group + 1}u;`);
  }
  return [
    "fn threefry(key: vec2<u32>, counter: vec2<u32>) -> vec2<u32> {",
    ...lines.map((line) => `  ${line}`),
    "  return vec2<u32>(a, b);",
    "}",
  ].join("\n");
}

/** Functions on whole numbers. Division by zero gives 0, as loop IR has it. */
export const WHOLE_FUNCTIONS: Readonly<Record<string, LibraryFunction>> = {
  threefry: { needs: [], text: threefry() },
  div_i32: {
    needs: [],
    text: "fn div_i32(a: i32, b: i32) -> i32 { return select(a / b, 0, b == 0); }",
  },
  rem_i32: {
    needs: [],
    text: "fn rem_i32(a: i32, b: i32) -> i32 { return select(a % b, 0, b == 0); }",
  },
  div_u32: {
    needs: [],
    text: "fn div_u32(a: u32, b: u32) -> u32 { return select(a / b, 0u, b == 0u); }",
  },
  rem_u32: {
    needs: [],
    text: "fn rem_u32(a: u32, b: u32) -> u32 { return select(a % b, 0u, b == 0u); }",
  },
  to_i32: {
    needs: ["is_nan"],
    text: `fn to_i32(x: f32) -> i32 {
  if (is_nan(x)) { return 0; }
  if (x >= 2147483648.0) { return 2147483647; }
  if (x <= -2147483648.0) { return i32(-2147483648); }
  return i32(x);
}`,
  },
  to_u32: {
    needs: ["is_nan"],
    text: `fn to_u32(x: f32) -> u32 {
  if (is_nan(x) || x <= 0.0) { return 0u; }
  if (x >= 4294967296.0) { return 4294967295u; }
  return u32(x);
}`,
  },
};
