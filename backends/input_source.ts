/** Inputs that come piece by piece: from a file or the network, straight into a program. */
import { formatShape, staticSize } from "../graph/shape.ts";
import { isHalf } from "../graph/dtype.ts";
import { InputError } from "./errors.ts";
import { type HostData, type HostInputDataOf, type HostPort, toHostPiece } from "./host_array.ts";
import { quoted } from "./host_tree.ts";
import { suggestion } from "./nearest_name.ts";

/** Some elements of an input, those that follow the ones that came before. */
export interface InputPiece {
  readonly path: string;
  readonly data: HostInputDataOf[keyof HostInputDataOf];
}

/** Inputs whose elements come in pieces, so that they never lie in memory as a whole. */
export interface InputSource {
  /** Which inputs will come, all of them whole. It is checked before the first piece is asked for. */
  readonly tensors: Iterable<HostPort>;
  /**
   * The elements, of each input from its first to its last. A piece is copied before the next one is
   * asked for, and may then be overwritten.
   */
  pieces(): Iterable<InputPiece> | AsyncIterable<InputPiece>;
}

/**
 * The inputs that a source gives.
 *
 * @throws {InputError} When one is unknown, is named twice, or has another shape or element type.
 */
export function sourcePorts(
  source: InputSource,
  ports: ReadonlyMap<string, HostPort>,
): ReadonlyMap<string, HostPort> {
  const found = new Map<string, HostPort>();
  for (const { path, dtype, shape } of source.tensors) {
    const port = ports.get(path);
    if (port === undefined) {
      throw new InputError(`There is no input "${path}"${suggestion(path, ports.keys())}`);
    }
    if (found.has(path)) throw new InputError(`The source names input "${path}" twice`);
    const rounds = dtype === "f32" && isHalf(port.dtype);
    const wanted = formatShape(port.shape);
    if ((dtype !== port.dtype && !rounds) || formatShape(shape) !== wanted) {
      throw new InputError(
        `Input "${path}" is ${port.dtype}${wanted}, but the source's is ${dtype}` +
          formatShape(shape),
      );
    }
    found.set(path, port);
  }
  return found;
}

/**
 * Writes all pieces of a source.
 *
 * @param ports What {@linkcode sourcePorts} gave.
 * @throws {InputError} When a piece is not what its input wants, or an input comes in part.
 */
export async function writePieces(
  source: InputSource,
  ports: ReadonlyMap<string, HostPort>,
  checkNaN: boolean,
  write: (path: string, elements: { readonly data: HostData }, start: number) => void,
): Promise<void> {
  const filled = new Map<string, number>();
  for await (const { path, data } of source.pieces()) {
    const port = ports.get(path);
    if (port === undefined) {
      throw new InputError(`The source gave "${path}": wanted ${quoted([...ports.keys()])}`);
    }
    const start = filled.get(path) ?? 0;
    const piece = toHostPiece(port, data, start, checkNaN);
    write(path, { data: piece }, start);
    filled.set(path, start + piece.length);
  }
  for (const [path, { shape }] of ports) {
    const [found, wanted] = [filled.get(path) ?? 0, staticSize(shape)];
    if (found < wanted) {
      throw new InputError(`The source gave ${found} elements of "${path}", wanted ${wanted}`);
    }
  }
}
