import { createTeacher, memorySpendBook, type Outcome, type TeacherClient } from "@dramascope/chat-client";
import { expect, test } from "vitest";

test("sends no attempt of a call that is not wanted any more, and charges nothing for it", async () => {
  let sent = 0;
  const failing: TeacherClient = {
    call: () => {
      sent++;
      return Promise.resolve<Outcome>({ kind: "retry", code: "HTTP_500", maybePaid: false });
    },
    capabilities: () => ({ frames: true, videoUrl: false, fpsWhere: "none", fileId: false, jsonSchema: false, metadata: false, traceHeaders: false, thinkingParam: "none" }),
    close: () => Promise.resolve(),
  };
  const spendBook = memorySpendBook();
  const teacher = createTeacher({ client: failing, spendBook, backoffMs: 1, maxAttempts: 9, prices: { currency: "USD", date: "2026-11-01", bands: [{ in: 1, out: 1 }] } });
  const request = { task: "caption", model: "m", messages: [{ role: "user" as const, content: "hello" }], temperature: 0, maxTokens: 5 };
  await expect(teacher.ask(request, { key: "k", isWanted: () => sent < 2 })).rejects.toThrow(expect.objectContaining({ code: "CALL_UNWANTED" }) as Error);
  expect([sent, spendBook.spent()]).toEqual([2, 0]);
  await teacher.close();
});
