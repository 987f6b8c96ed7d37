// matmul_contract_1x8x8x16
//   contract

enable f16;

@group(0) @binding(0) var<storage, read_write> in_x: array<vec4<f16>, 32>;
@group(0) @binding(1) var<storage, read_write> in_w: array<vec2<u32>, 32>;
@group(0) @binding(2) var<storage, read_write> out_contract: array<vec4<f32>, 16>;

fn finish_0(batch: i32, row: i32, first_column: i32, sums: vec4<f32>) {
  if (row >= 8 || first_column >= 8) { return; }
  let i_a = row;
  let i_c = first_column;
  let out_contract_four_place = ((i_a * 8) + i_c);
  var out_contract_four: vec4<f32>;
  for (var at = 0; at < 4; at++) {
    let result_column = first_column + at;
    let i_c_1 = result_column;
    let acc = sums[at];
    out_contract_four[at] = acc;
  }
  out_contract[(out_contract_four_place) >> 2u] = out_contract_four;
}

// 8 x 8 results, each a sum of 16.
fn part_0(tile: i32, invocation: i32) {
  let batch = 0;
  let first_row = 0;
  let first_column = 0;
  let own_column = (invocation % 8) * 4;
  let own_row = (invocation / 8 % 8) * 4;
  if (first_row + own_row >= 8 || first_column + own_column >= 8) { return; }
  var sum_0_0 = vec4<f32>();
  var sum_1_0 = vec4<f32>();
  var sum_2_0 = vec4<f32>();
  var sum_3_0 = vec4<f32>();
  {
    let a_at_0_place = min(first_row + own_row, 7);
    let a_at_0 = a_at_0_place * 16;
    let a_at_1_place = min(first_row + own_row + 1, 7);
    let a_at_1 = a_at_1_place * 16;
    let a_at_2_place = min(first_row + own_row + 2, 7);
    let a_at_2 = a_at_2_place * 16;
    let a_at_3_place = min(first_row + own_row + 3, 7);
    let a_at_3 = a_at_3_place * 16;
    let b_at_0_place = min(first_column + own_column, 4);
    let b_at_0 = b_at_0_place;
    for (var k = 0; k < 16; k += 4) {
      let a_own_0 = vec4<f32>(in_x[(a_at_0 + k) >> 2u]);
      let a_own_1 = vec4<f32>(in_x[(a_at_1 + k) >> 2u]);
      let a_own_2 = vec4<f32>(in_x[(a_at_2 + k) >> 2u]);
      let a_own_3 = vec4<f32>(in_x[(a_at_3 + k) >> 2u]);
      let b_own_0_0 = four_from_bf16(in_w[(b_at_0 + k * 8) >> 2u]);
      let b_own_0_1 = four_from_bf16(in_w[(b_at_0 + k * 8 + 8) >> 2u]);
      let b_own_0_2 = four_from_bf16(in_w[(b_at_0 + k * 8 + 16) >> 2u]);
      let b_own_0_3 = four_from_bf16(in_w[(b_at_0 + k * 8 + 24) >> 2u]);
      sum_0_0 = fma(vec4<f32>(a_own_0.x), b_own_0_0, sum_0_0);
      sum_1_0 = fma(vec4<f32>(a_own_1.x), b_own_0_0, sum_1_0);
      sum_2_0 = fma(vec4<f32>(a_own_2.x), b_own_0_0, sum_2_0);
      sum_3_0 = fma(vec4<f32>(a_own_3.x), b_own_0_0, sum_3_0);
      sum_0_0 = fma(vec4<f32>(a_own_0.y), b_own_0_1, sum_0_0);
      sum_1_0 = fma(vec4<f32>(a_own_1.y), b_own_0_1, sum_1_0);
      sum_2_0 = fma(vec4<f32>(a_own_2.y), b_own_0_1, sum_2_0);
      sum_3_0 = fma(vec4<f32>(a_own_3.y), b_own_0_1, sum_3_0);
      sum_0_0 = fma(vec4<f32>(a_own_0.z), b_own_0_2, sum_0_0);
      sum_1_0 = fma(vec4<f32>(a_own_1.z), b_own_0_2, sum_1_0);
      sum_2_0 = fma(vec4<f32>(a_own_2.z), b_own_0_2, sum_2_0);
      sum_3_0 = fma(vec4<f32>(a_own_3.z), b_own_0_2, sum_3_0);
      sum_0_0 = fma(vec4<f32>(a_own_0.w), b_own_0_3, sum_0_0);
      sum_1_0 = fma(vec4<f32>(a_own_1.w), b_own_0_3, sum_1_0);
      sum_2_0 = fma(vec4<f32>(a_own_2.w), b_own_0_3, sum_2_0);
      sum_3_0 = fma(vec4<f32>(a_own_3.w), b_own_0_3, sum_3_0);
    }
  }
  finish_0(batch, first_row + own_row, first_column + own_column, sum_0_0);
  finish_0(batch, first_row + own_row + 1, first_column + own_column, sum_1_0);
  finish_0(batch, first_row + own_row + 2, first_column + own_column, sum_2_0);
  finish_0(batch, first_row + own_row + 3, first_column + own_column, sum_3_0);
}

fn from_bf16(bits: u32) -> f32 { return bitcast<f32>(bits << 16u); }
fn four_from_bf16(words: vec2<u32>) -> vec4<f32> {
  return vec4<f32>(
    from_bf16(words.x & 0xffffu),
    from_bf16(words.x >> 16u),
    from_bf16(words.y & 0xffffu),
    from_bf16(words.y >> 16u),
  );
}

@compute @workgroup_size(64, 1)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let tile = i32(group.x);
  let invocation = i32(local.x);
  if (tile < 1) {
    part_0(tile, invocation);
  }
}
