/** TensorFlow's numbers for element types. */
export const TF_DTYPES = { float32: 1, float64: 2, int32: 3, uint8: 4, string: 7, complex64: 8, int64: 9, bool: 10, bfloat16: 14, float16: 19, resource: 20 } as const;
