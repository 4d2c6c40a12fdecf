// What a run is, asked once and kept: it never changes.

import { get } from "./api.js";
import { COMBINED, NOT_CALIBRATED, MATCHED, figure, inOrder } from "./format.js";

const kept = new Map();

/** The run's counts, views, methods, settings. */
export function about(run) {
  return once(`/v1/runs/${run}`);
}

/** Patients with a decision, the smallest p first; those called used alone where there are any. */
export async function patients(run, limit) {
  const used = await once(`/v1/runs/${run}/patients`, { decision: "used", limit });
  return used.total ? used : once(`/v1/runs/${run}/patients`, { limit });
}

/** Its distances by one view. */
export function distances(run, view) {
  return once(`/v1/runs/${run}/distances`, { view });
}

/** Views that images are ranked by: those of the run, and the matched view if pairs were matched geometrically. */
export function rankings(info) {
  return inOrder([...info.views.map(({ view }) => view), ...(info.matched_pairs ? [MATCHED] : [])]);
}

/** The threshold of match values, in few words: "threshold 1.76". */
export function reference(match) {
  return typeof match?.level === "number" ? `threshold ${figure(match.threshold)}` : NOT_CALIBRATED;
}

/** The one of some views that an address names, else matched, combined, or the first. */
export function viewOf(views, wanted) {
  return [wanted, MATCHED, COMBINED].find((view) => views.includes(view)) ?? views[0];
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
