/** Run by a test: makes a program on two threads, runs it, and forgets to dispose it. */
import { WasmExecutable } from "../../backends/wasm/runtime.ts";
import { emitUnits, mirrorBody, mirrorProgram } from "./hand_made_programs.ts";

const emit = emitUnits({ mirror: mirrorBody(8) });
const options = { threads: 2, emit, description: "test" };
const executable = await WasmExecutable.load(mirrorProgram(8, 3), options);
await executable.run();
console.log("ran");
