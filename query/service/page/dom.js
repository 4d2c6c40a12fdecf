// Elements from data. Text goes in as text nodes only: a file may be named like a tag.

/** An element. props: on = {event: listener}, everything else an attribute; true sets it empty, null and false leave it out. */
export function el(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  setAll(element, props);
  element.append(...present(children));
  return element;
}

/** The same for SVG. */
export function svg(tag, props = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  setAll(element, props);
  element.append(...present(children));
  return element;
}

/** Puts children in place of what an element holds. */
export function fill(element, ...children) {
  element.replaceChildren(...present(children));
  return element;
}

function setAll(element, { on = {}, ...attributes }) {
  for (const [event, listener] of Object.entries(on)) element.addEventListener(event, listener);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, String(value));
  }
}

function present(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}

/** A line that screen readers speak and that stands at the foot of the window for a moment. */
export function say(line) {
  const place = document.getElementById("message");
  place.textContent = line;
  place.classList.add("shown");
  clearTimeout(say.timer);
  say.timer = setTimeout(() => place.classList.remove("shown"), 4000);
}

/** A choice of a few: buttons of which one is pressed. options: [[value, label]]. */
export function choice(label, options, value, chosen) {
  const buttons = options.map(([option, words]) =>
    el("button", { type: "button", "aria-pressed": String(option === value), "data-value": option, "data-key": `${label} ${option}`, on: { click: () => keepingFocus(() => chosen(option)) } }, words));
  return el("div", { class: "choice", role: "group", "aria-label": label }, buttons);
}

/** Does something that may draw anew what has the focus; then its successor (of the same data-key or id) has it. */
function keepingFocus(work) {
  const key = focused();
  const done = work();
  refocus(key);
  return done;
}

/** How the element that has the focus will be known when it is drawn again; null where it will not. */
export function focused() {
  const { id, dataset } = document.activeElement ?? {};
  if (dataset?.key) return `[data-key="${CSS.escape(dataset.key)}"]`;
  return id ? `#${CSS.escape(id)}` : null;
}

/** Gives the focus to the element that is now known so; whether there is one. */
export function refocus(key) {
  const element = key && document.querySelector(key);
  if (element && element !== document.activeElement) element.focus({ preventScroll: true });
  return Boolean(element);
}

/** A select with its label. options: [[value, label]]. */
export function select(label, options, value, chosen) {
  const box = el("select", { "data-key": label, on: { change: (event) => chosen(event.target.value) } },
    options.map(([option, words]) => el("option", { value: option, selected: option === value }, words)));
  return el("label", { class: "field" }, el("span", {}, label), box);
}

/** What stands where there is nothing to show. */
export function empty(title, ...rest) {
  return el("div", { class: "empty" }, el("p", { class: "empty-title" }, title), rest);
}

/** What stands where something went wrong, with the service's reason. */
export function failure(error, again) {
  return el("div", { class: "empty failure", role: "alert" },
    el("p", { class: "empty-title" }, error.title ?? "This could not be shown"),
    el("p", {}, error.message),
    again && el("button", { type: "button", on: { click: again } }, "Try again"));
}

/** What stands while something is loaded. */
export function loading(what = "Loading") {
  return el("p", { class: "quiet loading", "aria-busy": "true" }, `${what} …`);
}
