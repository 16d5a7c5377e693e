export { readAnswer, type AnswerFormat, type ReadAnswer } from "./answer.ts";
export { assessDramas, type AssessDramasOptions, type AssessedDrama } from "./assess-dramas.ts";
export { assessFrames, assessModes, type AssessOptions, type DramaToAssess, type EpisodeFrames, type ScoreMode } from "./assess.ts";
export { assessmentCalibration, calibrateAssessments, placeScore, type AssessmentCalibration } from "./calibration.ts";
export { decide, DEFAULT_POLICY, type DecisionInput, type DecisionPolicy } from "./decision.ts";
export { AssessorError } from "./errors.ts";
export { readProfile, writeProfile, type Profile } from "./profile.ts";
export { reasonsOf } from "./reasons.ts";
