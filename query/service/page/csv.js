// Tables as CSV (RFC 4180), and files for the reader's disk. Cells are escaped as embeddings/files/spreadsheet.py does, which says why.

const HIDDEN =
  /[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufeff\uffa0\ufff0-\ufffb\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}]/gu;
const ESCAPE = /\\(?:x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})/g;
const BEFORE = "(?:[\\s'\"`]|\\\\x[0-9a-f]{2}|\\\\u[0-9a-f]{4}|\\\\U[0-9a-f]{8})*";
const EQUALS = "=@＝＠﹦﹫";
const DANGEROUS = new RegExp(`(?:^|(?<=;))(?=${BEFORE}(?:[${EQUALS}+＋－﹢﹣\\-]|\\\\x0[9ad]))|(?<=,)(?=${BEFORE}[${EQUALS}])`, "g");

/** Text of a header and rows: no spreadsheet runs a cell, and what cannot be seen is written as an escape. */
export function csv(header, rows) {
  return [header, ...rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

/** Hands a blob to the reader as a file. */
export function save(name, blob) {
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

/** As `escaped` in embeddings/files/spreadsheet.py. */
function escaped(text) {
  const literal = text.replace(ESCAPE, (found) => (stands(found) ? `\\x5c${found.slice(1)}` : found));
  return literal.replace(HIDDEN, written).replace(DANGEROUS, "'");
}

/** A hidden character as its escape. */
function written(character) {
  const code = character.codePointAt(0);
  const [letter, digits] = code < 0x80 ? ["x", 2] : code < 0x10000 ? ["u", 4] : ["U", 8];
  return `\\${letter}${code.toString(16).padStart(digits, "0")}`;
}

/** Whether an escape is one that stands for a hidden character or a backslash. */
function stands(found) {
  const code = Number.parseInt(found.slice(2), 16);
  if (code > 0x10ffff) return false;
  const character = String.fromCodePoint(code);
  return written(character) === found && (character === "\\" || character.search(HIDDEN) === 0);
}

function cell(value) {
  if (value === null || value === undefined) return "";
  const text = typeof value === "object" ? JSON.stringify(value) : String(value);
  const safe = typeof value === "string" ? escaped(text) : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
