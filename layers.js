/** Every package, lowest layer first: a package may import only from those before it. */
export const layers = [
  "schema",
  "prompts",
  "hot-value",
  "video",
  "rewards",
  "evaluation",
  "chat-client",
  "tensorflow",
  "qwen-vl",
  "curation",
  "trainer",
  "assessor",
  "report",
  "cli",
];
