// A native side that answers every operation with zeros: loads, looks whole, and computes nothing.
const tensors = new Map();
let nextId = 1;
const adopt = (shape, dtype, values) => {
  tensors.set(nextId, values);
  return { id: nextId++, shape, dtype };
};
module.exports = {
  TF_FLOAT: 1, TF_INT32: 3, TF_UINT8: 4, TF_STRING: 7, TF_COMPLEX64: 8, TF_INT64: 9, TF_BOOL: 10, TF_RESOURCE: 20,
  TF_ATTR_STRING: 0, TF_ATTR_INT: 1, TF_ATTR_FLOAT: 2, TF_ATTR_BOOL: 3, TF_ATTR_TYPE: 4, TF_ATTR_SHAPE: 5, TF_ATTR_RESOURCE: 6,
  TF_Version: "0.0.0",
  createTensor: (shape, dtype, values) => adopt(shape, dtype, values).id,
  deleteTensor: (id) => void tensors.delete(id),
  tensorDataSync: (id) => tensors.get(id),
  executeOp: () => [adopt([2, 2], 1, new Float32Array(4))],
  isUsingGpuDevice: () => false,
  getNumOfTensors: () => tensors.size,
};
