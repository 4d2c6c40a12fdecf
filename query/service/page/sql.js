// SQL queries and named analyses, with results as a table, a plot or CSV.

import { el, empty, failure, fill, loading, say, select } from "./dom.js";
import { get, send } from "./api.js";
import { many, whole } from "./format.js";
import { note } from "./state.js";
import { scatter } from "./chart.js";
import { csv, save } from "./csv.js";

// A link fills the form and never runs it: it may come from anybody.

const ROWS = 1000; // shown; the CSV holds all that came
const NUMBER = /int|float|double|decimal|real/i;
const EXAMPLE = "SELECT view, min(distance) AS nearest, median(distance) AS middle\nFROM nearest_generated\nWHERE NOT blank\nGROUP BY view\nORDER BY view";

export async function show(context) {
  const { root, run, params, signal } = context;
  const { analyses } = await get("/v1/analyses", {}, signal);
  const box = el("textarea", { id: "query", rows: 7, spellcheck: "false", autocapitalize: "off", "aria-describedby": "sql-hint", on: { keydown: (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); ask(); }
  } } });
  box.value = params.get("query") ?? EXAMPLE;
  const brought = params.has("query") || params.has("analysis");
  const result = el("div", { class: "result", "aria-live": "polite" }, brought && el("p", { class: "soft", id: "brought" }, "This query came with the link. Read it, then press Run."));
  const chosen = el("div", { class: "analysis" });
  let latest = 0;

  const ask = () => {
    note({ query: box.value, analysis: null, ...nothing(analyses) });
    answer(() => send("POST", "/v1/sql", { query: box.value }, { signal }));
  };

  async function answer(asking) {
    const mine = ++latest;
    fill(result, loading("Running"));
    try {
      const table = await asking();
      if (mine === latest) showTable(result, table);
    } catch (error) {
      if (mine === latest && error.name !== "AbortError") fill(result, failure(error));
    }
  }

  function pick(name) {
    const analysis = analyses.find((one) => one.name === name);
    if (!analysis) {
      fill(chosen);
      return;
    }
    const inputs = Object.entries(analysis.parameters).map(([key, value]) => [key, el("input", { name: key, value: params.get(`p.${key}`) ?? (key === "run" ? run : value) ?? "", size: 10 })]);
    const submit = (event) => {
      event.preventDefault();
      const values = Object.fromEntries(inputs.filter(([, input]) => input.value !== "").map(([key, input]) => [key, input.value]));
      note({ analysis: name, query: null, ...nothing(analyses), ...Object.fromEntries(Object.entries(values).map(([key, value]) => [`p.${key}`, value])) });
      answer(() => send("POST", `/v1/analyses/${name}`, { parameters: values }, { signal }));
    };
    fill(chosen, el("p", {}, analysis.question), el("form", { class: "row", on: { submit } },
      inputs.map(([key, input]) => el("label", { class: "field" }, el("span", {}, key), input)),
      el("button", { type: "submit", class: "primary", id: "analyse" }, "Run")));
  }

  const wanted = params.get("analysis") ?? "";
  pick(wanted);
  fill(root,
    el("div", { class: "head" }, el("h1", {}, "SQL"), el("p", { class: "soft", id: "sql-hint" }, "One SELECT on the database, read-only. Ctrl+Enter runs it.")),
    el("div", { class: "ask" },
      el("section", { class: "sheet", "aria-label": "Named analyses" },
        select("Named analysis", [["", "choose an analysis"], ...analyses.map(({ name }) => [name, name])], wanted, pick), chosen),
      el("section", { class: "sheet own", "aria-label": "SQL query" },
        el("label", { for: "query", class: "small soft" }, "SQL query"), box,
        el("div", { class: "row" }, el("button", { type: "button", class: "primary", id: "ask", on: { click: ask } }, "Run"),
          el("span", { class: "soft small" }, "Tables: images, neighbours, scores, decisions, matches, labels, histograms. Views: nearest_generated, nearest_source, source_map.")))),
    result);
}

/** Forgets the parameters of every analysis in the address. */
function nothing(analyses) {
  return Object.fromEntries(analyses.flatMap(({ parameters }) => Object.keys(parameters).map((key) => [`p.${key}`, null])));
}

function showTable(result, table) {
  const { columns, rows, truncated, seconds } = table;
  const name = "synthtrace.csv";
  if (!columns.length) {
    fill(result, empty("The query returned no table"));
    return;
  }
  const more = rows.length > ROWS ? `, the first ${whole(ROWS)} shown` : "";
  fill(result,
    el("div", { class: "head" },
      el("p", {}, el("b", { id: "rows" }, many(rows.length, "row")), `${truncated ? "+ (truncated by the service)" : ""}${more}; ${seconds.toFixed(2)} s`),
      el("button", { type: "button", on: { click: () => { save(name, new Blob([csv(columns.map((one) => one.name), rows)], { type: "text/csv" })); say(`${many(rows.length, "row")} saved`); } } }, "Save as CSV")),
    chart(table),
    rows.length ? el("div", { class: "scroll sheet", tabindex: 0, role: "region", "aria-label": "Result" }, el("table", { class: "answer" },
      el("thead", {}, el("tr", {}, columns.map(({ name: title, type }) => el("th", { scope: "col", class: NUMBER.test(type) ? "number" : null, title: type }, title)))),
      el("tbody", {}, rows.slice(0, ROWS).map((row) => el("tr", {}, row.map((value, i) => el("td", { class: NUMBER.test(columns[i].type) ? "number" : null }, cell(value))))))))
      : empty("No rows"));
}

/** A picture of two columns, where there are numbers to draw. */
function chart({ columns, rows }) {
  const numbers = columns.map((_, i) => i).filter((i) => NUMBER.test(columns[i].type));
  if (!numbers.length || rows.length < 2) return null;
  const host = el("div", { class: "plot" });
  let [x, y] = numbers.length > 1 ? [numbers[0], numbers[1]] : [numbers[0] === 0 ? columns.length - 1 : 0, numbers[0]];
  const options = (indices) => indices.map((i) => [String(i), columns[i].name]);
  const draw = () => {
    fill(host);
    const complete = rows.filter((row) => row[x] !== null && row[y] !== null);
    if (!host.clientWidth || !complete.length) return;
    const text = !NUMBER.test(columns[x].type);
    scatter(host, {
      xs: complete.map((row, i) => (text ? i : Number(row[x]))), ys: complete.map((row) => Number(row[y])),
      labels: text ? complete.map((row) => String(row[x])) : null, xName: columns[x].name, yName: columns[y].name, height: 260,
    });
  };
  return el("details", { class: "sheet chart", on: { toggle: draw } }, el("summary", {}, "Plot two columns"),
    el("div", { class: "row" },
      select("x axis", options(columns.map((_, i) => i)), String(x), (value) => { x = Number(value); draw(); }),
      select("y axis", options(numbers), String(y), (value) => { y = Number(value); draw(); })),
    host);
}

function cell(value) {
  if (value === null) return el("span", { class: "soft" }, "null");
  if (typeof value === "number" && !Number.isInteger(value)) return String(Number(value.toPrecision(6)));
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
