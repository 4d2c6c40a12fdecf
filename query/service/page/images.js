// The table of images: filtered, sorted and cut into pages by the service.

import { choice, el, empty, failure, fill, focused, refocus, select } from "./dom.js";
import { MATCH_VALUE, MEMBERSHIPS, NOT_CALIBRATED, distance, figure, many, meaning, range, whole } from "./format.js";
import { note } from "./state.js";
import { about, rankings, reference, viewOf } from "./run.js";
import * as card from "./card.js";
import * as keys from "./keys.js";
import * as lists from "./list.js";

const PAGE = 50;
const ANSWERS = ["used", "patient used", "no trace found", "undecided"];
const LABELS = ["copy", "similar", "unrelated"];

export async function show(context) {
  const { root, run, params, signal } = context;
  const info = await about(run);
  const view = viewOf(rankings(info), params.get("view"));
  const state = { list: lists.asked(params, view), view, offset: Number(params.get("offset")) || 0 };
  const table = el("div", { class: "sheet table" });
  const counted = el("p", { class: "soft", role: "status", id: "counted" });
  const filters = el("div", { class: "row filters" });
  let latest = 0;
  lists.forget();

  async function load() {
    const mine = ++latest;
    table.setAttribute("aria-busy", "true");
    try {
      const found = await lists.fresh(state.list, { run, view: state.view, offset: state.offset, limit: PAGE, signal });
      if (mine !== latest) return;
      fill(counted, `${many(found.total, `${state.list.role} image`)}${filtered(state.list) ? ` of ${whole(info.images[state.list.role])} match the filters` : ""}`);
      fill(table, found.total ? rows(found, info, state, run, change) : empty("No image matches these filters", el("button", { type: "button", on: { click: clear } }, "Clear filters")),
        found.total > PAGE && pages(found.total, state.offset, (offset) => change({}, { offset })));
    } catch (error) {
      if (mine === latest && error.name !== "AbortError") fill(table, failure(error, load));
    } finally {
      if (mine === latest) table.removeAttribute("aria-busy");
    }
  }

  /** Changes the list or its place in the address, and loads it; the focus stays where it was. */
  async function change(list, rest = {}) {
    Object.assign(state.list, list);
    Object.assign(state, { offset: 0, ...rest });
    note({ ...lists.short(state.list, state.view), view: state.view, offset: state.offset || null });
    const key = focused();
    await load();
    if (document.activeElement === document.body) refocus(key);
  }

  function clear() {
    change({ search: "", membership: "", answer: "", review: "" });
    fill(filters, ...controls(info, state, change));
  }

  fill(filters, ...controls(info, state, (list) => { change(list); if (list.role) fill(filters, ...controls(info, state, change)); }));
  fill(root, el("div", { class: "head" }, el("h1", {}, "Images"), counted), filters, table);
  keys.bind({ j: () => step(table, 1), k: () => step(table, -1) });
  await load();
}

function filtered(list) {
  return list.search || list.membership || list.answer || list.review;
}

function controls(info, { list, view }, change) {
  const any = (words) => [["", words]];
  const pick = (name) => (value) => change({ [name]: value });
  let timer;
  const search = el("input", { type: "search", value: list.search, placeholder: "part of the name", on: { input: (event) => {
    clearTimeout(timer);
    timer = setTimeout(() => change({ search: event.target.value.trim() }), 200);
  } } });
  const real = list.role === "real";
  return [
    choice("Side", [["real", "Real"], ["generated", "Generated"]], list.role,
      (role) => change({ role, membership: "", answer: "", ...lists.usual(view) })),
    el("label", { class: "field" }, el("span", {}, "Name"), search),
    real && select("Membership", [...any("all"), ...MEMBERSHIPS.map((word) => [word, word])], list.membership, pick("membership")),
    real && info.methods.length > 0 && select("Prediction", [...any("all"), ...ANSWERS.map((word) => [word, word])], list.answer, pick("answer")),
    select("Review of the nearest pair", [...any("all"), ["none", "not reviewed"], ...LABELS.map((word) => [word, word])], list.review, pick("review")),
  ].filter(Boolean);
}

/** The columns: a name, what it sorts by (null: by nothing), and the cell of an image. */
function columns(info, state, run) {
  const { list, view, offset } = state;
  const real = list.role === "real";
  const primary = info.methods.find((method) => method.primary);
  const views = rankings(info);
  const link = (image, at, by) => card.pairLink(image, by, { ...lists.short(list, by), run, at: offset + at });
  const decided = (key) => (image) => number(figure(image.decision?.[key]));
  return [
    { name: "Image", sort: "name", cell: (image, at) => nameCell(image, run, link(image, at, view)) },
    real && { name: "Membership", sort: "membership", cell: (image) => el("td", {}, card.tag(image.membership)) },
    ...views.map((by) => ({ name: by, title: meaning(by, info), sort: "distance", view: by, class: by === view ? "chosen" : "other", cell: (image, at) => nearestCell(image, by, run, link(image, at, by)) })),
    real && primary && { name: "Value", hint: primary.calibrated ? primary.method : `${primary.method}, ${NOT_CALIBRATED}`, sort: "value", number: true, class: "rest", cell: decided("value") },
    real && primary && { name: "p", hint: "and q", sort: "p_value", number: true, class: "fine", cell: (image) => number(figure(image.decision?.p_value), figure(image.decision?.q_value)) },
    real && primary && { name: "P(used)", hint: "by prior", sort: "probability_high", number: true, class: "fine", cell: (image) => number(range(image.decision?.probability_low, image.decision?.probability_high)) },
    real && primary && { name: "Prediction", sort: "answer", cell: (image) => el("td", {}, card.tag(image.decision?.answer)) },
    { name: "Match value", title: MATCH_VALUE, hint: `× usual; ${reference(info.match)}`, sort: "match", number: true, cell: (image) => number(figure(image.match)) },
    { name: "Review", sort: "review", cell: (image) => el("td", {}, card.tag(image.review)) },
  ].filter(Boolean);
}

function rows(found, info, state, run, change) {
  const shown = columns(info, state, run);
  return el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Images" }, el("table", { class: "images-table" },
    el("thead", {}, el("tr", {}, shown.map((column) => heading(column, state, change)))),
    el("tbody", {}, found.images.map((image, at) => el("tr", { "data-id": image.id }, shown.map(({ cell, class: kind }) => {
      const made = cell(image, at);
      if (kind) made.classList.add(kind);
      return made;
    }))))));
}

function heading(column, state, change) {
  const { list, view } = state;
  const sorted = list.sort === column.sort && (!column.view || column.view === view);
  const order = sorted && list.order === "asc" ? "desc" : "asc";
  const first = ["value", "probability_high", "match"].includes(column.sort) && !sorted ? "desc" : order;
  const press = () => change({ sort: column.sort, order: first }, column.view ? { view: column.view } : {});
  return el("th", { scope: "col", class: [column.number && "number", column.class].filter(Boolean).join(" ") || null, "aria-sort": sorted ? (list.order === "asc" ? "ascending" : "descending") : null },
    el("button", { type: "button", class: "plain sort", "data-key": `sort ${column.name}`, title: column.title, on: { click: press } },
      column.name, el("span", { class: "arrow", "aria-hidden": "true" }, sorted ? (list.order === "asc" ? " ↑" : " ↓") : "")),
    column.hint && el("span", { class: "hint" }, column.hint));
}

function nameCell(image, run, href) {
  return el("th", { scope: "row", class: "name-cell" }, el("div", { class: "named" },
    card.thumbnail(run, image.id, 48),
    el("span", {},
      href ? el("a", { class: "name main-link", href, "data-key": `image ${image.id}` }, image.name) : el("span", { class: "name" }, image.name),
      image.group && el("span", { class: "soft small block group", title: `group ${image.group}` }, image.group),
      image.blank.length > 0 && el("span", { class: "soft small block" }, `blank in ${image.blank.join(", ")}`))));
}

function nearestCell(image, view, run, href) {
  const other = image.nearest[view];
  if (!other) return el("td", {}, el("span", { class: "soft" }, "–"));
  const words = `${other.name}, ${distance(view, other.distance)} by ${view}${other.mirrored ? ", flipped" : ""}${other.blank ? ", blank: no evidence" : ""}`;
  return el("td", {}, el("a", { class: "near", href, title: words, "aria-label": `Nearest: ${words}` },
    card.thumbnail(run, other.id, 48), el("span", {}, distance(view, other.distance)),
    other.mirrored && el("span", { class: "soft small" }, "flipped"), other.blank && el("span", { class: "soft small" }, "blank")));
}

function number(words, below) {
  return el("td", { class: "number" }, words, below && below !== "–" && el("span", { class: "soft small block" }, below));
}

function pages(total, offset, turn) {
  const last = Math.min(offset + PAGE, total);
  return el("div", { class: "pages" },
    el("button", { type: "button", "data-key": "previous", disabled: offset === 0, on: { click: () => turn(Math.max(0, offset - PAGE)) } }, "Previous"),
    el("span", { id: "shown" }, `${whole(offset + 1)} to ${whole(last)} of ${whole(total)}`),
    el("button", { type: "button", "data-key": "next", disabled: last >= total, on: { click: () => turn(offset + PAGE) } }, "Next"));
}

/** Moves the focus from row to row. */
function step(table, by) {
  const links = [...table.querySelectorAll(".main-link")];
  const at = links.indexOf(document.activeElement?.closest("tr")?.querySelector(".main-link"));
  links[Math.min(links.length - 1, Math.max(0, at < 0 ? 0 : at + by))]?.focus();
}
