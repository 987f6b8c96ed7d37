// rows_cast_mul_1x6
//   cast
//   mul
//   cast
//   cast
//   cast

enable f16;

@group(0) @binding(0) var<storage, read_write> out_cast: array<f16, 6>;
@group(0) @binding(1) var<storage, read_write> in_x: array<f16, 6>;

fn from_f16(bits: u32) -> f32 {
  let size = bits & 0x7fffu;
  let sign = (bits & 0x8000u) << 16u;
  if (size < 0x0400u) { return bitcast<f32>(bitcast<u32>(f32(size) * 5.9604645e-8) | sign); }
  let exponent = select(0x38000000u, 0x70000000u, size >= 0x7c00u);
  return bitcast<f32>(((size << 13u) + exponent) | sign);
}
fn to_f16(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  let size = bits & 0x7fffffffu;
  let sign = (bits >> 16u) & 0x8000u;
  if (size > 0x7f800000u) { return sign | 0x7e00u; }
  if (size < 0x38800000u) { return sign | u32(round(bitcast<f32>(size) * 16777216.0)); }
  let rounded = (size + 0x0fffu + ((size >> 13u) & 1u)) >> 13u;
  return sign | min(rounded - 0x1c000u, 0x7c00u);
}
fn round_to_f16(x: f32) -> f32 { return from_f16(to_f16(x)); }

@compute @workgroup_size(64, 1)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let item = i32(group.x * 64u + local.x);
  if (item >= 6) { return; }
  let block = item / 6;
  let u = block;
  let c = item % 6;
  out_cast[c] = f16(round_to_f16((f32(in_x[c]) * 3.0)));
}
