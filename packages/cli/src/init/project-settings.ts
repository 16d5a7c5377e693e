/** What the settings of a new project say of its teacher. */
export interface ProjectTeacher {
  /** Address without `/chat/completions`. */
  baseURL: string;
  /** Settings for the sample dramas and the teacher simulator, or for a provider that the user still has to name. */
  kind: "provider" | "simulator";
}

const PROVIDER = `  apiKeyEnv: TEACHER_API_KEY # the variable that holds the key; a key itself never stands in this file
  model: some-teacher
  media: frames # frames | video_url | file_id
  capabilities: { jsonSchema: false, metadata: false } # what the provider takes beside plain messages
  limits: { rpm: 600, tpm: 2000000, inFlight: 64 } # requests and tokens a minute, calls at once
  timeouts: { callMs: 900000 }
  # Per million tokens, by length of the prompt; "hit" is the price of cached ones. Look them up: the budget counts with them.
  prices: { currency: USD, date: 2026-11-01, bands: [{ upTo: 131072, in: 0.25, out: 2.0, hit: 0.05 }, { in: 0.5, out: 4.0, hit: 0.1 }] }`;

const SIMULATOR = `  # apiKeyEnv: TEACHER_API_KEY # a real provider wants a key: the variable that holds it, never the key itself
  model: teacher-sim-1
  media: frames # the sample has no films; with films in data/media the teacher sees their numbered frames
  capabilities: { metadata: true } # the simulator takes the names of task and drama along; leave this out for a provider
  limits: { inFlight: 8 } # calls at once; also rpm and tpm, requests and tokens a minute
  maxTokens: 1024
  prices: { currency: USD, date: 2026-11-01, bands: [{ in: 0.25, out: 2.0 }] } # per million tokens`;

const split = (kind: ProjectTeacher["kind"]): string =>
  kind === "simulator"
    ? `{ mode: split-first, seed: drama-1, evalPerClass: 1, sftSize: 15 } # a handful of each, for 30 dramas`
    : `{ mode: split-first, seed: drama-1, evalPerClass: 200, sftSize: 10000 }`;

/** The commented `dramascope.yaml` of a new project. */
export function curationSettings({ baseURL, kind }: ProjectTeacher): string {
  return `# yaml-language-server: $schema=./dramascope.schema.json
# Settings of dramascope curate. Paths are relative to this file; a setting that is left out has its default.
version: 1

input:
  dramas: data/dramas.jsonl # one drama a line: dramaId, releasedOn, episodes, comments
  labels: data/labels.jsonl # its class 1 to 5: what "dramascope hot-value fit --out data/labels.jsonl" writes
  mediaRoots: [data/media] # where episodes with a relative path lie

workdir: runs/first # frames, journal of calls

teacher:
  baseURL: ${baseURL}
${kind === "simulator" ? SIMULATOR : PROVIDER}

# Who is held out, who teaches by example, who is left to GRPO. The first run fixes it; later runs place new dramas only.
split: ${split(kind)}

# Chains of thought are sampled in rounds until one passes: right class, then no objection from the second look.
rounds: { min: 1, max: 8, stopAfterValid: 1, perClassMax: { "1": 16, "5": 16 }, temperature: [0.7, 0.8, 0.9, 1.0], topP: 0.95 }
filter: { votes: 1, preflagsReject: false }
comments: { max: 20, shape: indexed }
select: { cotPerDrama: 1, seed: pick-1 }
balance: none # none | cap | weight

budget: { maxCost: ${kind === "simulator" ? "5" : "200"} } # in the currency of the prices; reaching it ends the run, and a larger one goes on

ledger: { driver: sqlite, path: runs/first/ledger.db } # or { driver: postgres, urlEnv: DATABASE_URL } for several workers
export: { dir: runs/first/export, formats: [jsonl], sftFormat: json }

# prompts: { dir: prompts } # your own words, see prompts/README.md
`;
}

/** The \`sft.yaml\` and \`grpo.yaml\` of a new project. */
export const TRAIN_SETTINGS: Readonly<Record<"sft.yaml" | "grpo.yaml", string>> = {
  "sft.yaml": `# Settings of "dramascope train sft"; --plan says what a run will take, --print-config every setting.
model: models/Qwen2.5-VL-3B-Instruct # "dramascope model pull Qwen/Qwen2.5-VL-3B-Instruct" brings it
data: runs/first/export/sft.jsonl
runDir: runs/sft
lora: { r: 8, alpha: 32 }
epochs: 3
`,
  "grpo.yaml": `# Settings of "dramascope train grpo", which goes on from the adapter of SFT.
model: models/Qwen2.5-VL-3B-Instruct
data: runs/first/export/grpo.jsonl
runDir: runs/grpo
adapter: runs/sft/adapter
preset: paper
`,
};
