import { requestOf, type StepAnswer, type StepShape, type StepSide } from "./grpo-side.ts";

/** How far two computations of the same gradients are apart. */
export interface GradientDifference {
  loss: number;
  /** Worst matrix: length of the difference over length of the gradient. */
  gradients: number;
}

function between(a: StepAnswer, b: StepAnswer): GradientDifference {
  const worst = Object.entries(a.gradients!).map(([name, values]) => {
    const others = b.gradients![name]!;
    const squares = values.reduce((sum, value) => sum + value * value, 0);
    return Math.sqrt(values.reduce((sum, value, i) => sum + (value - others[i]!) ** 2, 0) / squares);
  });
  return { loss: Math.abs(a.loss - b.loss), gradients: Math.max(...worst) };
}

/** What {@link compareGradients} found; `torch` is null without the peer. */
export interface GradientChecks {
  /** Our shared step against our unshared one. */
  unshared: GradientDifference;
  /** Our shared step in chunks of completions against all at once. */
  chunked: GradientDifference;
  /** Our shared step against torch's unshared one, weights and adapter being the same. */
  torch: GradientDifference | null;
  /** Largest gradient norm of ours: the differences would mean nothing at 0. */
  gradNorm: number;
  met: boolean;
}

const LIMIT = 1e-5;
/** Torch rounds in other places. */
const TORCH_LIMIT = 1e-4;

/** Gradients of one step, with ratios off 1, computed in every way. */
export async function compareGradients(ours: StepSide, torch: StepSide | null, shape: StepShape): Promise<GradientChecks> {
  const shared = await ours.ask(requestOf("gradients", "shared", shape));
  const unshared = between(shared, await ours.ask(requestOf("gradients", "unshared", shape)));
  const chunked = between(shared, await ours.ask(requestOf("gradients", "shared", { ...shape, chunk: 3 })));
  const other = torch === null ? null : between(shared, await torch.ask(requestOf("gradients", "unshared", shape)));
  const within = ({ loss, gradients }: GradientDifference, limit: number): boolean => loss < limit && gradients < limit;
  const met = shared.gradNorm > 1e-3 && within(unshared, LIMIT) && within(chunked, LIMIT) && (other === null || within(other, TORCH_LIMIT));
  return { unshared, chunked, torch: other, gradNorm: shared.gradNorm, met };
}
