// What a run is, asked once and kept: it never changes.

import { get } from "./api.js";
import { COMBINED, VERIFIED, inOrder } from "./format.js";

const kept = new Map();

/** The run's counts, views, methods, settings. */
export function about(run) {
  return once(`/v1/runs/${run}`);
}

/** Its distances by one view. */
export function distances(run, view) {
  return once(`/v1/runs/${run}/distances`, { view });
}

/** Views that images are ranked by: those of the run, and where pairs were matched closely what that made of them. */
export function rankings(info) {
  return inOrder([...info.views.map(({ view }) => view), ...(info.verified_pairs ? [VERIFIED] : [])]);
}

/** The one of some views that an address names, else the combined one or the first. */
export function viewOf(views, wanted) {
  if (views.includes(wanted)) return wanted;
  return views.includes(COMBINED) ? COMBINED : views[0];
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
