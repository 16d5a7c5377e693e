import { loadTemplates, type PromptId, type Template, type Templates } from "@dramascope/prompts";
import { hashJson } from "@dramascope/schema";
import type { CurationConfig } from "../config.ts";
import type { Json } from "../ledger/generation-types.ts";
import type { StageKind } from "../ledger/step-types.ts";
import { answerSchema } from "./answer-schemas.ts";

/** What all dramas of a curation share; made by {@link loadSetting}. */
export interface CurationSetting {
  config: CurationConfig;
  templates: Templates;
  /** Hashes of what all steps of a kind have in common: prompt, model, sampling, form of media and answer. */
  kindHashes: Readonly<Record<StageKind, string>>;
}

/** Prompt of each kind of step. */
export const TASK_OF = { caption: "caption", sample: "cot", filter: "cot_filter", comments: "comment_filter" } as const satisfies Record<StageKind, PromptId>;

/** Captions, verdicts and labels want the likeliest words, samples variety. */
export const STEADY_SAMPLING = { temperature: 0.2, topP: 1 } as const;

/** Raised when the same request of a kind comes to mean something else. */
const KIND_VERSION = 1;

/** Name, version and hash of a prompt, for the record. */
export const templateName = ({ id, version, hash }: Template): string => `${id}@${version}#${hash}`;

/** How a teacher sees the episodes; frames by their plan, links and ids never. */
function mediaForm({ teacher, frames, mediaPosition }: CurationConfig): { readonly [name: string]: Json } {
  const plan = Object.fromEntries(Object.entries(frames).flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const])));
  return { form: teacher.media, position: mediaPosition, ...(teacher.media === "frames" ? { plan } : {}), ...(teacher.media === "video_url" && teacher.fps !== undefined ? { fps: teacher.fps, fpsWhere: teacher.capabilities.fpsWhere } : {}) };
}

function kindHash(kind: StageKind, config: CurationConfig, templates: Templates): string {
  const { teacher, rounds, comments, language } = config;
  const seesMedia = kind === "caption" || kind === "sample";
  const schema = teacher.capabilities.jsonSchema ? answerSchema(TASK_OF[kind], comments.shape) : undefined;
  return hashJson({
    kind,
    kindVersion: KIND_VERSION,
    template: templateName(templates[TASK_OF[kind]]),
    model: teacher.model,
    sampling: { ...STEADY_SAMPLING, ...(kind === "sample" ? { temperature: null, topP: rounds.topP } : {}), maxTokens: teacher.maxTokens },
    schema: schema ? hashJson(schema) : null,
    thinkingParam: teacher.capabilities.thinkingParam,
    ...(seesMedia ? { media: mediaForm(config), language } : {}),
    ...(kind === "comments" ? { shape: comments.shape } : {}),
  });
}

/** Reads the prompts of the settings. */
export async function loadSetting(config: CurationConfig): Promise<CurationSetting> {
  const { prompts, language, comments } = config;
  const templates = await loadTemplates({ language, variant: comments.shape, ...(prompts.dir === undefined ? {} : { dir: prompts.dir }) });
  const hash = (kind: StageKind): string => kindHash(kind, config, templates);
  return { config, templates, kindHashes: { caption: hash("caption"), sample: hash("sample"), filter: hash("filter"), comments: hash("comments") } };
}

/** Everything that makes answers differ from those of another generation. More rounds, votes or money do not. */
export function generationSettings({ config, templates }: CurationSetting): { readonly [name: string]: Json } {
  const { teacher, rounds, comments, language } = config;
  return {
    templates: Object.fromEntries(Object.values(TASK_OF).map((id) => [id, templateName(templates[id])])),
    model: teacher.model,
    sampling: { temperature: rounds.temperature, topP: rounds.topP, maxTokens: teacher.maxTokens, steady: STEADY_SAMPLING },
    commentShape: comments.shape,
    jsonSchema: teacher.capabilities.jsonSchema,
    thinkingParam: teacher.capabilities.thinkingParam,
    language,
    media: mediaForm(config),
  };
}

/** Name of a generation: SHA-256 of its settings. */
export const generationIdentity = (setting: CurationSetting): string => hashJson(generationSettings(setting));

/** Name of a curation, the same on every machine and day: from what makes a generation and the seed of the split; 16 hex digits. */
export const runIdOf = (setting: CurationSetting): string => hashJson({ identity: generationIdentity(setting), splitSeed: setting.config.split.seed }).slice(0, 16);
