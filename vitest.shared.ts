import { defineProject } from "vitest/config";

export default defineProject({
  ssr: { resolve: { conditions: ["@dramascope/source"] } },
  test: { include: ["test/**/*.test.ts"], pool: "forks", testTimeout: 60_000, hookTimeout: 60_000 },
});
