/** The five classes, lowest first. */
export const LABELS = [1, 2, 3, 4, 5] as const;

/** Class of a real-valued prediction: rounded, halves up, within 1 … 5. NaN stays NaN, which equals no class. */
export const classOf = (prediction: number): number => Math.min(5, Math.max(1, Math.floor(prediction + 0.5)));

/** True for one of the five classes. */
export const isLabel = (value: unknown): value is (typeof LABELS)[number] => LABELS.includes(value as 1);

/** A calibrated class on the scale from 1 to 5; a line may leave it at its ends. */
export const withinClasses = (value: number): number => Math.min(5, Math.max(1, value));
