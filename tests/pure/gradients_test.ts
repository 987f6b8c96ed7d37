import { checkGradients } from "../support/gradients.ts";
import { OP_CASES } from "../support/op_cases.ts";

for (const opCase of OP_CASES) {
  if (!opCase.differentiable) continue;
  Deno.test(`gradient by finite differences: ${opCase.name}`, () => checkGradients(opCase));
}
