// rows_sum_max_7x200
//   sum
//   max

enable subgroups;

@group(0) @binding(0) var<storage, read_write> in_x: array<f32, 1400>;
@group(0) @binding(1) var<storage, read_write> out_sum: array<f32, 7>;
@group(0) @binding(2) var<storage, read_write> out_max: array<f32, 7>;
var<workgroup> shared_f32: array<f32, 64>;

var<private> infinity_bits: u32 = 0x7f800000u;
fn infinity_f32() -> f32 { return bitcast<f32>(infinity_bits); }
fn is_nan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }
fn max_f32(a: f32, b: f32) -> f32 {
  return select(select(max(a, b), b, is_nan(b)), a, is_nan(a));
}

@compute @workgroup_size(64, 1)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
  @builtin(subgroup_size) subgroup_size: u32,
  @builtin(subgroup_invocation_id) subgroup_lane: u32,
) {
  let lane = local.x;
  let item = i32(group.x);
  let r = item;
  var acc0: f32 = 0.0;
  var acc1: f32 = -infinity_f32();
  for (var c = i32(lane); c < 200; c += 64) {
    let in_x_value = in_x[((r * 200) + c)];
    acc0 = acc0 + in_x_value;
    acc1 = max_f32(acc1, in_x_value);
  }
  acc0 = subgroupAdd(acc0);
  if (subgroup_lane == 0u) {
    shared_f32[lane / subgroup_size] = acc0;
  }
  workgroupBarrier();
  acc0 = shared_f32[0u];
  for (var part = 1u; part * subgroup_size < 64u; part++) {
    acc0 += shared_f32[part];
  }
  workgroupBarrier();
  shared_f32[lane] = acc1;
  workgroupBarrier();
  for (var half = 32u; half > 0u; half >>= 1u) {
    if (lane < half) {
      shared_f32[lane] = max_f32(shared_f32[lane], shared_f32[lane + half]);
    }
    workgroupBarrier();
  }
  acc1 = shared_f32[0u];
  workgroupBarrier();
  if (lane == 0u) {
    out_sum[r] = acc0;
  }
  if (lane == 0u) {
    out_max[r] = acc1;
  }
}
