export { csvCells } from "./csv.ts";
export { DataError, DramascopeError, type ErrorDetails } from "./errors.ts";
export { openBytes, writeAtomically, writeFileAtomically, writeFolderAtomically, writeTextAtomically } from "./files.ts";
export { canonicalJson, hashJson, sha256, sha256File } from "./hash.ts";
export { readJsonl, readLines, writeJsonl, type NumberedLine, type ReadJsonlOptions, type RejectedLine } from "./jsonl.ts";
export { nearestName } from "./nearest-name.ts";
export { takeLock } from "./process-lock.ts";
export type { OnProgress, Progress } from "./progress.ts";
export { isPublicAddress } from "./public-address.ts";
export { createRandom, type Random, type RandomOptions } from "./random.ts";
export {
  assessment,
  assessmentReason,
  comment,
  completion,
  contentPart,
  curatedSample,
  distribution,
  drama,
  dramaId,
  episodeFile,
  frameEntry,
  frameManifest,
  hotValueRecord,
  indicatorRow,
  indicatorScores,
  isoDate,
  message,
  provenance,
  quality,
  rewardBreakdown,
  roundVerdict,
  split,
  trainingSample,
  videoReference,
  type Assessment,
  type AssessmentReason,
  type Comment,
  type Completion,
  type ContentPart,
  type CuratedSample,
  type Distribution,
  type Drama,
  type EpisodeFile,
  type FrameManifest,
  type GrpoSample,
  type HotValueRecord,
  type IndicatorRow,
  type IndicatorScores,
  type Message,
  type Provenance,
  type Quality,
  type RewardBreakdown,
  type RoundVerdict,
  type SftSample,
  type Split,
  type TrainingSample,
  type VideoReference,
} from "./records.ts";
export { settingNames } from "./setting-names.ts";
export { unlessAborted } from "./unless-aborted.ts";
export { describeIssues, parseRecord } from "./validation.ts";
