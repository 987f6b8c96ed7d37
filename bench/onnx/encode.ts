/** ONNX models as bytes, written by protobufjs from the part of the format's schema that they take. */
import protobuf from "protobufjs";
import type { OnnxModel } from "./model.ts";

const int64 = (id: number) => ({ type: "int64", id });
const string = (id: number) => ({ type: "string", id });
const many = (field: { readonly type: string; readonly id: number }) => ({
  ...field,
  rule: "repeated",
});

/** Field numbers as in the format's `onnx.proto`; fields that no graph here has are left out. */
const SCHEMA: protobuf.INamespace = {
  nested: {
    ModelProto: {
      fields: {
        irVersion: int64(1),
        producerName: string(2),
        graph: { type: "GraphProto", id: 7 },
        opsetImport: many({ type: "OperatorSetIdProto", id: 8 }),
      },
    },
    OperatorSetIdProto: { fields: { domain: string(1), version: int64(2) } },
    GraphProto: {
      fields: {
        node: many({ type: "NodeProto", id: 1 }),
        name: string(2),
        initializer: many({ type: "TensorProto", id: 5 }),
        input: many({ type: "ValueInfoProto", id: 11 }),
        output: many({ type: "ValueInfoProto", id: 12 }),
      },
    },
    NodeProto: {
      fields: {
        input: many(string(1)),
        output: many(string(2)),
        name: string(3),
        opType: string(4),
        attribute: many({ type: "AttributeProto", id: 5 }),
      },
    },
    AttributeProto: {
      fields: {
        name: string(1),
        f: { type: "float", id: 2 },
        i: int64(3),
        ints: many(int64(8)),
        type: { type: "int32", id: 20 },
      },
    },
    TensorProto: {
      fields: {
        dims: many(int64(1)),
        dataType: { type: "int32", id: 2 },
        name: string(8),
        rawData: { type: "bytes", id: 9 },
      },
    },
    ValueInfoProto: { fields: { name: string(1), type: { type: "TypeProto", id: 2 } } },
    TypeProto: { fields: { tensorType: { type: "TensorType", id: 1 } } },
    TensorType: {
      fields: { elemType: { type: "int32", id: 1 }, shape: { type: "TensorShapeProto", id: 2 } },
    },
    TensorShapeProto: { fields: { dim: many({ type: "Dimension", id: 1 }) } },
    Dimension: { fields: { dimValue: int64(1) } },
  },
};

const ModelProto = protobuf.Root.fromJSON(SCHEMA).lookupType("ModelProto");

/**
 * The model's bytes.
 *
 * @throws {TypeError} When it does not fit the schema.
 */
export function encodeModel(model: OnnxModel): Uint8Array {
  const problem = ModelProto.verify({ ...model });
  if (problem !== null) throw new TypeError(`Cannot write this ONNX model: ${problem}`);
  return ModelProto.encode(ModelProto.fromObject({ ...model })).finish();
}
