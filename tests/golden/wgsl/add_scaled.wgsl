// rows_mul_add_1x15
//   mul
//   add

@group(0) @binding(0) var<storage, read_write> out_add: array<f32, 15>;
@group(0) @binding(1) var<storage, read_write> in_x: array<f32, 15>;


@compute @workgroup_size(64, 1)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let item = i32(group.x * 64u + local.x);
  if (item >= 15) { return; }
  let block = item / 15;
  let u = block;
  let c = item % 15;
  out_add[c] = ((in_x[c] * 2.0) + 1.0);
}
