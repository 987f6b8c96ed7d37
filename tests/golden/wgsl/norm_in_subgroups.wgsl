// rows_sum_div_sub_mul_2more_259x80
//   sum
//   div
//   sub
//   mul
//   sum
//   div
//   add
//   rsqrt
//   mul

@group(0) @binding(0) var<storage, read_write> in_x: array<f32, 20720>;
@group(0) @binding(1) var<storage, read_write> out_mul: array<f32, 20720>;


@compute @workgroup_size(128, 1)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
  @builtin(subgroup_size) subgroup_size: u32,
  @builtin(subgroup_invocation_id) subgroup_lane: u32,
) {
  let lane = local.x % 32u;
  let item = i32(group.x * 4u + local.x / 32u);
  var active_item = item < 259;
  let r = min(item, 258);
  var acc0: f32 = 0.0;
  let column_0 = i32(lane);
  let mul_value = (r * 80);
  let add_value = (mul_value + column_0);
  let in_x_value = in_x[add_value];
  acc0 = acc0 + in_x_value;
  let column_32 = i32(lane) + 32;
  let add_value_1 = (mul_value + column_32);
  let in_x_value_1 = in_x[add_value_1];
  acc0 = acc0 + in_x_value_1;
  let column_64 = i32(lane) + 64;
  if (column_64 < 80) {
    let add_value_2 = (mul_value + column_64);
    let in_x_value_2 = in_x[add_value_2];
    acc0 = acc0 + in_x_value_2;
  }
  acc0 = subgroupAdd(acc0);
  var acc1: f32 = 0.0;
  let div_value = (acc0 / 80.0);
  let sub_value = (in_x_value - div_value);
  acc1 = acc1 + (sub_value * sub_value);
  let sub_value_1 = (in_x_value_1 - div_value);
  acc1 = acc1 + (sub_value_1 * sub_value_1);
  if (column_64 < 80) {
    let add_value_3 = (mul_value + column_64);
    let in_x_value_3 = in_x[add_value_3];
    let sub_value_2 = (in_x_value_3 - div_value);
    acc1 = acc1 + (sub_value_2 * sub_value_2);
  }
  acc1 = subgroupAdd(acc1);
  let rsqrt_value = (1.0 / sqrt(((acc1 / 80.0) + 9.99999997e-7)));
  if (active_item) {
    out_mul[add_value] = (sub_value * rsqrt_value);
  }
  if (active_item) {
    out_mul[add_value_1] = (sub_value_1 * rsqrt_value);
  }
  if (column_64 < 80) {
    let add_value_4 = (mul_value + column_64);
    let in_x_value_4 = in_x[add_value_4];
    let sub_value_3 = (in_x_value_4 - div_value);
    if (active_item) {
      out_mul[add_value_4] = (sub_value_3 * rsqrt_value);
    }
  }
}
