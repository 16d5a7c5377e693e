export type { CliIo } from "./context.ts";
export type { ExitCode } from "./errors.ts";
export { main } from "./main.ts";
