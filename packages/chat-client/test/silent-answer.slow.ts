import { createTeacherClient } from "@dramascope/chat-client";
import { startSimulator } from "@dramascope/test-fixtures/teacher-simulator/start-simulator.ts";
import { expect, it } from "vitest";
import { requestFor } from "./fixtures.ts";

it("waits for an answer that comes after 310 seconds of silence", { timeout: 400_000 }, async () => {
  const simulator = await startSimulator({ faults: { rules: [{ fault: "late", delayMs: 310_000 }] } });
  const client = createTeacherClient({ baseURL: simulator.baseURL });
  const outcome = await client.call(requestFor("late"));
  expect(outcome).toMatchObject({ kind: "ok", finish: "stop" });
  if (outcome.kind === "ok") expect(outcome.ms).toBeGreaterThanOrEqual(310_000);
  await client.close();
  await simulator.stop();
});
