/** The table of ops through the scheduler, with loop IR interpreted: judges the compiler alone. */
import { lowerGraph } from "../../compiler/pipeline.ts";
import { conformanceCases, errorAgainst } from "../support/conformance.ts";
import { InterpretedProgram } from "../support/interpret_program.ts";

Deno.test("every op, lowered and interpreted, forward and gradient", async (test) => {
  for (const one of conformanceCases()) {
    await test.step(one.name, () => {
      const program = lowerGraph(one, { target: { alignment: 64 }, bind: one.bindings });
      const interpreted = new InterpretedProgram(program);
      for (const [path, value] of one.values) interpreted.write(path, value.data);
      interpreted.run();
      for (const [path, wanted] of one.expected) {
        const error = errorAgainst(interpreted.read(path), wanted.data);
        if (error <= one.tolerance) continue;
        throw new Error(`Output "${path}" is off by ${error}, allowed is ${one.tolerance}`);
      }
    });
  }
});
