/** Writes the works' models. */
import type { ForwardWork, MatmulWork } from "../works.ts";
import { encodeModel } from "./encode.ts";
import { matmulModel, vitModel } from "./graphs.ts";
import { modelPath } from "./model_file.ts";

/**
 * Writes the work as an ONNX model.
 *
 * @returns Its path.
 */
export async function writeModel(work: MatmulWork | ForwardWork, folder: string): Promise<string> {
  const path = modelPath(folder, work.name);
  const model = work.suite === "matmul" ? matmulModel(work) : vitModel(work);
  await Deno.writeFile(path, encodeModel(model));
  return path;
}
