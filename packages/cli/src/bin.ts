#!/usr/bin/env node
import { main } from "./main.ts";

const stopSignals = { SIGINT: 130, SIGTERM: 143 } as const;

process.exitCode = await main(process.argv.slice(2), {
  stdout: (text) => process.stdout.write(text),
  stderr: (text) => process.stderr.write(text),
  env: process.env,
  isTTY: process.stderr.isTTY,
  now: () => Date.now(),
  onStop: (stop) => {
    const listeners = Object.entries(stopSignals).map(([name, code]) => {
      let asked = false;
      const listener = (): void => {
        if (asked) process.exit(code);
        asked = true;
        stop(code);
      };
      process.on(name, listener);
      return () => process.off(name, listener);
    });
    return () => listeners.forEach((release) => release());
  },
});
