export { createTeacherClient, type Prices, type TeacherClientOptions } from "./client.ts";
export { ChatError } from "./errors.ts";
export type { ChatContent, ChatRequest, ChatRequestMessage, ChatTrace, Outcome, TeacherClient, Usage } from "./types.ts";
