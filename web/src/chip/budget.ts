/** What a library needs of a chip; the figures are those of `openpfn export budget`. */

export type Backend = "f32" | "int8" | "int";

/** budgets.json, written by Python: lists by classes from 2, or by features from 1. */
export interface Budgets {
  chips: Record<string, { flash: number; ram: number; fpu: boolean }>;
  code: { fpu: number; soft: number };
  instructions: Record<Backend, { fpu: number; soft: number }>;
  /** Multiply-adds per features: of fit and of fit with a row cache for one row, of a prediction. */
  operations: [number, number, number][];
  backends: Record<Backend, { weights: number[]; stack: number[]; context: number[][]; scratch: number[][] }>;
}

export interface Need {
  flash: number;
  weights: number;
  code: number;
  ram: number;
  context: number;
  scratch: number;
  stack: number;
  fitInstructions: number;
  predictInstructions: number;
  rowBytes: number;
}

export function need(
  budgets: Budgets,
  backend: Backend,
  [rows, features, classes]: [number, number, number],
  hasFpu: boolean,
): Need {
  const of = budgets.backends[backend];
  const core = hasFpu ? "fpu" : "soft";
  const [k, d] = [classes - 2, features - 1];
  const weights = of.weights[k];
  const code = budgets.code[core];
  const [context, scratch, stack] = [of.context[k][d], of.scratch[k][d], of.stack[k]];
  const [fit, , predict] = budgets.operations[d];
  const perPair = budgets.instructions[backend][core];
  return {
    flash: weights + code,
    weights,
    code,
    ram: context + scratch + stack,
    context,
    scratch,
    stack,
    fitInstructions: rows * fit * perPair,
    predictInstructions: predict * perPair,
    rowBytes: rows * 4 * (features + 1),
  };
}
