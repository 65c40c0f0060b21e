/** What the page asks of its worker, and what that answers. */
import type { NetworkName } from "../network/networks";

/** Labelled rows that networks are shown. */
export interface Shown {
  id: number;
  x: Float64Array;
  y: Float64Array;
  n: number;
  d: number;
  isCategory: boolean[];
  /** 0 where the targets are numbers. */
  nClasses: number;
}

export interface Answers {
  /** Probabilities of classes, or quantiles of numbers: (n, width). */
  outputs: Float64Array;
  width: number;
  /** Context rows that were shown. */
  nContext: number;
  milliseconds: { fit: number; predict: number };
}

export interface HeldOut extends Answers {
  /** The rows that were held out, in the order of `outputs`. */
  rows: Int32Array;
  nFits: number;
}

export interface Importance {
  /** Mean rise of the loss, per column, when its values are shuffled; and its standard error. */
  rise: Float64Array;
  error: Float64Array;
  /** Loss with all columns in place. */
  loss: number;
  nRows: number;
}

export interface StateOf {
  bytes: Uint8Array;
  stateBytes: number;
  nLayers: number;
  nColumns: number;
  answers: Answers;
}

/** Jobs by name: what each takes, and what it gives. */
export interface Jobs {
  show: { takes: { shown: Shown }; gives: null };
  load: { takes: { network: NetworkName }; gives: { milliseconds: number } };
  predict: { takes: { network: NetworkName; id: number; x: Float64Array }; gives: Answers };
  /** With `most`, one split of at most so many context rows and held-out rows. */
  heldOut: {
    takes: { network: NetworkName; id: number; most?: [number, number] };
    gives: HeldOut;
  };
  importance: { takes: { network: NetworkName; id: number }; gives: Importance };
  /** Show the first `nContext` of the rows `order`, then ask about `x`. */
  state: {
    takes: { network: NetworkName; id: number; order: Int32Array; nContext: number; x: Float64Array };
    gives: StateOf;
  };
}

export type JobName = keyof Jobs;

export interface Request<K extends JobName = JobName> {
  key: number;
  job: K;
  /** A newer job of the same lane takes the place of an older one. */
  lane: string;
  takes: Jobs[K]["takes"];
  base: string;
}

export type Reply =
  | { key: number; gives: unknown }
  | { key: number; error: string }
  | { key: number; replaced: true }
  | { key: number; progress: number };
