/** Text of a template file. */
export const ownTemplate = (body: string, front: Partial<Record<"id" | "version" | "language" | "variables" | "output", string>> = {}): string => {
  const { id = "t", version = "1.0.0", language = "en", variables = "[name]", output = "text" } = front;
  return `---\nid: ${id}\nversion: ${version}\nlanguage: ${language}\nvariables: ${variables}\noutput: ${output}\n---\n${body}\n`;
};
