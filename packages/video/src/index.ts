export { contactSheet, type ContactSheetOptions } from "./contact-sheet.ts";
export { decodeEpisode, type DecodedEpisode, type DecodeOptions, type DecodeReport } from "./decode.ts";
export { decodeDrama, type DramaFrames, type DramaOptions, type EpisodeFrames, type EpisodeInput } from "./drama.ts";
export { drawNumber, type Overlay } from "./draw-number.ts";
export { VideoError, type VideoErrorCode, type VideoErrorDetails } from "./errors.ts";
export { findFfmpeg, type Ffmpeg, type FindFfmpegOptions } from "./find-ffmpeg.ts";
export { encodeJpegs, extractFrames, readFrames, writeEpisodeFrames, type ExtractedFrames, type ExtractOptions, type FrameFormat } from "./frame-files.ts";
export { labelsOf, planDrama, type Clock, type DramaPlan, type EpisodePlan, type EpisodeShape, type PlanOptions } from "./plan.ts";
export { probeEpisode, type Probe, type ProbeOptions } from "./probe.ts";
