// rows_max_sub_exp_sum_2more_7x200
//   max
//   sub
//   exp
//   sum
//   reciprocal
//   mul

@group(0) @binding(0) var<storage, read_write> in0: array<f32, 1400>;
@group(0) @binding(1) var<storage, read_write> out1: array<f32, 1400>;
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
  for (var c = i32(lane); c < 200; c += 64) {
    acc0 = max_f32(acc0, in0[((r * 200) + c)]);
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
  for (var c_1 = i32(lane); c_1 < 200; c_1 += 64) {
    acc1 = acc1 + exp_f32((in0[((r * 200) + c_1)] - acc0));
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
  for (var c_2 = i32(lane); c_2 < 200; c_2 += 64) {
    let add_value = ((r * 200) + c_2);
    out1[add_value] = (exp_f32((in0[add_value] - acc0)) * (1.0 / acc1));
  }
}
