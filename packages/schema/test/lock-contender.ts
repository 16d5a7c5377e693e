/** A process that tries to take a lock whenever it is told to, at the moment it is told. */
import { takeLock } from "@dramascope/schema";

process.on("message", ({ path, at }: { path: string; at: number }) => {
  while (Date.now() < at);
  process.send!("release" in takeLock(path));
});
process.send!("ready");
