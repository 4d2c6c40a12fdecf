// What a run is, asked once and kept: it never changes.

import { get } from "./api.js";

const kept = new Map();

/** The run's counts, views, methods, settings. */
export function about(run) {
  return once(`/v1/runs/${run}`);
}

/** Its distances by one view. */
export function distances(run, view) {
  return once(`/v1/runs/${run}/distances`, { view });
}

/** The view that an address names where the run has it, else the first. */
export function viewOf(info, wanted) {
  const views = info.views.map(({ view }) => view);
  return views.includes(wanted) ? wanted : views.includes("combined") ? "combined" : views[0];
}

/** Whether the distances of a view are whole numbers. */
export function wholeNumbers(info, view) {
  return info.views.find((one) => one.view === view)?.metric === "hamming";
}

function once(path, params = {}) {
  const key = `${path} ${JSON.stringify(params)}`;
  if (!kept.has(key)) {
    const asked = get(path, params);
    asked.catch(() => kept.delete(key));
    kept.set(key, asked);
  }
  return kept.get(key);
}
