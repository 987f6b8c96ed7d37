// rows_cast_1x6
//   cast
//   cast

@group(0) @binding(0) var<storage, read_write> out_cast: array<atomic<u32>, 3>;
@group(0) @binding(1) var<storage, read_write> in_x: array<u32, 3>;

fn from_f16(bits: u32) -> f32 {
  let size = bits & 0x7fffu;
  let sign = (bits & 0x8000u) << 16u;
  if (size < 0x0400u) { return bitcast<f32>(bitcast<u32>(f32(size) * 5.9604645e-8) | sign); }
  let exponent = select(0x38000000u, 0x70000000u, size >= 0x7c00u);
  return bitcast<f32>(((size << 13u) + exponent) | sign);
}
fn from_bf16(bits: u32) -> f32 { return bitcast<f32>(bits << 16u); }
fn to_bf16(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) { return (bits >> 16u) | 0x0040u; }
  return (bits + 0x7fffu + ((bits >> 16u) & 1u)) >> 16u;
}
fn round_to_bf16(x: f32) -> f32 { return from_bf16(to_bf16(x)); }

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
  atomicAnd(&out_cast[(c) >> 1u], ~(0xffffu << ((u32(c) & 1u) * 16u)));
  atomicOr(&out_cast[(c) >> 1u], to_bf16(round_to_bf16(from_f16((in_x[(c) >> 1u] >> ((u32(c) & 1u) * 16u)) & 0xffffu))) << ((u32(c) & 1u) * 16u));
}
