// Numbers and words as everywhere in synthtrace: every distance with its unit.

const WHOLE = new Intl.NumberFormat("en");

export const COMBINED = "combined";
const COMBINED_LOOKUP = "combined-lookup"; // of a search; on another scale than a run's
export const MATCHED = "matched"; // combined view after geometric matching
export const MEMBERSHIPS = ["used", "not used", "unlabelled"];
export const NOT_CALIBRATED = "not calibrated";

/** 12,345 */
export function whole(number) {
  return WHOLE.format(number);
}

/** "1 image", "12 images" */
export function many(number, one, more = `${one}s`) {
  return `${whole(number)} ${number === 1 ? one : more}`;
}

export const MATCH_VALUE = "matched points that fit, divided by what is usual for this generated image; larger: more surely the same picture";
const RANKING = "ranking score from the combined distance and the matched points; no unit; smaller ranks first";

/** What the distances of a view are, with unit and direction. */
export function meaning(view, info) {
  if (view === MATCHED) return RANKING;
  return info.views.find((one) => one.view === view)?.unit ?? "";
}

/** The same of every view of a run. */
export function meanings(info) {
  const ranked = info.matched_pairs ? { [MATCHED]: RANKING } : {};
  return { ...ranked, ...Object.fromEntries(info.views.map(({ view, unit }) => [view, unit])) };
}

/** A distance with its short unit: 52 bits, 0.312, +1.20 sd (standard deviations); a ranking score has none. */
export function distance(view, value) {
  if (value === null || value === undefined) return "–";
  if ([COMBINED, COMBINED_LOOKUP, MATCHED].includes(view)) return `${value >= 0 ? "+" : "−"}${Math.abs(value).toFixed(2)}${view === MATCHED ? "" : " sd"}`;
  return view === "phash" ? `${Math.round(value)} bits` : value.toFixed(3);
}

/** A figure to three significant digits, without a unit of its own. */
export function figure(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value === 0) return "0"; // also the negative one
  const rounded = Math.abs(value) >= 1000 || Number.isInteger(value) ? whole(Math.round(value)) : String(Number(value.toPrecision(3)));
  return rounded.replace("-", "−");
}

/** A probability that depends on what is held possible beforehand: 0.12–0.91. */
export function range(low, high) {
  const [least, most] = [low, high].map((each) => (each === null || each === undefined ? "–" : each.toFixed(2)));
  return least === most ? least : `${least}–${most}`;
}

/** A share of something: 12%, 0.03%, <0.01%. */
export function share(part) {
  if (part === null || part === undefined) return "–";
  const percent = 100 * part;
  if (percent > 0 && percent < 0.01) return "<0.01%";
  if (percent > 99.99 && percent < 100) return ">99.99%";
  return `${Number(percent.toPrecision(percent >= 99 ? 4 : 2))}%`;
}

/** "3 of 60 (5%)" */
export function of(part, whole_) {
  return whole_ ? `${whole(part)} of ${whole(whole_)} (${share(part / whole_)})` : "none";
}

/** A moment as UTC, to the minute. */
export function moment(text) {
  const date = new Date(/[Z+]/.test(text.slice(10)) ? text : `${text}Z`);
  return Number.isNaN(date.getTime()) ? text : `${date.toISOString().slice(0, 16).replace("T", " ")} UTC`;
}

/** What sums up other views first, then the others by name. */
export function inOrder(views) {
  const place = (view) => [MATCHED, COMBINED, COMBINED_LOOKUP].indexOf(view);
  return [...views].sort((a, b) => place(b) - place(a) || a.localeCompare(b));
}
