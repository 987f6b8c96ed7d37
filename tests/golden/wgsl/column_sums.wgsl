// columns_sum_sum500x48
//   sum

@group(0) @binding(0) var<storage, read_write> in_x: array<f32, 24000>;
@group(0) @binding(1) var<storage, read_write> out_sum: array<f32, 48>;
var<workgroup> shared_f32: array<f32, 256>;


@compute @workgroup_size(16, 16)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let column = local.x;
  let lane = local.y;
  let item = i32(group.x * 16u + local.x);
  let block = item / 16;
  let u = block;
  let v = u;
  let i1 = (v * 16) + item % 16;
  var acc0: f32 = 0.0;
  for (var k0 = i32(lane); k0 < 500; k0 += 16) {
    acc0 = acc0 + in_x[((k0 * 48) + i1)];
  }
  shared_f32[(lane) * 16u + column] = acc0;
  workgroupBarrier();
  for (var half = 8u; half > 0u; half >>= 1u) {
    if (lane < half) {
      shared_f32[(lane) * 16u + column] = shared_f32[(lane) * 16u + column] + shared_f32[(lane + half) * 16u + column];
    }
    workgroupBarrier();
  }
  acc0 = shared_f32[(0u) * 16u + column];
  workgroupBarrier();
  if (lane == 0u) {
    out_sum[i1] = acc0;
  }
}
