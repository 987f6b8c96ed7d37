// rows_max_sub_exp_sum_2more_7x200
//   max
//   sub
//   exp
//   sum
//   reciprocal
//   mul

@group(0) @binding(0) var<storage, read_write> in_x: array<f32, 1400>;
@group(0) @binding(1) var<storage, read_write> out_mul: array<f32, 1400>;
var<workgroup> shared_f32: array<f32, 64>;

var<private> infinity_bits: u32 = 0x7f800000u;
fn infinity_f32() -> f32 { return bitcast<f32>(infinity_bits); }
fn is_nan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }
fn max_f32(a: f32, b: f32) -> f32 {
  return select(select(max(a, b), b, is_nan(b)), a, is_nan(a));
}
// exp(r) - 1 and 2^n for an exponent of 2 n ln2 + r.
struct ReducedExponent { rest: f32, power: f32 }
fn reduce_exponent(x: f32) -> ReducedExponent {
  let n = round(x * 0.721347511);
  let r = (x - n * 1.38671875) - n * (-0.000424388883);
  let rest = r * r * (((((0.000196118533 * r + 0.00141042634) * r + 0.00833609793) * r + 0.0416612774) * r + 0.16666615) * r + 0.500000358) + r;
  return ReducedExponent(rest, bitcast<f32>((i32(n) + 127) << 23u));
}
fn exp_f32(x: f32) -> f32 {
  let reduced = reduce_exponent(clamp(x, -104.0, 89.0));
  let value = (reduced.rest + 1.0) * reduced.power * reduced.power;
  return select(value, x, is_nan(x));
}

@compute @workgroup_size(64, 1)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let lane = local.x;
  let item = i32(group.x);
  let r = item;
  var acc0: f32 = -infinity_f32();
  let column_0 = i32(lane);
  let mul_value = (r * 200);
  let add_value = (mul_value + column_0);
  let in_x_value = in_x[add_value];
  acc0 = max_f32(acc0, in_x_value);
  let column_64 = i32(lane) + 64;
  let add_value_1 = (mul_value + column_64);
  let in_x_value_1 = in_x[add_value_1];
  acc0 = max_f32(acc0, in_x_value_1);
  let column_128 = i32(lane) + 128;
  let add_value_2 = (mul_value + column_128);
  let in_x_value_2 = in_x[add_value_2];
  acc0 = max_f32(acc0, in_x_value_2);
  let column_192 = i32(lane) + 192;
  if (column_192 < 200) {
    let add_value_3 = (mul_value + column_192);
    let in_x_value_3 = in_x[add_value_3];
    acc0 = max_f32(acc0, in_x_value_3);
  }
  shared_f32[lane] = acc0;
  workgroupBarrier();
  for (var half = 32u; half > 0u; half >>= 1u) {
    if (lane < half) {
      shared_f32[lane] = max_f32(shared_f32[lane], shared_f32[lane + half]);
    }
    workgroupBarrier();
  }
  acc0 = shared_f32[0u];
  workgroupBarrier();
  var acc1: f32 = 0.0;
  let exp_value = exp_f32((in_x_value - acc0));
  acc1 = acc1 + exp_value;
  let exp_value_1 = exp_f32((in_x_value_1 - acc0));
  acc1 = acc1 + exp_value_1;
  let exp_value_2 = exp_f32((in_x_value_2 - acc0));
  acc1 = acc1 + exp_value_2;
  if (column_192 < 200) {
    let add_value_4 = (mul_value + column_192);
    let in_x_value_4 = in_x[add_value_4];
    let exp_value_3 = exp_f32((in_x_value_4 - acc0));
    acc1 = acc1 + exp_value_3;
  }
  shared_f32[lane] = acc1;
  workgroupBarrier();
  for (var half = 32u; half > 0u; half >>= 1u) {
    if (lane < half) {
      shared_f32[lane] = shared_f32[lane] + shared_f32[lane + half];
    }
    workgroupBarrier();
  }
  acc1 = shared_f32[0u];
  workgroupBarrier();
  let reciprocal_value = (1.0 / acc1);
  out_mul[add_value] = (exp_value * reciprocal_value);
  out_mul[add_value_1] = (exp_value_1 * reciprocal_value);
  out_mul[add_value_2] = (exp_value_2 * reciprocal_value);
  if (column_192 < 200) {
    let add_value_5 = (mul_value + column_192);
    let in_x_value_5 = in_x[add_value_5];
    let exp_value_4 = exp_f32((in_x_value_5 - acc0));
    out_mul[add_value_5] = (exp_value_4 * reciprocal_value);
  }
}
