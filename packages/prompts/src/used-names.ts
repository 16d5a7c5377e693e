import { refuseTemplate } from "./refuse-template.ts";

const EXPRESSION = /\{\{([^{}]*)\}\}|\{%([^{}%]*)%\}/gu;
const HINT = "Use {{ name }}, {% if name %} and {% endif %} only.";

/** Names that a body uses; anything but `{{ name }}`, `{% if name %}` and `{% endif %}` is refused. */
export function usedNames(body: string, where: string): Set<string> {
  const names = new Set<string>();
  for (const match of body.matchAll(EXPRESSION)) {
    const text = (match[1] ?? match[2]!).trim();
    const name = match[1] === undefined ? /^if\s+([A-Za-z]\w*)$/u.exec(text)?.[1] : /^([A-Za-z]\w*)$/u.exec(text)?.[1];
    if (name !== undefined) names.add(name);
    else if (!(match[1] === undefined && text === "endif")) refuseTemplate(where, `${match[0]} is not allowed`, HINT);
  }
  if (/\{[{%#]/u.test(body.replace(EXPRESSION, ""))) refuseTemplate(where, "it has an expression that is not closed or not allowed", HINT);
  return names;
}
