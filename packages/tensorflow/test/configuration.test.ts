import { describe, expect, it } from "vitest";
import { configBytes } from "../src/native/configuration.ts";

describe("TensorFlow's configuration, written by hand", () => {
  const gpuOptions = [0x32, 0x02, 0x20, 0x01];
  const softPlacement = [0x38, 0x01];
  it.each([
    ["memory growth and soft placement always", {}, [...gpuOptions, ...softPlacement]],
    ["threads", { threads: 4 }, [0x10, 4, ...gpuOptions, ...softPlacement]],
    ["threads beyond one byte", { threads: 300 }, [0x10, 0xac, 0x02, ...gpuOptions, ...softPlacement]],
    ["no GPU", { device: "cpu" as const }, [0x0a, 7, 0x0a, 3, 0x47, 0x50, 0x55, 0x10, 0, ...gpuOptions, ...softPlacement]],
    ["the choice of a GPU", { gpuIndex: 12 }, [0x32, 6, 0x20, 0x01, 0x2a, 2, 0x31, 0x32, ...softPlacement]],
  ])("%s", (_case, options, bytes) => {
    expect(Array.from(configBytes(options))).toEqual(bytes);
  });
});
