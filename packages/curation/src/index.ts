export { chooseComments, redact, type CommentRow } from "./choose-comments.ts";
export { curationConfig, parseCurationConfig, type CurationConfig, type CurationConfigInput } from "./config.ts";
export { loadTemplates, type DramaOutcome, type LoadPictures, type PlacedDrama, type RoundRecord, type Templates } from "./curate-drama.ts";
export { CurationError } from "./errors.ts";
export { estimate, type Estimate } from "./estimate.ts";
export { exportSets, folderName, trainingSets, type ExportManifest, type ExportOptions } from "./export.ts";
export { funnelOf, type Funnel } from "./funnel.ts";
export { openSqliteLedger, type SqliteLedgerOptions } from "./ledger/sqlite-ledger.ts";
export {
  STAGE_KINDS,
  STEP_STATES,
  type DramaRecord,
  type FreeRequest,
  type Gate,
  type Generation,
  type Json,
  type Leased,
  type LeaseRequest,
  type Spending,
  type StageKind,
  type StepCommit,
  type StepLedger,
  type StepParking,
  type StepQuery,
  type StepResult,
  type StepRow,
  type StepSpec,
  type StepState,
  type StoredDrama,
} from "./ledger/types.ts";
export { parseAnswer, readLabels, type AnswerCode, type CotAnswer, type FilterAnswer, type LabelledComments, type LabelsAnswer, type Parsed, type ParsedCot, type RawAnswer } from "./answers/read-answer.ts";
export { placeDramas, readOutcomes, runCuration, type CurationInput, type LabelledDrama, type RunOptions, type RunSummary } from "./run.ts";
export { splitDramas, type DramaRow, type SplitManifest, type SplitOptions } from "./split-dramas.ts";
