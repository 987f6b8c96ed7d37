/** The verifiers reject graphs, kernels and programs that are broken by hand, and say where. */
import type { Kernel, LoopKernel, MatmulKernel, Statement } from "../../compiler/loop_ir.ts";
import type { Program, StepMember } from "../../compiler/program.ts";
import { verifyBound, VerifyError, verifyGraph, verifyPrimitive } from "../../compiler/verify.ts";
import { verifyKernel } from "../../compiler/verify_kernel.ts";
import { verifyProgram } from "../../compiler/verify_program.ts";
import * as g from "../../graph/mod.ts";
import { type Node, Tensor } from "../../graph/node.ts";
import { assert, assertThrows } from "../support/assert.ts";
import { attentionGradKernel, attentionKernel } from "../support/attention_kernels.ts";
import { groupedProgram, sizedKernel } from "../support/grouped_program.ts";
import { lowered, moduleOf } from "../support/lowered.ts";
import {
  binary,
  constant as f32,
  load,
  loopKernel,
  variable,
  whole as i32,
} from "../support/loop_ir.ts";

const x = g.input("x", "f32", [4]);

/** A node that no builder would make. */
function broken(node: Node, change: Partial<Pick<Node, "dtype" | "shape">>): Node {
  const { op, inputs, attrs, label, scope, origin, dtype, shape } = node;
  return new Tensor({ id: 1e9, op, inputs, attrs, label, scope, origin, dtype, shape, ...change });
}

Deno.test("a node whose type is not what its op infers is rejected by name, scope and line", () => {
  const node = g.withScope("encoder", () => g.tanh(x));
  const error = assertThrows(
    () => verifyGraph(moduleOf({ y: broken(node, { shape: [5] }) })),
    VerifyError,
    'tanh f32[5] should be f32[4] (scope "encoder", made at',
  );
  assert(error.message.includes("verify_test.ts"), error.message);
  assertThrows(
    () => verifyGraph(moduleOf({ y: broken(node, { dtype: "i32" }) })),
    VerifyError,
    "should be f32[4]",
  );
});

Deno.test("an input that the graph does not declare is rejected", () => {
  const module = { inputs: new Map<string, Node>(), outputs: new Map([["y", g.tanh(x)]]) };
  assertThrows(() => verifyGraph(module), VerifyError, 'reads input "x", which the graph does not');
});

Deno.test("symbolic dims and their sizes are rejected after binding", () => {
  const z = g.input("z", "f32", [g.dim("batch")]);
  assertThrows(
    () => verifyBound(moduleOf({ y: g.tanh(z) })),
    VerifyError,
    'still has the unbound dim "batch"',
  );
  assertThrows(
    () => verifyBound(moduleOf({ y: g.dimSize(g.dim("batch")) })),
    VerifyError,
    "dimSize f32[] should have become a constant",
  );
});

Deno.test("composite ops are rejected after decomposition", () => {
  assertThrows(
    () => verifyPrimitive(moduleOf({ y: g.softmax(x) })),
    VerifyError,
    "softmax f32[4] should have been decomposed",
  );
});

const READ = { name: "in0", dtype: "f32", elements: 4, access: "read" } as const;
const WRITE = { name: "out1", dtype: "f32", elements: 4, access: "write" } as const;
const WHOLE = { name: "out1", dtype: "i32", elements: 4, access: "write" } as const;

function kernelOf(body: readonly Statement[], write: typeof WRITE | typeof WHOLE = WRITE) {
  return loopKernel("bad", [READ, write], 4, body);
}

const store = (value: Parameters<typeof binary>[1], index = variable("u")): Statement => ({
  kind: "store",
  buffer: 1,
  index,
  value,
});

/** What is wrong with each kernel of loops. */
const BROKEN_LOOPS: readonly (readonly [name: string, kernel: LoopKernel, problem: string])[] = [
  [
    "an undefined variable",
    kernelOf([store(load(0, variable("w")))]),
    "uses the undefined variable w",
  ],
  [
    "a variable after its block",
    kernelOf([
      {
        kind: "loop",
        range: { variable: "c", start: i32(0), end: i32(4) },
        vectorize: false,
        body: [],
      },
      store(load(0, variable("c"))),
    ]),
    "uses the undefined variable c",
  ],
  [
    "a variable of another type",
    kernelOf([store({ kind: "var", type: "f32", name: "u" })]),
    "uses u as f32, which is i32",
  ],
  [
    "a buffer that is not there",
    kernelOf([store(load(7, i32(0)))]),
    "loads buffer 7, which it has not",
  ],
  [
    "a load as another type",
    kernelOf([store({ kind: "load", type: "i32", buffer: 0, index: i32(0) })]),
    "has a i32 where f32 is wanted, in a load of in0",
  ],
  [
    "a float as an index",
    kernelOf([store(f32(1), f32(0))]),
    "has a f32 where i32 is wanted, in the index of a store to out1",
  ],
  [
    "a float stored as whole",
    kernelOf([store(f32(1))], WHOLE),
    "has a f32 where i32 is wanted, in a store to out1",
  ],
  [
    "a store to what is only read",
    kernelOf([{ kind: "store", buffer: 0, index: i32(0), value: f32(0) }]),
    "writes buffer 0, which it may not",
  ],
  [
    "operands of two types",
    kernelOf([store(binary("add", f32(1), i32(1)))]),
    "has a i32 where f32 is wanted, in binary",
  ],
  [
    "a comparison that is no truth value",
    kernelOf([store({ kind: "binary", op: "less", type: "f32", a: f32(1), b: f32(2) })]),
    "has a f32 where bool is wanted, in less",
  ],
  [
    "a condition that is no truth value",
    kernelOf([
      store({ kind: "select", type: "f32", condition: f32(1), a: f32(1), b: f32(2) }),
    ]),
    "has a f32 where bool is wanted, in select",
  ],
  [
    "a loop to a float",
    kernelOf([{
      kind: "loop",
      range: { variable: "c", start: i32(0), end: f32(4) },
      vectorize: false,
      body: [],
    }]),
    "has a f32 where i32 is wanted, in a bound of c",
  ],
  [
    "a sum of another type",
    kernelOf([{
      kind: "reduce",
      ranges: [{ variable: "k", start: i32(0), end: i32(4) }],
      body: [],
      accumulators: [{ name: "acc0", type: "i32", op: "sum", value: f32(1) }],
    }]),
    "has a f32 where i32 is wanted, in the sum acc0",
  ],
  [
    "a place that is a float",
    kernelOf([{
      kind: "reduce",
      ranges: [{ variable: "k", start: i32(0), end: i32(4) }],
      body: [],
      accumulators: [{ name: "acc0", type: "f32", op: "argmax", value: f32(1) }],
    }]),
    "has f32 for the place acc0",
  ],
  [
    "random bits of floats",
    kernelOf([store({
      kind: "cast",
      type: "f32",
      a: {
        kind: "threefry",
        type: "u32",
        word: "first",
        key0: i32(1),
        key1: i32(1),
        counter0: i32(1),
        counter1: i32(1),
      },
    })]),
    "has a i32 where u32 is wanted, in threefry",
  ],
];

for (const [name, kernel, problem] of BROKEN_LOOPS) {
  Deno.test(`a kernel is rejected: ${name}`, () => {
    assertThrows(() => verifyKernel(kernel), VerifyError, `Kernel bad ${problem}`);
  });
}

function onlyKernel<K extends Kernel["kind"]>(program: Program, kind: K): Kernel & { kind: K } {
  const kernel = program.kernels.find((candidate) => candidate.kind === kind);
  assert(kernel !== undefined, `no ${kind}`);
  // Found by its kind just above.
  return kernel as Kernel & { kind: K };
}

function matmul(): MatmulKernel {
  const a = g.input("a", "f32", [3, 4]);
  const b = g.input("b", "f32", [4, 5]);
  return onlyKernel(lowered({ y: g.matmul(a, b) }), "matmul");
}

function withPart(kernel: MatmulKernel, change: Partial<MatmulKernel["parts"][number]>) {
  return { ...kernel, parts: kernel.parts.map((part) => ({ ...part, ...change })) };
}

Deno.test("a matmul kernel is rejected: without parts or terms", () => {
  const kernel = matmul();
  assertThrows(() => verifyKernel({ ...kernel, parts: [] }), VerifyError, "has no parts");
  assertThrows(
    () => verifyKernel(withPart(kernel, { terms: [] })),
    VerifyError,
    `Kernel ${kernel.name} has a part without terms`,
  );
});

Deno.test("a matmul kernel is rejected: an operand that leaves its buffer", () => {
  const kernel = matmul();
  const terms = kernel.parts[0]?.terms ?? [];
  const moved = terms.map((term) => ({ ...term, a: { ...term.a, offset: term.a.offset + 1 } }));
  assertThrows(
    () => verifyKernel(withPart(kernel, { terms: moved })),
    VerifyError,
    "reads in0[1..12] of 12 elements",
  );
  const before = terms.map((term) => ({ ...term, b: { ...term.b, offset: -1 } }));
  assertThrows(
    () => verifyKernel(withPart(kernel, { terms: before })),
    VerifyError,
    "reads in1[-1..18] of 20 elements",
  );
});

Deno.test("a matmul kernel is rejected: strides that are not one an axis, a result as operand", () => {
  const kernel = matmul();
  const terms = kernel.parts[0]?.terms ?? [];
  const short = terms.map((term) => ({ ...term, a: { ...term.a, kStrides: [] } }));
  assertThrows(
    () => verifyKernel(withPart(kernel, { terms: short })),
    VerifyError,
    "whose strides do not match its axes",
  );
  const result = terms.map((term) => ({ ...term, a: { ...term.a, buffer: 2 } }));
  assertThrows(
    () => verifyKernel(withPart(kernel, { terms: result })),
    VerifyError,
    "reads buffer 2, which is no float that it only reads",
  );
});

Deno.test("a matmul kernel is rejected: an epilogue that uses what is not there", () => {
  const epilogue: Statement[] = [{
    kind: "store",
    buffer: 2,
    index: variable("i_z"),
    value: { kind: "var", type: "f32", name: "acc" },
  }];
  assertThrows(
    () => verifyKernel(withPart(matmul(), { epilogue })),
    VerifyError,
    "uses the undefined variable i_z",
  );
});

Deno.test("an attention kernel is rejected: an operand that leaves its buffer", () => {
  const q = g.input("q", "f32", [2, 3, 4]);
  const kernel = onlyKernel(lowered({ y: g.attention(q, q, q) }), "attention");
  assertThrows(
    () => verifyKernel({ ...kernel, k: { ...kernel.k, rowStride: 5 } }),
    VerifyError,
    `Kernel ${kernel.name} reads in0[0..25] of 24 elements`,
  );
  assertThrows(
    () => verifyKernel({ ...kernel, q: { ...kernel.q, batchStrides: [] } }),
    VerifyError,
    "whose strides do not match its axes",
  );
  assertThrows(
    () => verifyKernel({ ...kernel, out: { ...kernel.q } }),
    VerifyError,
    "writes buffer 0, which is no float that it only writes",
  );
});

Deno.test("an attention kernel is rejected: a norm that is none", () => {
  const form = {
    size: { batch: 1, heads: 2, queries: 3, keys: 3, depth: 4, valueDepth: 4 },
    layouts: ["heads", "heads", "heads", "heads"],
    offset: 0,
    scale: 1,
    queryNorm: { center: true, scale: true, bias: true },
    keyNorm: undefined,
  } as const;
  const forward = attentionKernel(form, "both");
  const { queryNorm } = forward;
  assert(queryNorm?.scale !== undefined);
  verifyKernel(forward);
  assertThrows(
    () => verifyKernel({ ...forward, queryNorm: { ...queryNorm, epsilon: NaN } }),
    VerifyError,
    "has a norm whose epsilon is NaN, which is negative or no number",
  );
  const long = { ...queryNorm.scale, columnStride: 3 };
  assertThrows(
    () => verifyKernel({ ...forward, queryNorm: { ...queryNorm, scale: long } }),
    VerifyError,
    "reads queryNorm_scale[1..10] of 8 elements",
  );
  const backward = attentionGradKernel(form, { q: true, k: true, v: true, norms: true });
  verifyKernel(backward);
  assertThrows(
    () => verifyKernel({ ...backward, queryNorm: undefined }),
    VerifyError,
    "has the gradient of no norm",
  );
  assertThrows(
    () => verifyKernel({ ...backward, queryNormGrad: backward.queryNorm }),
    VerifyError,
    "writes buffer 6, which is no float that it only writes",
  );
});

/** Two kernels, the second of which reads what the first writes. */
function twoSteps(): Program {
  const total = g.sum(g.tanh(g.input("a", "f32", [16, 16])), 0);
  return lowered({ y: g.add(g.reverse(total, 0), total) });
}

Deno.test("a program is accepted as it was made", () => {
  const program = twoSteps();
  assert(program.steps.length >= 2);
  verifyProgram(program, 64);
});

const change = (
  program: Program,
  at: number,
  edit: (buffer: Program["buffers"][number]) => object,
) =>
  program.buffers.map((buffer, position) =>
    position === at ? { ...buffer, ...edit(buffer) } : buffer
  );

Deno.test("a program is rejected: buffers out of line or out of the arena", () => {
  const program = twoSteps();
  assertThrows(
    () => verifyProgram({ ...program, buffers: change(program, 0, () => ({ offset: 4 })) }, 64),
    VerifyError,
    "is at 4, off 64 bytes",
  );
  const outside = change(program, 0, () => ({ offset: program.arenaBytes }));
  assertThrows(
    () => verifyProgram({ ...program, buffers: outside }, 64),
    VerifyError,
    "ends outside of the arena",
  );
});

Deno.test("a program is rejected: steps that bind too few, other or no buffers", () => {
  const program = twoSteps();
  const steps = (edit: (buffers: readonly number[]) => readonly number[]) =>
    program.steps.map((step, at) =>
      at > 0 ? step : {
        ...step,
        members: step.members.map((member) => ({ ...member, buffers: edit(member.buffers) })),
      }
    );
  const name = program.kernels[program.steps[0]?.kernel ?? -1]?.name;
  assertThrows(
    () => verifyProgram({ ...program, steps: steps((buffers) => buffers.slice(1)) }, 64),
    VerifyError,
    `Step 0, ${name}, binds`,
  );
  assertThrows(
    () => verifyProgram({ ...program, steps: steps((buffers) => buffers.map(() => 99)) }, 64),
    VerifyError,
    `Step 0, ${name}, has no fitting buffer`,
  );
  const nowhere = program.steps.map((step) => ({ ...step, kernel: 17 }));
  assertThrows(
    () => verifyProgram({ ...program, steps: nowhere }, 64),
    VerifyError,
    "Step 0 runs kernel 17",
  );
});

Deno.test("a program is rejected: a result over an operand, but for in place", () => {
  const program = twoSteps();
  const [from = -1, to = -1] = program.steps[0]?.members[0]?.buffers ?? [];
  const offset = Math.min(program.buffers[from]?.offset ?? 0, program.buffers[to]?.offset ?? 0);
  const together = program.buffers.map((buffer, at) =>
    at === from || at === to ? { ...buffer, offset } : buffer
  );
  assertThrows(() => verifyProgram({ ...program, buffers: together }, 64), VerifyError, "over");
});

Deno.test("a program is rejected: steps out of order read what nothing has written", () => {
  const program = twoSteps();
  assertThrows(
    () => verifyProgram({ ...program, steps: [...program.steps].reverse() }, 64),
    VerifyError,
    "but nothing has written",
  );
});

Deno.test("a program is rejected: memory that is reused while its value is wanted", () => {
  const a = g.input("a", "f32", [16]);
  const long = g.reverse(g.tanh(a), 0);
  const middle = g.sum(g.exp(g.input("b", "f32", [16, 16])), 0);
  const program = lowered({ y: g.add(g.mul(long, g.reverse(middle, 0)), g.tanh(a)), middle });
  verifyProgram(program, 64);
  const written = program.steps.flatMap((step) =>
    step.members.flatMap(({ buffers }) => buffers).filter((_, at) => {
      const bound = program.kernels[step.kernel]?.buffers[at];
      return bound?.access === "write";
    })
  );
  const [one, two] = written;
  assert(one !== undefined && two !== undefined);
  const offset = program.buffers[one]?.offset ?? -1;
  const merged = change(program, two, () => ({ offset }));
  assertThrows(() => verifyProgram({ ...program, buffers: merged }, 64), VerifyError);
});

Deno.test("a program is rejected: an output or an input that is gone in the end", () => {
  const program = twoSteps();
  const unwritten = { ...program, steps: program.steps.slice(0, -1) };
  assertThrows(
    () => verifyProgram(unwritten, 64),
    VerifyError,
    'Output "y" is not in its memory when the program ends',
  );
});

/** A program of one step with members of 40 and of 7 elements, whose first members are edited. */
function membersEdited(edit: (members: readonly StepMember[]) => readonly StepMember[]): Program {
  const program = groupedProgram([40, 7]);
  return {
    ...program,
    steps: program.steps.map((step) => ({ ...step, members: edit(step.members) })),
  };
}

Deno.test("a program is rejected: members whose sizes are missing or do not fit their buffers", () => {
  verifyProgram(groupedProgram([40, 7]), 64);
  const sized = (...sizes: readonly number[]) =>
    membersEdited((members) => members.map((member) => ({ ...member, sizes })));
  for (const program of [sized(40), sized(40, 1.5), sized(-1, 2)]) {
    assertThrows(() => verifyProgram(program, 64), VerifyError, "for [n, blocks]");
  }
  assertThrows(() => verifyProgram(sized(41, 2), 64), VerifyError, "no fitting buffer x");
  const none = membersEdited(() => []);
  assertThrows(() => verifyProgram(none, 64), VerifyError, "has 0 members");
});

Deno.test("a program is rejected: a member that writes what another reads or writes", () => {
  const twice = membersEdited((members) => [...members, ...members]);
  assertThrows(() => verifyProgram(twice, 64), VerifyError, "members 0 and 2 that write");
  const program = groupedProgram([40, 40]);
  const [first, second] = program.steps[0]?.members ?? [];
  assert(first !== undefined && second !== undefined);
  const [, s = -1, , sums = -1] = second.buffers;
  const crossed = {
    ...second,
    buffers: [first.buffers[2] ?? -1, s, second.buffers[2] ?? -1, sums],
  };
  const steps = program.steps.map((step) => ({ ...step, members: [first, crossed] }));
  assertThrows(
    () => verifyProgram({ ...program, steps }, 64),
    VerifyError,
    "what both touch: y and x",
  );
});

Deno.test("a program is rejected: several members of a template", () => {
  const program = lowered({
    y: g.matmul(g.input("a", "f32", [4, 4]), g.input("b", "f32", [4, 4])),
  });
  const steps = program.steps.map((step) => ({
    ...step,
    members: [...step.members, ...step.members],
  }));
  assertThrows(() => verifyProgram({ ...program, steps }, 64), VerifyError, "has 2 members");
});

Deno.test("a kernel is rejected: sizes that it does not have", () => {
  const kernel = sizedKernel();
  verifyKernel(kernel);
  const nameless = { ...kernel, sizes: ["n"] };
  assertThrows(() => verifyKernel(nameless), VerifyError, 'has no size "blocks"');
  const scratch = { name: "t", dtype: "f32", elements: "n", access: "scratch" } as const;
  const growing = { ...kernel, buffers: [...kernel.buffers, scratch] };
  assertThrows(() => verifyKernel(growing), VerifyError, "has scratch t");
});
