import { TensorFlowError } from "../errors.ts";
import { TF_DTYPES } from "./dtypes.ts";
import type { CFunctions } from "./library.ts";

/** TensorFlow.js's numbers for kinds of attributes. */
export const ATTR = { string: 0, int: 1, float: 2, bool: 3, type: 4, shape: 5, resource: 6 } as const;

/** One attribute of an operation, as TensorFlow.js gives it. */
export interface OpAttribute {
  name: string;
  type: number;
  value: unknown;
}

/** Sets an attribute, or a list of them, of an operation that is being built. */
export function setAttribute(c: CFunctions, op: bigint, { name, type, value }: OpAttribute, { status, check }: { status: bigint; check: () => void }): void {
  const list = Array.isArray(value) || ArrayBuffer.isView(value) ? Array.from(value as ArrayLike<number>) : undefined;
  switch (type) {
    case ATTR.string: {
      if (list) {
        const strings = list.map(String);
        c.TFE_OpSetAttrStringList(op, name, strings, BigUint64Array.from(strings, (text) => BigInt(Buffer.byteLength(text))), strings.length);
        return;
      }
      const bytes = Buffer.from(String(value), "utf8");
      c.TFE_OpSetAttrString(op, name, bytes, bytes.length);
      return;
    }
    case ATTR.int:
      if (list) c.TFE_OpSetAttrIntList(op, name, BigInt64Array.from(list, BigInt), list.length);
      else c.TFE_OpSetAttrInt(op, name, value);
      return;
    case ATTR.float:
      if (list) c.TFE_OpSetAttrFloatList(op, name, Float32Array.from(list), list.length);
      else c.TFE_OpSetAttrFloat(op, name, value);
      return;
    case ATTR.bool:
    case TF_DTYPES.bool: // one kernel of TensorFlow.js gives the element type where the attribute type belongs
      if (list) c.TFE_OpSetAttrBoolList(op, name, Uint8Array.from(list, Number), list.length);
      else c.TFE_OpSetAttrBool(op, name, value ? 1 : 0);
      return;
    case ATTR.type:
      if (list) c.TFE_OpSetAttrTypeList(op, name, Int32Array.from(list), list.length);
      else c.TFE_OpSetAttrType(op, name, value);
      return;
    case ATTR.shape:
      c.TFE_OpSetAttrShape(op, name, BigInt64Array.from(list ?? [], BigInt), list?.length ?? 0, status);
      check();
      return;
    default:
      throw new TensorFlowError(`attribute ${name} has the unknown type ${type}`, { code: "OP_ATTRIBUTE", hint: "Use string, int, float, bool, type or shape." });
  }
}
