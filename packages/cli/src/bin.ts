#!/usr/bin/env node
import { main } from "./main.ts";

const stopSignals = { SIGINT: 130, SIGTERM: 143 } as const;

/** One press of Ctrl-C may come twice: from the terminal, and from npm, which passes it on. */
const SAME_PRESS_MS = 250;

process.exitCode = await main(process.argv.slice(2), {
  stdout: (text) => process.stdout.write(text),
  stderr: (text) => process.stderr.write(text),
  env: process.env,
  isTTY: process.stderr.isTTY,
  now: () => Date.now(),
  onStop: (stop) => {
    let askedAt: number | undefined;
    const ask = (code: 130 | 143): void => {
      if (askedAt !== undefined && performance.now() - askedAt < SAME_PRESS_MS) return;
      if (askedAt !== undefined) process.exit(code);
      askedAt = performance.now();
      stop(code);
    };
    const listeners = Object.entries(stopSignals).map(([name, code]) => {
      const listener = (): void => ask(code);
      process.on(name, listener);
      return () => process.off(name, listener);
    });
    // A process that was started with a channel ends with the process at its other end, as one of several workers.
    const onOrphaned = (): void => (askedAt === undefined ? ask(143) : process.exit(143));
    if (process.channel) {
      process.once("disconnect", onOrphaned);
      process.channel.unref();
    }
    return () => {
      listeners.forEach((release) => release());
      process.off("disconnect", onOrphaned);
    };
  },
});
