/**
 * Vision Transformers and what trains them: models, optimizers, schedules, data, checkpoints.
 *
 * @module
 */
export { FileWriteError, writeFileAtomic } from "./atomic_file.ts";
export type {
  AttentionParameters,
  BlockParameters,
  MixingParameters,
  MlpParameters,
} from "./blocks.ts";
export {
  type Checkpoint,
  CheckpointError,
  type EpochPosition,
  loadCheckpoint,
  saveCheckpoint,
} from "./checkpoint.ts";
export {
  ConfigError,
  type NormKind,
  patchGrid,
  type Pool,
  tokenCount,
  type VitConfig,
  vitConfig,
  type VitOptions,
} from "./config.ts";
export {
  type Batch,
  Batches,
  batchOf,
  checkDataset,
  firstImages,
  type ImageDataset,
  type ImageForm,
} from "./dataset.ts";
export {
  evaluate,
  type Evaluation,
  type InferenceProgram,
  predict,
  type Predictions,
} from "./evaluate.ts";
export type { HeadParameters } from "./heads.ts";
export { type HostDType, type HostTensor, hostTensor, hostTensorToFloat32 } from "./host_tensor.ts";
export {
  type ForwardOptions,
  type ForwardResult,
  type ImageModel,
  imageSpec,
} from "./image_model.ts";
export {
  constant,
  type Initializer,
  lecunNormal,
  normal,
  type RandomWords,
  xavierUniform,
} from "./initializers.ts";
export type { DenseParameters, LinearParameters, NormParameters } from "./layers.ts";
export { accuracyOf, classificationLoss, type LossName, smoothLabels } from "./losses.ts";
export type { MapParameters } from "./map_head.ts";
export {
  IdxError,
  loadMnist,
  type Mnist,
  MNIST_CLASSES,
  MNIST_SIDE,
  type MnistSplit,
  parseIdx,
} from "./mnist.ts";
export {
  adam,
  type AdamOptions,
  type DecayGroup,
  globalNorm,
  type Optimizer,
  type OptimizerState,
  sgd,
  type SgdOptions,
  type Update,
  type UpdateInput,
} from "./optimizers.ts";
export {
  declare,
  initialize,
  initializeLazily,
  isDeclaration,
  type ParameterDeclaration,
  type ParameterValues,
  specsOf,
} from "./parameters.ts";
export { hostFoldIn, type HostKey, hostKey, hostPermutation, hostWords } from "./random_words.ts";
export {
  decodeSafetensors,
  encodeSafetensors,
  SafetensorsError,
  type SafetensorsFile,
} from "./safetensors.ts";
export { readSafetensors, writeSafetensors } from "./safetensors_file.ts";
export {
  learningRateAt,
  learningRateIn,
  type Schedule,
  schedule,
  type ScheduleArithmetic,
  type ScheduleOptions,
} from "./schedules.ts";
export {
  DivergenceError,
  ResumeError,
  type StepReport,
  Trainer,
  type TrainerOptions,
  type TrainingProgram,
} from "./train.ts";
export {
  inferenceGraph,
  type InferenceInput,
  type InferenceOutput,
  type TrainingState,
  trainingStep,
  type TrainingStepInput,
  type TrainingStepOptions,
  type TrainingStepOutput,
} from "./training_step.ts";
export { tuningFile, TuningFileError } from "./tuning_file.ts";
export {
  parameterCount,
  VIT_SIZES,
  type VitSize,
  type VitSizeName,
  vitVariant,
  type VitVariantName,
} from "./variants.ts";
export { namedTensors, valuesFrom, WeightsError } from "./weights.ts";
export { loadParameters, loadParametersInto, saveParameters } from "./weights_file.ts";
export { type LoadableProgram, type StreamOptions, streamParameters } from "./weights_stream.ts";
export type { ByteChunks } from "./byte_reader.ts";
export { type Vit, vit, type VitParameters } from "./vit.ts";
