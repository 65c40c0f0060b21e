/** Words of a CSV file: its header, and one row per line. */

/** An error that the person at the page can mend; its message says how. */
export class PlainError extends Error {}

export interface Words {
  name: string;
  header: string[];
  /** Rows of as many words as the header; an empty word is a missing value. */
  rows: string[][];
}

const SEPARATORS = [",", ";", "\t", "|"];

/** Read the text of a CSV or TSV file, whatever separates its fields. */
export function readCsv(text: string, name: string): Words {
  const body = text.replace(/^\uFEFF/, "");
  if (body.trim() === "") {
    throw new PlainError(
      `${name} is empty. Choose a CSV file with a line of column names and rows below it.`,
    );
  }
  if (/[\u0000-\u0008]/.test(body.slice(0, 4096))) {
    throw new PlainError(
      `${name} is not text. Choose a CSV or TSV file; save a spreadsheet as CSV first.`,
    );
  }
  const separator = separatorOf(body);
  const lines = fieldsOf(body, separator).filter((row) => row.length > 1 || row[0] !== "");
  const names = (lines[0] ?? []).map((word) => word.trim());
  const rows = lines.slice(1);
  if (rows.length === 0) {
    throw new PlainError(`${name} has column names but no rows. Choose a file with rows below them.`);
  }
  const longer = rows.findIndex((row) => row.slice(names.length).some((word) => word !== ""));
  if (longer >= 0) {
    throw new PlainError(
      `Row ${longer + 1} of ${name} has ${rows[longer].length} fields, but the header names` +
        ` ${names.length} columns. Correct the row, or quote fields that hold the separator.`,
    );
  }
  const kept = names
    .map((_, column) => column)
    .filter((column) => names[column] !== "" || rows.some((row) => (row[column] ?? "") !== ""));
  const header = kept.map((column) => names[column] || `column ${column + 1}`);
  const repeated = header.find((word, column) => header.indexOf(word) !== column);
  if (repeated !== undefined) {
    throw new PlainError(`${name} has more than one column "${repeated}". Rename one of them.`);
  }
  return {
    name,
    header,
    rows: rows.map((row) => kept.map((column) => (row[column] ?? "").trim())),
  };
}

/** The separator that the header holds most of, outside quotes. */
function separatorOf(text: string): string {
  const header = firstLine(text).replace(/"[^"]*"/g, "");
  const counts = SEPARATORS.map((separator) => header.split(separator).length);
  return SEPARATORS[counts.indexOf(Math.max(...counts))];
}

function firstLine(text: string): string {
  const end = text.search(/[\r\n]/);
  return end < 0 ? text : text.slice(0, end);
}

function fieldsOf(text: string, separator: string): string[][] {
  const rows: string[][] = [];
  let row: string[] = [];
  let at = 0;
  while (at <= text.length) {
    let word: string;
    if (text[at] === '"') {
      const end = closingQuote(text, at + 1);
      word = text.slice(at + 1, end).replace(/""/g, '"');
      at = end + 1;
      while (at < text.length && !isEnd(text[at], separator)) at++;
    } else {
      const start = at;
      while (at < text.length && !isEnd(text[at], separator)) at++;
      word = text.slice(start, at);
    }
    row.push(word);
    if (text[at] !== separator) {
      rows.push(row);
      row = [];
      if (text[at] === "\r" && text[at + 1] === "\n") at++;
      if (at >= text.length) break;
    }
    at++;
  }
  const last = rows[rows.length - 1];
  if (last !== undefined && last.length === 1 && last[0] === "") rows.pop();
  return rows;
}

function isEnd(sign: string, separator: string): boolean {
  return sign === separator || sign === "\n" || sign === "\r";
}

function closingQuote(text: string, from: number): number {
  let at = from;
  for (;;) {
    const quote = text.indexOf('"', at);
    if (quote < 0) return text.length;
    if (text[quote + 1] !== '"') return quote;
    at = quote + 2;
  }
}

/** `rows` as the text of a CSV file. */
export function writeCsv(header: string[], rows: (string | number)[][]): string {
  const field = (value: string | number) =>
    typeof value === "number" || !/[",\r\n]/.test(value)
      ? String(value)
      : `"${value.replace(/"/g, '""')}"`;
  return [header, ...rows].map((row) => row.map(field).join(",") + "\r\n").join("");
}
