import { fileURLToPath } from "node:url";
import { defineProject } from "vitest/config";

export default defineProject({
  ssr: { resolve: { conditions: ["@dramascope/source"] } },
  test: {
    include: ["test/**/*.test.ts"],
    pool: "forks",
    globalSetup: fileURLToPath(new URL("vitest.temporary.ts", import.meta.url)),
    testTimeout: 60_000,
    hookTimeout: 60_000,
    env: { FORCE_COLOR: "0" }, // output of child processes is compared as text
  },
});
