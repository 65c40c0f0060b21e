/** Kinds of columns, and their values as numbers; the rules are those of `openpfn.tables`. */
import { PlainError } from "./csv";

export type Kind = "numbers" | "categories" | "truth" | "dates" | "text" | "empty";

export interface Column {
  name: string;
  kind: Kind;
  /** Distinct values, missing ones not counted. */
  nDistinct: number;
  nMissing: number;
  /** Values that are not of this kind and count as missing, and one of them. */
  nOdd: number;
  odd: string;
  /** Categories by their code. */
  categories: string[];
  /** Sign before decimals. */
  decimal: "." | ",";
  /** Parts of a date beside the day. */
  parts: DatePart[];
}

type DatePart = "month" | "weekday" | "hour";

const MISSING = new Set(
  ["", "?", "-", ".", "na", "n/a", "#n/a", "nan", "null", "none", "<na>"],
);
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
const DATE = /^(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,6}))?)?Z?)?$/;
const MOST_CATEGORIES = 40;
const FEW_CATEGORIES = 10;
const MOST_ODD = 0.05;
const DAY = 86_400_000;

/** Whether a word says that a number is missing. */
export function isMissingNumber(word: string): boolean {
  return MISSING.has(word.toLowerCase());
}

/** The number that a word stands for; NaN where it is none. */
export function toNumber(word: string, decimal: "." | "," = "."): number {
  const plain = decimal === "," ? word.replace(",", ".") : word;
  if (!NUMBER.test(plain) || (decimal === "," && word.includes("."))) return NaN;
  return Number(plain);
}

/** How the column of these words is read. */
export function readColumn(name: string, words: string[]): Column {
  const counts = new Map<string, number>();
  for (const word of words) if (word !== "") counts.set(word, (counts.get(word) ?? 0) + 1);
  const column: Column = {
    name,
    kind: "empty",
    nDistinct: counts.size,
    nMissing: words.filter((word) => word === "").length,
    nOdd: 0,
    odd: "",
    categories: [],
    decimal: ".",
    parts: [],
  };
  if (counts.size === 0) return column;
  if ([...counts.keys()].every((word) => /^(true|false)$/i.test(word))) {
    return { ...column, kind: "truth", categories: ["false", "true"] };
  }
  const numeric = asNumbers(column, counts);
  if (numeric.nOdd === 0 || isFew(numeric, words.length)) return numeric;
  if ([...counts.keys()].every((word) => isMissingNumber(word) || !Number.isNaN(toTime(word)))) {
    return asDates(column, counts);
  }
  const few =
    counts.size <= FEW_CATEGORIES ||
    counts.size <= Math.min(MOST_CATEGORIES, (words.length - column.nMissing) / 2);
  if (!few) return { ...column, kind: "text" };
  return { ...column, kind: "categories", categories: inOrder([...counts.keys()]) };
}

function isFew(column: Column, nRows: number): boolean {
  return column.nDistinct > FEW_CATEGORIES && column.nOdd <= MOST_ODD * nRows;
}

function asNumbers(column: Column, counts: Map<string, number>): Column {
  const trials = ([".", ","] as const).map((decimal) => {
    let nOdd = 0;
    let nGone = 0;
    let odd = "";
    let nDistinct = 0;
    for (const [word, n] of counts) {
      if (isMissingNumber(word)) nGone += n;
      else if (Number.isNaN(toNumber(word, decimal))) {
        nOdd += n;
        odd = odd === "" || word < odd ? word : odd;
      } else nDistinct++;
    }
    const nMissing = column.nMissing + nGone;
    return { ...column, kind: "numbers" as const, decimal, nOdd, odd, nDistinct, nMissing };
  });
  return trials[1].nOdd < trials[0].nOdd ? trials[1] : trials[0];
}

function asDates(column: Column, counts: Map<string, number>): Column {
  const times = [...counts.keys()].map(toTime).filter((time) => !Number.isNaN(time));
  const parts = (Object.keys(PARTS) as DatePart[]).filter(
    (part) => new Set(times.map(PARTS[part])).size > 1,
  );
  return { ...column, kind: "dates", nDistinct: times.length, parts };
}

const PARTS: Record<DatePart, (time: number) => number> = {
  month: (time) => new Date(time).getUTCMonth() + 1,
  weekday: (time) => (((Math.floor(time / DAY) + 3) % 7) + 7) % 7,
  hour: (time) => new Date(time).getUTCHours(),
};

/** Milliseconds since 1970 of a date such as 2024-12-31 or 2024-12-31 18:30; else NaN. */
function toTime(word: string): number {
  const found = DATE.exec(word);
  if (!found) return NaN;
  const [year, month, day, hour, minute, second] = found.slice(1, 7).map((part) => Number(part ?? 0));
  const time = Date.UTC(year, month - 1, day, hour, minute, second);
  const back = new Date(time);
  const isReal = back.getUTCMonth() === month - 1 && back.getUTCDate() === day;
  return isReal ? time + Number(`0.${found[7] ?? 0}`) * 1000 : NaN;
}

/** Categories by the alphabet, numbers among them first and by size. */
function inOrder(words: string[]): string[] {
  return words.sort((a, b) => {
    const [x, y] = [toNumber(a), toNumber(b)];
    if (Number.isNaN(x) !== Number.isNaN(y)) return Number.isNaN(x) ? 1 : -1;
    if (!Number.isNaN(x) && x !== y) return x - y;
    return a < b ? -1 : a > b ? 1 : 0;
  });
}

/** What the network is shown of a column: one or more features. */
export interface Feature {
  name: string;
  /** The column it comes from. */
  column: string;
  isCategory: boolean;
  /** Names of its codes; empty for numbers. */
  categories: string[];
  read(word: string): number;
}

/** The features of a column; none for text and for columns without values. */
export function featuresOf(column: Column): Feature[] {
  const { name } = column;
  if (column.kind === "numbers") {
    const read = (word: string) => {
      const value = isMissingNumber(word) ? NaN : toNumber(word, column.decimal);
      if (Math.abs(value) === Infinity) {
        throw new PlainError(`Column "${name}" holds ${word}, too large a number. Leave it empty.`);
      }
      return value;
    };
    return [{ name, column: name, isCategory: false, categories: [], read }];
  }
  if (column.kind === "categories" || column.kind === "truth") {
    const isTruth = column.kind === "truth";
    const place = new Map(column.categories.map((word, code) => [word, code]));
    const read = (word: string) => place.get(isTruth ? word.toLowerCase() : word) ?? NaN;
    return [{ name, column: name, isCategory: true, categories: column.categories, read }];
  }
  if (column.kind === "dates") {
    const feature = (part: string, of: (time: number) => number): Feature => ({
      name: part === "" ? name : `${name} (${part})`,
      column: name,
      isCategory: false,
      categories: [],
      read: (word) => of(toTime(word)),
    });
    const day = feature("", (time) => time / DAY);
    return [day, ...column.parts.map((part) => feature(part, PARTS[part]))];
  }
  return [];
}
