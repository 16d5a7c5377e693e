export { RewardError } from "./errors.ts";
export { maxWeightMatching, type Matching } from "./matching.ts";
export { ablateWeights, DEFAULT_OPTIONS, hardened, type RewardLimits, type RewardName, type RewardOptions, type RewardSettings, type RewardWeights } from "./options.ts";
export { parseCompletion, type ParsedCompletion } from "./parse-completion.ts";
export { rouge, type RougeScores } from "./rouge.ts";
export type { RougeScore } from "./rouge-score.ts";
export { prepareReference, scoreCompletion, scoreGroup, type PreparedReference, type PreparedState, type RewardDetails, type RewardReference, type ScoredCompletion } from "./score.ts";
export { tokenize, type TokenizerName } from "./tokenize.ts";
