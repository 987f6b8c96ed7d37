/** Shapes in types: the cases hold, wrong calls say why, and a large model checks in time. */
import { assert, assertEquals, assertStringIncludes } from "../support/assert.ts";

const here = new URL(".", import.meta.url);

/** Runs `deno check` on the files, which lie in this folder. */
async function check(paths: readonly string[]): Promise<{ passes: boolean; text: string }> {
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["check", "--quiet", ...paths],
    cwd: here,
    env: { NO_COLOR: "1" },
    stdout: "null",
    stderr: "piped",
  }).output();
  return { passes: success, text: new TextDecoder().decode(stderr) };
}

/** Checks a module of its own, in which the builders of shape_types_ops.ts are at hand. */
async function checkSource(source: string): Promise<{ passes: boolean; text: string }> {
  const path = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    const builders = new URL("shape_types_ops.ts", here).href;
    const names =
      "add, concat, contract, dim, gelu, input, matmul, mul, reduceSum, reshape, transpose";
    await Deno.writeTextFile(
      path,
      `import { ${names} } from ${JSON.stringify(builders)};\n${source}\nexport { ${names} };\n`,
    );
    return await check([path]);
  } finally {
    await Deno.remove(path);
  }
}

Deno.test("the cases of every shape rule hold under deno check", async () => {
  const { passes, text } = await check(["shape_types_cases.ts", "shape_types_calls.ts"]);
  assert(passes, text);
});

const INPUTS = `
const batch = dim("batch");
const x = input("x", "f32", [batch, 197, 768]);
const y = input("y", "f32", [batch, 196, 768]);
const w = input("w", "f32", [768, 3072]);
`;

const ERRORS: readonly (readonly [call: string, message: string])[] = [
  [
    "add(x, y)",
    "add: 197 and 196 do not broadcast, in [batch, 197, 768] and [batch, 196, 768]",
  ],
  ["matmul(x, y)", "matmul: inner dims 768 and 196 differ"],
  [
    'contract("b n d, e d -> b n e", x, w)',
    String
      .raw`contract \"b n d, e d -> b n e\": d is 768 in the first operand and 3072 in the second`,
  ],
  ['contract("b n d, d e -> b n q", x, w)', "q of the result is in neither operand"],
  [
    "reshape(x, [batch, 196, 12, 64])",
    "reshape: [batch, 197, 768] has 151296*batch elements, [batch, 196, 12, 64] 150528*batch",
  ],
  ["transpose(x, [0, 2])", "transpose: [0, 2] does not name each axis of [batch, 197, 768] once"],
  ["concat([x, w], 1)", "concat: [batch, 197, 768] and [768, 3072] differ in rank"],
  ["concat([x, y], 2)", "concat: [batch, 197, 768] and [batch, 196, 768] differ at axis 1"],
  ["reduceSum(x, 3)", "sum: axis 3 is out of range for [batch, 197, 768]: wanted -3 to 2"],
];

Deno.test("a wrong call's error says which dims disagree, and stands at its line", async () => {
  const source = INPUTS + ERRORS.map(([call]) => `${call};`).join("\n");
  const { passes, text } = await checkSource(source);
  assert(!passes);
  const errors = text.split(/^(?=TS\d+ \[ERROR\])/m).filter((part) => part.startsWith("TS"));
  assertEquals(errors.length, ERRORS.length, text);
  for (const [index, [call, message]] of ERRORS.entries()) {
    assertStringIncludes(errors[index] ?? "", message);
    assertStringIncludes(errors[index] ?? "", call);
  }
});

Deno.test("an error in a long chain of shapes is not cut short", async () => {
  const names = ["batch_of_images", "views_of_image", "heads_of_layer", "tokens_of_image"];
  const dims = names.map((name) => `dim("${name}")`).join(", ");
  const { passes, text } = await checkSource(`
    const a = input("a", "f32", [${dims}, 64]);
    const b = input("b", "f32", [${dims}, 63]);
    add(a, b);`);
  assert(!passes);
  const shape = (last: number) => `[${names.join(", ")}, ${last}]`;
  assertStringIncludes(text, `add: 64 and 63 do not broadcast, in ${shape(64)} and ${shape(63)}`);
});

/** One encoder block, whose dims no other block has. */
function blockSource(layer: number, width: number): string {
  const [heads, depth, hidden] = [12, width / 12, width * 4];
  const projection = (name: string, from: string) => `
  const ${name}Rows${layer} = add(
    contract("b n d, d e -> b n e", ${from}, input("${name}/w", "f32", [${width}, ${width}])),
    input("${name}/b", "f32", [${width}]),
  );
  const ${name}${layer} = transpose(
    reshape(${name}Rows${layer}, [batch, 197, ${heads}, ${depth}]), [0, 2, 1, 3]);`;
  const norm = (name: string, from: string) => `
  const ${name}Mean${layer} = mul(reduceSum(${from}, -1, { keepDims: true }), 1 / ${width});
  const ${name}Square${layer} = mul(${from}, ${from});
  const ${name}${layer} = add(
    mul(add(${from}, ${name}Mean${layer}), reduceSum(${name}Square${layer}, [-1], { keepDims: true })),
    input("${name}/bias", "f32", [${width}]),
  );`;
  return `
  const x${layer} = input("x${layer}", "f32", [batch, 197, ${width}]);
  ${norm("first", `x${layer}`)}
  ${projection("query", `first${layer}`)}
  ${projection("key", `first${layer}`)}
  ${projection("value", `first${layer}`)}
  const scores${layer} = mul(
    contract("b h q d, b h k d -> b h q k", query${layer}, key${layer}), 0.125);
  const heads${layer} = matmul(scores${layer}, value${layer});
  const joined${layer} = reshape(transpose(heads${layer}, [0, 2, 1, 3]), [batch, 197, ${width}]);
  const middle${layer} = add(x${layer}, joined${layer});
  ${norm("second", `middle${layer}`)}
  const wide${layer} = gelu(add(
    matmul(second${layer}, input("up", "f32", [${width}, ${hidden}])),
    input("up/b", "f32", [${hidden}]),
  ));
  const out${layer} = add(
    middle${layer}, matmul(wide${layer}, input("down", "f32", [${hidden}, ${width}])));
  const typed${layer}: typeof x${layer} = concat([out${layer}], 1);
  export { typed${layer} };`;
}

Deno.test("twelve blocks of different widths check in under 10 seconds", async () => {
  const widths = Array.from({ length: 12 }, (_, layer) => 768 + 12 * layer);
  const blocks = widths.map((width, layer) => blockSource(layer, width));
  const start = performance.now();
  const { passes, text } = await checkSource(`const batch = dim("batch");\n${blocks.join("\n")}`);
  const seconds = (performance.now() - start) / 1000;
  assert(passes, text);
  assert(seconds < 10, `Type checking took ${seconds.toFixed(1)} s: wanted under 10 s`);
});
