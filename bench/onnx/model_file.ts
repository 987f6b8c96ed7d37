/** Where a work's model is, for the systems that read ONNX. */
import { join } from "node:path";

/** The model's path in the run's folder. */
export function modelPath(folder: string, work: string): string {
  return join(folder, `${work.replaceAll(" ", "_")}.onnx`);
}
