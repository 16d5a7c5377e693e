export { parseAnswer, readLabels, type AnswerCode, type CotAnswer, type FilterAnswer, type LabelledComments, type LabelsAnswer, type Parsed, type ParsedCot, type RawAnswer } from "./answers/read-answer.ts";
export { chooseComments, type CommentRow } from "./choose-comments.ts";
export { commentHash } from "./comment-hash.ts";
export { curationConfig, curationJsonSchema, parseCurationConfig, type CurationConfig, type CurationConfigInput } from "./config.ts";
export { CurationError } from "./errors.ts";
export { curationReport } from "./export/curation-report.ts";
export { datasetCard } from "./export/dataset-card.ts";
export { disagreementsOf, exportDisagreements, type Disagreement } from "./export/disagreements.ts";
export { exportSets, type ExportOptions } from "./export/export-sets.ts";
export { LEFT_OUT_REASONS, type LeftOutReason } from "./export/left-out.ts";
export type { ByClass } from "./export/class-balance.ts";
export type { ExportManifest } from "./export/manifest.ts";
export type { ReplayedDrama } from "./export/replayed-drama.ts";
export type { ReportOptions } from "./export/report-tally.ts";
export { curationReportText } from "./export/report-text.ts";
export type { Confusion, CurationReport, FunnelStage, ReportExample, RoundStatistics } from "./export/report-types.ts";
export type { ManifestPath } from "./export/training-records.ts";
export { openLedger, type OpenLedgerOptions } from "./ledger/open-ledger.ts";
export { openPostgresLedger, type PostgresLedgerOptions } from "./ledger/postgres-ledger.ts";
export { openPostgresSlots, type PostgresSlotsOptions, type SharedSlots } from "./ledger/postgres-slots.ts";
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
export { deleteDrama, frameManifestPath, type LoadFileId, type LoadPictures } from "./pipeline/media.ts";
export { estimate, type Estimate, type EstimateOptions, type Range, type StageEstimate } from "./pipeline/estimate.ts";
export { findGeneration } from "./pipeline/generation.ts";
export type { ImportReport } from "./pipeline/import-dramas.ts";
export type { DramaDecision, DramaOutcome, Replay, RoundOutcome, RoundVerdict, StepProblem } from "./pipeline/outcome.ts";
export type { LabelledDrama } from "./pipeline/read-input.ts";
export { replayDrama } from "./pipeline/replay-drama.ts";
export { runCuration } from "./pipeline/run-curation.ts";
export type { CurationEvent, CurationOptions, RunProgress, RunSummary } from "./pipeline/run-options.ts";
export { generationIdentity, generationSettings, loadSetting, runIdOf, type CurationSetting } from "./pipeline/setting.ts";
export { curationStatus, type CurationStatus } from "./pipeline/status.ts";
export { PREFLAGS, preflags, type Preflag, type PreflagInput } from "./preflags.ts";
export { prepareComment, type PreparedComment } from "./prepare-comment.ts";
export { redact } from "./redact.ts";
export { safeText } from "./safe-text.ts";
export { splitDramas, type DramaRow, type SplitConflict, type SplitManifest, type SplitOptions } from "./split-dramas.ts";
export { applyThreeRules, type RuleInput, type RuleVerdict } from "./three-rules.ts";
