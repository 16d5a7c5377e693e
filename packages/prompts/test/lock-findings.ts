import { parseTemplate } from "@dramascope/prompts";

/** Hash of every version of every prompt file that was ever in use; only added to. */
export type Lock = Record<string, Record<string, string>>;

/** What is wrong with prompt files, by the lock: nothing when every text is the one that its version names. */
export function lockFindings(lock: Lock, files: ReadonlyMap<string, string>): string[] {
  const findings = Object.keys(lock).filter((file) => !files.has(file)).map((file) => `${file} is in the lock and not among the prompts`);
  for (const [file, text] of files) {
    const { version, hash } = parseTemplate(text, file);
    const known = lock[file]?.[version];
    if (known === undefined) findings.push(`${file}: enter version ${version} with hash ${hash} in prompts.lock.json`);
    else if (known !== hash) findings.push(`${file}: its text is not the one of version ${version}: give the changed text a new version`);
    const latest = Object.keys(lock[file] ?? {}).at(-1);
    if (latest !== undefined && latest !== version && known !== undefined) findings.push(`${file}: version ${version} is older than ${latest}`);
  }
  return findings;
}
