import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { curationSettings, TRAIN_SETTINGS, type ProjectTeacher } from "./project-settings.ts";
import { sampleFiles } from "./sample-dramas.ts";

const GITIGNORE = `# Keys
.env
# Ledger, frames, journals, exports, checkpoints
runs/
models/
# Viewers' comments and films are not yours to publish
data/*
!data/README.md
`;

const DATA = `# Data

\`dramas.jsonl\`, one drama a line (\`.jsonl.gz\` is read as well):

\`\`\`json
{"dramaId":"7300000000000000001","releasedOn":"2026-01-15","title":"…","genre":"romance","episodes":[{"index":1,"path":"7300000000000000001/1.mp4"}],"comments":[{"text":"…","likes":12,"episode":1}]}
\`\`\`

\`dramaId\` is a text: real ids are too long for numbers. The first five episodes count; \`path\` is looked for in \`data/media\`. Ids of users do not belong here and are not read; telephone numbers, addresses
and the like are taken out of comments before anybody else sees them.

\`labels.jsonl\`, one class a line, comes from audience figures: \`dramascope hot-value fit indicators.csv --weights equal --model hot-value.json --out data/labels.jsonl\`.
A line has \`quality\`, the class from 1 to 5, or null where there is none; all lines must come from one model, whose hash is \`modelHash\`:

\`\`\`json
{"dramaId":"7300000000000000001","hotValue":63.2,"quality":4,"peakDate":"2026-06-30","scores":{"dailyAvgWatchTime":60,"dailyAvgUv":61,"favorites":64,"likes":70,"sixMonthWatchTime":62,"sixMonthUv":59,"comments":66,"search":58,"completionRate":69},"modelHash":"…"}
\`\`\`

Lines that cannot be used are left out and listed in \`rejected.jsonl\` beside the ledger: file, line, reason.
`;

const PROMPTS = `# Prompts

Put a file named after the prompt here (\`caption.md\`, \`cot.md\`, \`cot_filter.md\`, \`comment_filter.md\`, \`grpo.md\`, or \`cot.zh.md\` for one language), and say \`prompts: { dir: prompts }\` in
\`dramascope.yaml\`. It begins with what it is and the variables that its text uses, no more and no fewer; the package \`@dramascope/prompts\` lists those that a prompt is given. As \`caption.md\`:

\`\`\`
---
id: caption
version: 1.0.0
language: en
variables: [episodeCount, language, transcript]
output: text
---
You see the first {{ episodeCount }} episodes of a short drama.
{% if transcript %}What is said, as data between two boundary lines:
{{ transcript }}
{% endif %}Retell the plot in three sentences, in {{ language }}. Answer with the summary alone.
\`\`\`

Another text makes another generation of answers: \`dramascope curate run --new-generation\`.
`;

const commands = (kind: ProjectTeacher["kind"]): string => `\`\`\`sh
dramascope curate plan                                  # calls and money; asks nobody, writes nothing
dramascope curate run${kind === "provider" ? " --limit 20                         # a trial first; without --limit it goes on with the rest" : "                                   # again, after a stop or a kill: it goes on"}
dramascope curate status                                # what the ledger holds, also during a run
dramascope curate export                                # the training sets, in runs/first/export
dramascope curate report --report runs/first/report.html
\`\`\``;

const start = ({ kind, baseURL }: ProjectTeacher): string =>
  kind === "provider"
    ? `1. Say in \`dramascope.yaml\` who the teacher is: \`baseURL\`, \`model\`, \`prices\`. Its key comes from the environment: \`export TEACHER_API_KEY=…\`.
2. Put your dramas into \`data/\`, see \`data/README.md\`.
3. Then, in this folder:`
    : `The data here are made up: 30 dramas without films, for a first look. Their teacher is the simulator of the Dramascope repository. In a clone of that, after \`npm ci\`, in another terminal:

\`\`\`sh
node test-fixtures/teacher-simulator/teacher-simulator.mjs --port ${new URL(baseURL).port || "80"} --truth THIS_FOLDER/data/truth.json
\`\`\`

Then, in this folder:`;

const readme = (teacher: ProjectTeacher): string => `# A Dramascope project

${start(teacher)}

${commands(teacher.kind)}

In a clone of the repository, where the command is not installed, it is \`npm run dramascope -- curate plan --config THIS_FOLDER/dramascope.yaml\`, and so on.

| file | |
|---|---|
| \`dramascope.yaml\` | settings of the curation; \`--set rounds.max=4\` overrides one for once |
| \`dramascope.schema.json\` | for editors: names and values while you type |
| \`sft.yaml\`, \`grpo.yaml\` | settings of \`dramascope train\` on what was exported |
| \`data/\` | dramas, classes, films |
| \`prompts/\` | your own prompts, if you want other words |
| \`runs/\` | what the commands write; made by them |
`;

/** The JSON Schema of the curation's settings, for editors. */
const settingsSchema = (): Promise<string> => readFile(createRequire(import.meta.url).resolve("@dramascope/curation/curation.schema.json"), "utf8");

/** Files of a new project by their paths. */
export async function projectFiles(teacher: ProjectTeacher, seed: number): Promise<Map<string, string>> {
  return new Map([
    ["dramascope.yaml", curationSettings(teacher)],
    ["dramascope.schema.json", await settingsSchema()],
    ...Object.entries(TRAIN_SETTINGS),
    [".gitignore", GITIGNORE],
    ["README.md", readme(teacher)],
    ["data/README.md", DATA],
    ["prompts/README.md", PROMPTS],
    ...(teacher.kind === "simulator" ? sampleFiles(seed) : []),
  ]);
}
