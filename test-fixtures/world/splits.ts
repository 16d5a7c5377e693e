/** Divides labelled dramas: within each class, in order, so many to evaluation, SFT and GRPO. */
export interface SplitSizes {
  eval: number;
  sft: number;
  grpo: number;
}

/** Positions of each part, in order. */
export function splitByClass(classes: readonly number[], sizes: SplitSizes): Record<keyof SplitSizes, number[]> {
  const parts: Record<keyof SplitSizes, number[]> = { eval: [], sft: [], grpo: [] };
  for (const label of [1, 2, 3, 4, 5]) {
    const members = classes.flatMap((value, i) => (value === label ? [i] : []));
    const needed = sizes.eval + sizes.sft + sizes.grpo;
    if (members.length < needed) throw new Error(`class ${label} has ${members.length} dramas, ${needed} are needed`);
    parts.eval.push(...members.slice(0, sizes.eval));
    parts.sft.push(...members.slice(sizes.eval, sizes.eval + sizes.sft));
    parts.grpo.push(...members.slice(sizes.eval + sizes.sft, needed));
  }
  for (const list of Object.values(parts)) list.sort((a, b) => a - b);
  return parts;
}
