/** A task: rows as numbers, and the classes or numbers that are to be predicted. */
import { Column, Feature, featuresOf, isMissingNumber, readColumn, toNumber } from "./columns";
import { PlainError, Words } from "./csv";

export const MOST_CLASSES = 10;
export const MOST_FEATURES = 64;
export const TRAINED_FEATURES = 32;
export const FEWEST_ROWS = 8;

export interface Task {
  name: string;
  target: string;
  predicts: "classes" | "numbers";
  features: Feature[];
  /** Names of the classes, sorted; empty where numbers are predicted. */
  classes: string[];
  /** Values of the labelled rows, row by row. */
  x: Float64Array;
  /** Class or number of each labelled row. */
  y: Float64Array;
  n: number;
  /** Values of the rows whose target is empty, and where they stand in the file. */
  asked: Float64Array;
  askedRows: number[];
  /** What a person should know: columns left out, values that cannot be read. */
  notes: string[];
}

/** Which kind of target the words of a column make, if nothing else is said. */
export function naturalKind(column: Column): "classes" | "numbers" {
  return column.kind === "numbers" && column.nDistinct > MOST_CLASSES ? "numbers" : "classes";
}

/** The column that is most likely the one to predict: one named so, or else the last. */
export function likelyTarget(columns: Column[]): string {
  const usual = /^(target|label|class|y|outcome|species)$/i;
  const named = columns.find((column) => usual.test(column.name));
  return (named ?? columns[columns.length - 1]).name;
}

export function columnsOf(words: Words): Column[] {
  return words.header.map((name, i) => readColumn(name, words.rows.map((row) => row[i])));
}

/** The task of predicting `target` from the other columns but `left`. */
export function taskOf(
  words: Words,
  columns: Column[],
  target: string,
  predicts: "classes" | "numbers",
  left: Set<string> = new Set(),
): Task {
  const place = words.header.indexOf(target);
  if (place < 0) throw missingColumn(target, words);
  if (words.header.length < 2) {
    throw new PlainError(
      `${words.name} has one column alone, "${target}". It takes a target and at least one other` +
        ` column, separated by commas, semicolons or tabs.`,
    );
  }
  const notes: string[] = [];
  const used = columns.filter((column) => column.name !== target && !left.has(column.name));
  for (const column of used) notes.push(...notesOn(column));
  const isKnown = (row: string[]) =>
    predicts === "classes" ? row[place] !== "" : !isMissingNumber(row[place]);
  const known = words.rows.filter(isKnown);
  const unknown = words.rows.map((_, i) => i).filter((i) => !isKnown(words.rows[i]));
  const targets =
    predicts === "classes" ? classTargets(words, place, known) : numberTargets(words, place, known);
  const features = varying(used.flatMap(featuresOf), known, words);
  if (features.length === 0) {
    throw new PlainError(
      `Beside "${target}", no column of ${words.name} has values that vary and can be read as` +
        ` numbers, categories or dates. Keep at least one such column.`,
    );
  }
  if (features.length > MOST_FEATURES) {
    throw new PlainError(
      `${words.name} has ${features.length} columns beside "${target}"; this page reads at most` +
        ` ${MOST_FEATURES}. Leave some of them out, by the boxes in the list of columns.`,
    );
  }
  if (features.length > TRAINED_FEATURES) {
    notes.push(
      `${features.length} columns: tiny was trained on at most ${TRAINED_FEATURES}. It answers, with` +
        ` less to go by.`,
    );
  }
  if (known.length < FEWEST_ROWS) {
    throw new PlainError(
      `${words.name} has ${known.length} rows with a value of "${target}"; it takes at least` +
        ` ${FEWEST_ROWS}.`,
    );
  }
  const asked = unknown.map((i) => words.rows[i]);
  return {
    name: words.name,
    target,
    predicts,
    features,
    ...targets,
    x: valuesOf(known, features, words),
    n: known.length,
    asked: valuesOf(asked, features, words),
    askedRows: unknown,
    notes,
  };
}

/** The rows of another file, as a task's network is asked about them. */
export function askedOf(words: Words, task: Task): Float64Array {
  for (const feature of task.features) {
    if (!words.header.includes(feature.column)) throw missingColumn(feature.column, words);
  }
  return valuesOf(words.rows, task.features, words);
}

function missingColumn(name: string, words: Words): PlainError {
  const columns = words.header.slice(0, 12).join(", ");
  const more = words.header.length > 12 ? ` and ${words.header.length - 12} more` : "";
  return new PlainError(
    `${words.name} has no column "${name}". Its columns are ${columns}${more}. Rename one of them,` +
      ` or choose the file that belongs to this table.`,
  );
}

function notesOn(column: Column): string[] {
  if (column.kind === "text") {
    const what = `${column.nDistinct} different words`;
    return [`"${column.name}" holds text (${what}) and is left out; openpfn in Python reads it.`];
  }
  if (column.kind === "empty") return [`"${column.name}" has no values and is left out.`];
  if (column.nOdd > 0) {
    const what = column.nOdd === 1 ? "1 value is" : `${column.nOdd} values are`;
    return [`"${column.name}": ${what} no number and count as missing, such as "${column.odd}".`];
  }
  return [];
}

function classTargets(words: Words, place: number, known: string[][]) {
  const target = words.header[place];
  const classes = [...new Set(known.map((row) => row[place]))].sort((a, b) =>
    a < b ? -1 : a > b ? 1 : 0,
  );
  if (classes.length === 0) {
    throw new PlainError(`Column "${target}" is empty in every row. Choose another target.`);
  }
  if (classes.length === 1) {
    throw new PlainError(
      `Every row has the same value of "${target}", "${classes[0]}": there is nothing to tell` +
        ` apart. Choose another target.`,
    );
  }
  if (classes.length > MOST_CLASSES) {
    const isNumbers = known.every((row) => !Number.isNaN(toNumber(row[place])));
    throw new PlainError(
      `"${target}" has ${classes.length} different values; the networks tell at most` +
        ` ${MOST_CLASSES} classes apart. ` +
        (isNumbers
          ? `Predict it as a number, or choose another target.`
          : `Choose another target, or join some of its classes.`),
    );
  }
  const code = new Map(classes.map((name, i) => [name, i]));
  return { classes, y: Float64Array.from(known, (row) => code.get(row[place]) as number) };
}

function numberTargets(words: Words, place: number, known: string[][]) {
  const column = readColumn(words.header[place], words.rows.map((row) => row[place]));
  const y = Float64Array.from(known, (row) => toNumber(row[place], column.decimal));
  const odd = y.findIndex((value) => !Number.isFinite(value));
  if (odd >= 0) {
    throw new PlainError(
      `"${column.name}" holds "${known[odd][place]}", which is no number. Predict it as classes,` +
        ` choose another target, or correct the value.`,
    );
  }
  if (known.length === 0) {
    throw new PlainError(`Column "${column.name}" is empty in every row. Choose another target.`);
  }
  if (new Set(y).size === 1) {
    throw new PlainError(
      `Every row has the same number in "${column.name}", ${y[0]}: there is nothing to predict.` +
        ` Choose another target.`,
    );
  }
  return { classes: [] as string[], y };
}

function valuesOf(rows: string[][], features: Feature[], words: Words): Float64Array {
  const places = features.map((feature) => words.header.indexOf(feature.column));
  const out = new Float64Array(rows.length * features.length);
  rows.forEach((row, i) =>
    features.forEach((feature, j) => {
      out[i * features.length + j] = feature.read(row[places[j]]);
    }),
  );
  return out;
}

/** The features with at least two different values among these rows; missing counts as one. */
function varying(features: Feature[], rows: string[][], words: Words): Feature[] {
  return features.filter((feature) => {
    const place = words.header.indexOf(feature.column);
    const first = feature.read(rows[0]?.[place] ?? "");
    return rows.some((row) => !Object.is(feature.read(row[place]), first));
  });
}
