import { elementCount } from "../element-count.ts";
import { TensorFlowError } from "../errors.ts";
import { configBytes, type ContextOptions } from "./configuration.ts";
import { TF_DTYPES } from "./dtypes.ts";
import type { CFunctions } from "./library.ts";
import { ATTR, setAttribute, type OpAttribute } from "./op-attributes.ts";

const STRING_BYTES = 24;

/** An operation's result. */
export interface TensorMetadata {
  id: number;
  shape: number[];
  dtype: number;
}

type Values = Float32Array | Int32Array | Uint8Array | Uint16Array | BigInt64Array | readonly number[] | readonly Uint8Array[];

/** The native side of a TensorFlow.js back end over TensorFlow's C API. */
export type Binding = ReturnType<typeof createBinding>;

/** Makes a context on the library and the functions that the back end calls. */
export function createBinding(c: CFunctions, options: ContextOptions = {}) {
  const status = c.TF_NewStatus() as bigint;
  const check = (): void => {
    if (c.TF_GetCode(status) !== 0) throw new Error(String(c.TF_Message(status)));
  };
  const outcome = { status, check };
  const contextOptions = c.TFE_NewContextOptions() as bigint;
  const config = configBytes(options);
  c.TFE_ContextOptionsSetConfig(contextOptions, config, config.length, status);
  check();
  const context = c.TFE_NewContext(contextOptions, status) as bigint;
  check();
  c.TFE_DeleteContextOptions(contextOptions);
  const gpu = findGpu();

  const handles = new Map<number, bigint>();
  let nextId = 1;
  const opPool: bigint[] = [];

  function findGpu(): string | undefined {
    const list = c.TFE_ContextListDevices(context, status) as bigint;
    check();
    try {
      for (let i = 0; i < Number(c.TF_DeviceListCount(list)); i++) {
        if (c.TF_DeviceListType(list, i, status) === "GPU") return String(c.TF_DeviceListName(list, i, status));
      }
      return undefined;
    } finally {
      c.TF_DeleteDeviceList(list);
    }
  }

  const adopt = (handle: bigint): number => {
    const id = nextId++;
    handles.set(id, handle);
    return id;
  };

  const handleOf = (id: number): bigint => {
    const handle = handles.get(id);
    if (handle === undefined) throw new TensorFlowError(`tensor ${id} was disposed or never existed`, { code: "TENSOR_DISPOSED", hint: "Use tensors before they are disposed; tf.keep protects them inside tf.tidy." });
    return handle;
  };

  const take = (id: number): bigint => {
    const handle = handleOf(id);
    handles.delete(id);
    return handle;
  };

  const metadataOf = (handle: bigint): TensorMetadata => {
    const rank = Number(c.TFE_TensorHandleNumDims(handle, status));
    check();
    const shape = Array.from({ length: rank }, (_, axis) => Number(c.TFE_TensorHandleDim(handle, axis, status)));
    return { id: adopt(handle), shape, dtype: Number(c.TFE_TensorHandleDataType(handle)) };
  };

  const toBytes = (dtype: number, values: Exclude<Values, readonly Uint8Array[]>): ArrayBufferView => {
    if (ArrayBuffer.isView(values)) return values;
    if (dtype === TF_DTYPES.float32) return Float32Array.from(values);
    return dtype === TF_DTYPES.bool || dtype === TF_DTYPES.uint8 ? Uint8Array.from(values) : Int32Array.from(values);
  };

  /** A host tensor with the values copied in. The caller deletes it. */
  const hostTensor = (shape: readonly number[], dtype: number, values: Values): bigint => {
    const count = elementCount(shape);
    const dims = BigInt64Array.from(shape, BigInt);
    if (dtype === TF_DTYPES.string) return stringTensor(dims, count, values as readonly Uint8Array[]);
    const bytes = toBytes(dtype, values as Exclude<Values, readonly Uint8Array[]>);
    const width = { [TF_DTYPES.float32]: 4, [TF_DTYPES.int32]: 4, [TF_DTYPES.bool]: 1, [TF_DTYPES.uint8]: 1, [TF_DTYPES.int64]: 8, [TF_DTYPES.complex64]: 8, [TF_DTYPES.float64]: 8, [TF_DTYPES.bfloat16]: 2, [TF_DTYPES.float16]: 2 }[dtype];
    if (width === undefined) throw new TensorFlowError(`element type ${dtype} cannot be uploaded`, { code: "TENSOR_DTYPE", hint: "Use float32, int32, bool, uint8, int64, bfloat16 or strings." });
    if (bytes.byteLength !== count * width) {
      throw new TensorFlowError(`a tensor of shape [${shape.join(",")}] needs ${count * width} bytes, ${bytes.byteLength} were given`, { code: "TENSOR_SIZE", hint: "Give as many values as the shape holds." });
    }
    const tensor = c.TF_AllocateTensor(dtype, dims, dims.length, bytes.byteLength) as bigint;
    if (bytes.byteLength > 0) c.memcpy(c.TF_TensorData(tensor), bytes, bytes.byteLength);
    return tensor;
  };

  const stringTensor = (dims: BigInt64Array, count: number, strings: readonly Uint8Array[]): bigint => {
    if (strings.length !== count) {
      throw new TensorFlowError(`a tensor of shape [${dims.join(",")}] holds ${count} strings, ${strings.length} were given`, { code: "TENSOR_SIZE", hint: "Give as many values as the shape holds." });
    }
    const tensor = c.TF_AllocateTensor(TF_DTYPES.string, dims, dims.length, strings.length * STRING_BYTES) as bigint;
    const base = strings.length === 0 ? 0n : (c.TF_TensorData(tensor) as bigint);
    strings.forEach((bytes, i) => {
      const at = base + BigInt(i * STRING_BYTES);
      c.TF_StringInit(at);
      c.TF_StringCopy(at, bytes, bytes.length);
    });
    return tensor;
  };

  /** A handle of a host tensor, which is deleted: the handle shares its memory. */
  const hostHandle = (tensor: bigint): bigint => {
    const handle = c.TFE_NewTensorHandle(tensor, status) as bigint;
    c.TF_DeleteTensor(tensor);
    check();
    return handle;
  };

  /** Moves a host tensor to the GPU where there is one; the given handle is used up. */
  const toDevice = (handle: bigint, dtype: number): bigint => {
    if (gpu === undefined || dtype === TF_DTYPES.int32 || dtype === TF_DTYPES.string) return handle;
    const onDevice = c.TFE_TensorHandleCopyToDevice(handle, context, gpu, status) as bigint;
    c.TFE_DeleteTensorHandle(handle);
    check();
    return onDevice;
  };

  const createTensor = (shape: readonly number[], dtype: number, values: Values): number => adopt(toDevice(hostHandle(hostTensor(shape, dtype, values)), dtype));

  const readStrings = (data: bigint, count: number): Uint8Array[] =>
    Array.from({ length: count }, (_, i) => {
      const at = data + BigInt(i * STRING_BYTES);
      const bytes = new Uint8Array(Number(c.TF_StringGetSize(at)));
      if (bytes.length > 0) c.memcpy(bytes, c.TF_StringGetDataPointer(at), bytes.length);
      return bytes;
    });

  const tensorDataSync = (id: number): Float32Array | Int32Array | Uint8Array | Uint16Array | BigInt64Array | Float64Array | Uint8Array[] => {
    const tensor = c.TFE_TensorHandleResolve(handleOf(id), status) as bigint;
    check();
    try {
      const dtype = Number(c.TF_TensorType(tensor));
      const size = Number(c.TF_TensorByteSize(tensor));
      const data = c.TF_TensorData(tensor) as bigint;
      if (dtype === TF_DTYPES.string) return readStrings(data, size / STRING_BYTES);
      const buffer = new ArrayBuffer(size);
      if (size > 0) c.memcpy(new Uint8Array(buffer), data, size);
      if (dtype === TF_DTYPES.float32 || dtype === TF_DTYPES.complex64) return new Float32Array(buffer);
      if (dtype === TF_DTYPES.int32) return new Int32Array(buffer);
      if (dtype === TF_DTYPES.int64) return new BigInt64Array(buffer);
      if (dtype === TF_DTYPES.float64) return new Float64Array(buffer);
      if (dtype === TF_DTYPES.bfloat16 || dtype === TF_DTYPES.float16) return new Uint16Array(buffer);
      return new Uint8Array(buffer);
    } finally {
      c.TF_DeleteTensor(tensor);
    }
  };

  /** Runs `build` and the operation on a pooled op; an op that failed is deleted, not pooled. */
  const run = (name: string, inputs: readonly bigint[], attributes: readonly OpAttribute[], outputs: number, device: string | null = null): TensorMetadata[] => {
    let op = opPool.pop();
    if (op === undefined) op = c.TFE_NewOp(context, name, status) as bigint;
    else c.TFE_OpReset(op, name, null, status);
    try {
      check();
      if (device !== null) {
        c.TFE_OpSetDevice(op, device, status);
        check();
      }
      for (const attribute of attributes) setAttribute(c, op, attribute, outcome);
      for (const input of inputs) c.TFE_OpAddInput(op, input, status);
      check();
      const results = new BigUint64Array(Math.max(1, outputs));
      const count = Int32Array.of(outputs);
      c.TFE_Execute(op, results, count, status);
      check();
      const made = Array.from(results.subarray(0, count[0]), (handle) => metadataOf(handle));
      if (device === null) opPool.push(op);
      else c.TFE_DeleteOp(op);
      return made;
    } catch (error) {
      if (op) c.TFE_DeleteOp(op);
      throw error;
    }
  };

  return {
    /** The handle behind an id. */
    handleOf,
    /** Takes ownership of a handle and describes it. */
    adopt: metadataOf,
    TF_FLOAT: TF_DTYPES.float32,
    TF_INT32: TF_DTYPES.int32,
    TF_UINT8: TF_DTYPES.uint8,
    TF_STRING: TF_DTYPES.string,
    TF_COMPLEX64: TF_DTYPES.complex64,
    TF_INT64: TF_DTYPES.int64,
    TF_BOOL: TF_DTYPES.bool,
    TF_RESOURCE: TF_DTYPES.resource,
    TF_ATTR_STRING: ATTR.string,
    TF_ATTR_INT: ATTR.int,
    TF_ATTR_FLOAT: ATTR.float,
    TF_ATTR_BOOL: ATTR.bool,
    TF_ATTR_TYPE: ATTR.type,
    TF_ATTR_SHAPE: ATTR.shape,
    TF_ATTR_RESOURCE: ATTR.resource,
    TF_Version: String(c.TF_Version()),
    createTensor,
    tensorDataSync,
    deleteTensor: (id: number): void => void c.TFE_DeleteTensorHandle(take(id)),
    executeOp: (name: string, attributes: readonly OpAttribute[], inputIds: readonly number[], outputs: number): TensorMetadata[] =>
      run(name, inputIds.map(handleOf), attributes, outputs),
    isUsingGpuDevice: (): boolean => gpu !== undefined,
    getNumOfTensors: (): number => handles.size,
    getNumOfSavedModels: (): number => 0,
    loadSavedModel: refuseSavedModel,
    deleteSavedModel: refuseSavedModel,
    runSavedModel: refuseSavedModel,
    /** Gives ownership of the handle behind an id back. */
    take,
    /** Runs an operation beside the host's memory, wherever the others run. */
    executeOnHost: (name: string, attributes: readonly OpAttribute[], inputs: readonly bigint[]): TensorMetadata => run(name, inputs, attributes, 1, "/device:CPU:0")[0]!,
    /** What the graph recorder, compiled functions and mapped files need. */
    raw: { c, status, check, context, hostTensor, hostHandle, toDevice },
  };
}

function refuseSavedModel(): never {
  throw new TensorFlowError("SavedModel is not served by this binding", { code: "SAVED_MODEL", hint: "Use @tensorflow/tfjs-node for saved models." });
}
