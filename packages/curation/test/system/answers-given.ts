import type { Bench, SentRequest, Trial } from "./trial.ts";

/** Text of a request. */
export const textOf = ({ body }: SentRequest): string => body.messages.map(({ content }) => (typeof content === "string" ? content : content.map(({ text = "" }) => text).join("\n"))).join("\n");

/** The data of a request's one boundary block. */
export function blockOf(request: SentRequest): unknown {
  const json = /^(?<boundary>data-[0-9a-f]{16})\n(?<json>.*)\n\k<boundary>$/mu.exec(textOf(request))?.groups?.["json"];
  return json === undefined ? undefined : JSON.parse(json);
}

interface Given {
  request: SentRequest;
  content: string;
}

/** What the simulator has said in a trial, by task and drama: every request is made once more, with the same faults. */
async function answersGiven(bench: Bench, { requests }: Trial): Promise<Map<string, Given[]>> {
  const once = new Map<string, SentRequest>();
  for (const request of requests) {
    const { metadata: { attempt: _attempt, ...metadata }, max_tokens: _tokens, ...rest } = request.body;
    once.set(JSON.stringify([metadata, rest]), request);
  }
  const given = new Map<string, Given[]>();
  for (const request of once.values()) {
    const content = await bench.answerTo(request);
    const { task, drama_id: drama } = request.body.metadata;
    if (content !== null) given.set(`${task} ${drama}`, [...(given.get(`${task} ${drama}`) ?? []), { request, content }]);
  }
  return given;
}

const escaped = (text: string): string => JSON.stringify(text).slice(1, -1);

/** Whether an answer says so of one of its comments. */
function keeps({ request, content }: Given, comment: string): boolean {
  const items = blockOf(request) as { i: number; text: string }[];
  return items.some(({ i, text }) => text === comment && new RegExp(`"i":${i},"label":1\\b`, "u").test(content));
}

/** Texts, scores and labels of a trial's outcomes that no answer of the simulator's holds; none where nothing was invented. */
export async function invented(bench: Bench, trial: Trial): Promise<string[]> {
  const given = await answersGiven(bench, trial);
  const found: string[] = [];
  for (const [drama, { caption, comments, rounds }] of trial.outcomes) {
    const said = (task: string): Given[] => given.get(`${task} ${drama}`) ?? [];
    if (caption !== null && !said("caption").some(({ content }) => content.includes(caption))) found.push(`${drama} caption ${caption}`);
    for (const comment of comments) if (!said("comment_filter").some((one) => keeps(one, comment))) found.push(`${drama} keeps ${comment}`);
    for (const { round, think, predicted, votes } of rounds) {
      const samples = said("cot").filter(({ request }) => Number(request.body.metadata.round) === round);
      if (think !== null && !samples.some(({ content }) => content.includes(escaped(think)) && new RegExp(`"answer":"?${String(predicted)}\\b`, "u").test(content))) found.push(`${drama} round ${round} ${String(predicted)} ${think}`);
      const verdicts = said("cot_filter").filter(({ request }) => Number(request.body.metadata.round) === round);
      for (const vote of votes) if (!verdicts.some(({ content }) => content.includes(`"valid":${vote}`))) found.push(`${drama} round ${round} vote ${vote}`);
    }
  }
  return found;
}
