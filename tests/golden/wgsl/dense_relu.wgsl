// matmul_contract_add_max_1x4x10x6
//   contract
//   add
//   max

@group(0) @binding(0) var<storage, read_write> in0: array<f32, 24>;
@group(0) @binding(1) var<storage, read_write> in1: array<f32, 60>;
@group(0) @binding(2) var<storage, read_write> out2: array<f32, 40>;
@group(0) @binding(3) var<storage, read_write> in3: array<f32, 10>;
var<workgroup> left_tile: array<vec4<f32>, 128>;
var<workgroup> right_tile: array<vec4<f32>, 128>;

fn is_nan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }
fn max_f32(a: f32, b: f32) -> f32 {
  return select(select(max(a, b), b, is_nan(b)), a, is_nan(a));
}
fn store_part0(batch: i32, row: i32, column: i32, acc: f32) {
  let i_a = row;
  let i_c = column;
  out2[((i_a * 10) + i_c)] = max_f32((acc + in3[i_c]), 0.0);
}

@compute @workgroup_size(8, 8)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let tile_number = i32(group.x);
  let thread = i32(local.y * 8u + local.x);
  if (tile_number >= 0 && tile_number < 1) {
    let batch = tile_number / 1;
    let first_row = ((tile_number / 1) % 1) * 32;
    let first_column = (tile_number % 1) * 32;
    var sum0 = vec4<f32>();
    var sum1 = vec4<f32>();
    var sum2 = vec4<f32>();
    var sum3 = vec4<f32>();
     {
      let left_base = 0;
      let left_slot0 = thread;
      let left_vector0 = left_slot0 / 16;
      let left_k0 = left_slot0 % 16;
      let left_place0_0 = first_row + left_vector0 * 4;
      let left_from0_0 = left_base + left_place0_0 * 6;
      let left_inside0_0 = left_place0_0 < 4;
      let left_place0_1 = first_row + left_vector0 * 4 + 1;
      let left_from0_1 = left_base + left_place0_1 * 6;
      let left_inside0_1 = left_place0_1 < 4;
      let left_place0_2 = first_row + left_vector0 * 4 + 2;
      let left_from0_2 = left_base + left_place0_2 * 6;
      let left_inside0_2 = left_place0_2 < 4;
      let left_place0_3 = first_row + left_vector0 * 4 + 3;
      let left_from0_3 = left_base + left_place0_3 * 6;
      let left_inside0_3 = left_place0_3 < 4;
      let left_slot1 = thread + 64;
      let left_vector1 = left_slot1 / 16;
      let left_k1 = left_slot1 % 16;
      let left_place1_0 = first_row + left_vector1 * 4;
      let left_from1_0 = left_base + left_place1_0 * 6;
      let left_inside1_0 = left_place1_0 < 4;
      let left_place1_1 = first_row + left_vector1 * 4 + 1;
      let left_from1_1 = left_base + left_place1_1 * 6;
      let left_inside1_1 = left_place1_1 < 4;
      let left_place1_2 = first_row + left_vector1 * 4 + 2;
      let left_from1_2 = left_base + left_place1_2 * 6;
      let left_inside1_2 = left_place1_2 < 4;
      let left_place1_3 = first_row + left_vector1 * 4 + 3;
      let left_from1_3 = left_base + left_place1_3 * 6;
      let left_inside1_3 = left_place1_3 < 4;
      let right_base = 0;
      let right_slot0 = thread;
      let right_vector0 = right_slot0 % 8;
      let right_k0 = right_slot0 / 8;
      let right_place0_0 = first_column + right_vector0 * 4;
      let right_from0_0 = right_base + right_place0_0;
      let right_inside0_0 = right_place0_0 < 10;
      let right_place0_1 = first_column + right_vector0 * 4 + 1;
      let right_from0_1 = right_base + right_place0_1;
      let right_inside0_1 = right_place0_1 < 10;
      let right_place0_2 = first_column + right_vector0 * 4 + 2;
      let right_from0_2 = right_base + right_place0_2;
      let right_inside0_2 = right_place0_2 < 10;
      let right_place0_3 = first_column + right_vector0 * 4 + 3;
      let right_from0_3 = right_base + right_place0_3;
      let right_inside0_3 = right_place0_3 < 10;
      let right_slot1 = thread + 64;
      let right_vector1 = right_slot1 % 8;
      let right_k1 = right_slot1 / 8;
      let right_place1_0 = first_column + right_vector1 * 4;
      let right_from1_0 = right_base + right_place1_0;
      let right_inside1_0 = right_place1_0 < 10;
      let right_place1_1 = first_column + right_vector1 * 4 + 1;
      let right_from1_1 = right_base + right_place1_1;
      let right_inside1_1 = right_place1_1 < 10;
      let right_place1_2 = first_column + right_vector1 * 4 + 2;
      let right_from1_2 = right_base + right_place1_2;
      let right_inside1_2 = right_place1_2 < 10;
      let right_place1_3 = first_column + right_vector1 * 4 + 3;
      let right_from1_3 = right_base + right_place1_3;
      let right_inside1_3 = right_place1_3 < 10;
      for (var first_k = 0; first_k < 6; first_k += 16) {
         {
          let k = first_k + left_k0;
          let along_k = k;
          var loaded = vec4<f32>();
          if (left_inside0_0 && k < 6) { loaded.x = in0[left_from0_0 + along_k]; }
          if (left_inside0_1 && k < 6) { loaded.y = in0[left_from0_1 + along_k]; }
          if (left_inside0_2 && k < 6) { loaded.z = in0[left_from0_2 + along_k]; }
          if (left_inside0_3 && k < 6) { loaded.w = in0[left_from0_3 + along_k]; }
          left_tile[left_k0 * 8 + left_vector0] = loaded;
        }
         {
          let k = first_k + left_k1;
          let along_k = k;
          var loaded = vec4<f32>();
          if (left_inside1_0 && k < 6) { loaded.x = in0[left_from1_0 + along_k]; }
          if (left_inside1_1 && k < 6) { loaded.y = in0[left_from1_1 + along_k]; }
          if (left_inside1_2 && k < 6) { loaded.z = in0[left_from1_2 + along_k]; }
          if (left_inside1_3 && k < 6) { loaded.w = in0[left_from1_3 + along_k]; }
          left_tile[left_k1 * 8 + left_vector1] = loaded;
        }
         {
          let k = first_k + right_k0;
          let along_k = k * 10;
          var loaded = vec4<f32>();
          if (right_inside0_0 && k < 6) { loaded.x = in1[right_from0_0 + along_k]; }
          if (right_inside0_1 && k < 6) { loaded.y = in1[right_from0_1 + along_k]; }
          if (right_inside0_2 && k < 6) { loaded.z = in1[right_from0_2 + along_k]; }
          if (right_inside0_3 && k < 6) { loaded.w = in1[right_from0_3 + along_k]; }
          right_tile[right_k0 * 8 + right_vector0] = loaded;
        }
         {
          let k = first_k + right_k1;
          let along_k = k * 10;
          var loaded = vec4<f32>();
          if (right_inside1_0 && k < 6) { loaded.x = in1[right_from1_0 + along_k]; }
          if (right_inside1_1 && k < 6) { loaded.y = in1[right_from1_1 + along_k]; }
          if (right_inside1_2 && k < 6) { loaded.z = in1[right_from1_2 + along_k]; }
          if (right_inside1_3 && k < 6) { loaded.w = in1[right_from1_3 + along_k]; }
          right_tile[right_k1 * 8 + right_vector1] = loaded;
        }
        workgroupBarrier();
        for (var k = 0; k < 6; k++) {
          let left0 = left_tile[k * 8 + i32(local.y)];
          let right0 = right_tile[k * 8 + i32(local.x)];
          sum0 += left0.x * right0;
          sum1 += left0.y * right0;
          sum2 += left0.z * right0;
          sum3 += left0.w * right0;
        }
        workgroupBarrier();
      }
    }
    let own_row = first_row + i32(local.y) * 4;
    let own_column = first_column + i32(local.x) * 4;
    var sums = array<vec4<f32>, 4>(sum0, sum1, sum2, sum3);
    for (var at = 0; at < 16; at++) {
      let row = own_row + at / 4;
      let column = own_column + at % 4;
      if (row < 4 && column < 10) {
        store_part0(batch, row, column, sums[at / 4][at % 4]);
      }
    }
  }
}
