/** Names of buffers in shaders that are to be read. */
import { nameBuffers } from "../../backends/webgpu/wgsl/buffer_names.ts";
import { assertEquals } from "../support/assert.ts";

const SHADER = `
@group(0) @binding(0) var<storage, read_write> in0: array<vec4<f32>, 4>;
@group(0) @binding(1) var<storage, read_write> out1_out2: array<f32, 8>;
fn main() {
  let in0_four = in0[group.x];
  let k0 = in0_four[0];
  out1_out2[k0] = in0_four.x;
}
`;

function renamed(values: Record<string, string>): string {
  return nameBuffers(
    SHADER,
    Object.entries(values).map(([buffer, value]) => ({ buffer, value })),
  );
}

function replaced(names: Record<string, string>): string {
  return Object.entries(names).reduce((text, [from, to]) => text.replaceAll(from, to), SHADER);
}

Deno.test("buffer names: what a buffer holds, by the last two parts of its path", () => {
  assertEquals(
    renamed({ in0: "parameters/patch/kernel", out1: "gelu", out2: "loss" }),
    replaced({ in0: "in_patch_kernel", out1: "out_gelu", out2: "out_loss" }),
  );
});

Deno.test("buffer names: several that hold the like are told apart", () => {
  assertEquals(
    renamed({ in0: "add", out1: "add", out2: "add" }),
    replaced({ in0: "in_add", out1: "out_add", out2: "out_add_1" }),
  );
});

Deno.test("buffer names: signs and other alphabets become what WGSL can read", () => {
  assertEquals(
    renamed({ in0: "my-model/größe 2", out1: "+", out2: "данные" }),
    replaced({ in0: "in_my_model_gr_e_2" }),
  );
});

Deno.test("buffer names: kept as they were where a new one could be taken for another", () => {
  // in0_four would be called what the other buffer is.
  const shader = "in0 in0_four in1";
  const held = [{ buffer: "in0", value: "a" }, { buffer: "in1", value: "a_four" }];
  assertEquals(nameBuffers(shader, held), shader);
});
