// The address is the state: #/view/part/part?name=value. A link restores what its sender saw.

export const VIEWS = [["overview", "Overview"], ["images", "Images"], ["search", "Search"], ["sql", "SQL"], ["reviews", "Reviews"]];

/** Where the page is: {view, parts, params}. */
export function place(hash = location.hash) {
  const [path, query] = split(hash.replace(/^#\/?/, ""));
  const [view, ...parts] = path.split("/").filter(Boolean).map(decoded);
  return { view: view ?? "overview", parts, params: new URLSearchParams(query) };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // an address that somebody cut
  }
}

function split(text) {
  const at = text.indexOf("?");
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}

/** The hash of a place; parameters that are null or empty are left out. */
export function link(view, parts = [], params = {}) {
  const path = [view, ...parts].map(encodeURIComponent).join("/");
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    if (value !== null && value !== undefined && value !== "") query.set(name, value);
  }
  return `#/${path}${query.size ? `?${query}` : ""}`;
}

/** The place with some parameters changed. */
export function changed(changes, at = place()) {
  return link(at.view, at.parts, { ...Object.fromEntries(at.params), ...changes });
}

/** Goes there, and the back button comes back. */
export function go(hash) {
  location.hash = hash;
}

/** Notes a change that is already shown: the address follows, nothing is drawn again. */
export function note(changes) {
  history.replaceState(null, "", changed(changes));
}
