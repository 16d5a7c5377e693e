import { mergeConfig } from "vitest/config";
import shared from "../../vitest.shared.ts";

// Tests that wait for minutes run on request.
export default mergeConfig(shared, { test: { include: process.env["DRAMASCOPE_SLOW_TESTS"] === "1" ? ["test/**/*.slow.ts"] : [] } });
