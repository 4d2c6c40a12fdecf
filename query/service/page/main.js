// Starts the page: tabs, the choice of a run, keys, and the view that the address names.

import { el, empty, failure, fill, focused, refocus, select } from "./dom.js";
import { get, onUnauthorised } from "./api.js";
import { many, moment } from "./format.js";
import { VIEWS, changed, go, link, place } from "./state.js";
import * as help from "./help.js";
import * as keys from "./keys.js";
import * as theme from "./theme.js";
import * as token from "./token.js";
import * as images from "./images.js";
import * as search from "./search.js";
import * as overview from "./overview.js";
import * as pair from "./pair.js";
import * as sql from "./sql.js";
import * as reviews from "./reviews.js";
import * as reading from "./reading.js";

const OPEN = { overview, images, pair, search, sql, reviews };
const main = document.getElementById("main");
let leaving = new AbortController(); // of the view that is shown
let runs = [];
let blinded = false; // whether readers label pairs here, and nothing else is shown
let database = true; // else images are only looked up
let before = null; // the view and its parts that are shown

async function start() {
  theme.restore();
  onUnauthorised(token.ask);
  document.getElementById("skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
  document.addEventListener("keydown", keys.pressed);
  addEventListener("hashchange", () => draw(true));
  try {
    ({ blinded, database } = await get("/v1/mode"));
    if (database && !blinded) ({ runs } = await get("/v1/runs"));
  } catch (error) {
    fill(main, failure(error, () => location.reload()));
    return;
  }
  if (database && !blinded && runs.length === 0) fill(main, empty("This database has no runs yet", el("p", {}, "Create one with synthtrace audit or synthtrace compare; it will appear here.")));
  else draw(false);
}

/** Shows what the address names; the focus goes to it where the reader went there. */
async function draw(moved) {
  leaving.abort();
  leaving = new AbortController();
  keys.clear();
  const at = place();
  const shown = blinded ? { reading } : database ? OPEN : { search };
  const view = Object.hasOwn(shown, at.view) ? at.view : Object.keys(shown)[0];
  tabs(view);
  tools(at);
  const root = el("div", { class: `view ${view}` });
  const slow = setTimeout(() => main.setAttribute("aria-busy", "true"), 150); // the old view stays until the new one is there
  const context = { root, parts: at.parts, params: at.params, run: runOf(at.params), signal: leaving.signal, redraw: () => draw(false) };
  try {
    await shown[view].show(context);
    if (context.signal.aborted) return;
    const key = focused();
    const same = before === JSON.stringify([view, at.parts]);
    before = JSON.stringify([view, at.parts]);
    fill(main, root);
    document.title = `${root.querySelector("h1")?.textContent ?? view} – synthtrace`;
    context.shown?.();
    if (same && refocus(key)) return;
    if (moved) (root.querySelector("[data-focus]") ?? main).focus({ preventScroll: true });
    if (moved && !same) scrollTo(0, 0);
  } catch (error) {
    if (!context.signal.aborted && error.name !== "AbortError") fill(main, failure(error, () => draw(false)));
  } finally {
    clearTimeout(slow);
    if (!context.signal.aborted) main.removeAttribute("aria-busy");
  }
}

/** The run that the address names, else the latest; null where none is shown. */
function runOf(params) {
  const wanted = Number(params.get("run"));
  return runs.find(({ run }) => run === wanted)?.run ?? runs[0]?.run ?? null;
}

function tabs(view) {
  const { params } = place();
  const shared = { run: params.get("run"), view: params.get("view") };
  const current = view === "pair" ? "images" : view;
  fill(document.getElementById("tabs"), (blinded ? [["reading", "Blinded reading"]] : VIEWS.filter(([name]) => database || name === "search")).map(([name, label]) =>
    el("li", {}, el("a", { href: link(name, [], shared), "aria-current": name === current ? "page" : null }, label))));
}

function tools(at) {
  const options = runs.map(({ run, created, real_images: real, generated_images: generated }) =>
    [String(run), `${run}: ${many(real, "real", "real")}, ${many(generated, "generated", "generated")}, ${moment(created)}`]);
  const picked = (run) => go(at.view === "pair" ? link("images", [], { run }) : changed({ run, at: null, offset: null, t: null }));
  fill(document.getElementById("tools"),
    runs.length > 1 && select("Run", options, String(runOf(at.params)), picked),
    theme.button(() => draw(false)),
    el("button", { type: "button", class: "plain", "aria-label": "Keys and help", on: { click: () => help.show(blinded) } }, "?"));
}

start();
