// The list of images that is looked through: what it asks for, and its pieces, kept while pairs of it are reviewed.

import { get } from "./api.js";
import { MATCHED } from "./format.js";

const PIECE = 50;
const FIELDS = ["role", "search", "membership", "answer", "review", "sort", "order"];
let kept = new Map();

/** What a list is sorted by where nobody says otherwise: most surely the same picture first, where that was looked at; else the nearest. */
export function usual(view) {
  return view === MATCHED ? { sort: "match", order: "desc" } : { sort: "distance", order: "asc" };
}

/** The parameters of a list, from an address; view: that it is about. */
export function asked(params, view) {
  const found = Object.fromEntries(FIELDS.map((name) => [name, params.get(name) ?? ""]));
  const sort = found.sort || usual(view).sort;
  return { ...found, role: found.role || "real", sort, order: found.order || orderOf(sort, view) };
}

/** The same without what is the case anyway, for an address. */
export function short(list, view) {
  const { role, sort, order } = list;
  return { ...list, role: role === "real" ? "" : role, sort: sort === usual(view).sort ? "" : sort, order: order === orderOf(sort, view) ? "" : order };
}

/** Which end of it comes first, in words; empty where that goes without saying. */
export function first({ sort, order }) {
  if (sort === "match" && order === "desc") return "best match first";
  if (sort === "distance") return order === "asc" ? "nearest first" : "farthest first";
  return "";
}

function orderOf(sort, view) {
  return sort === usual(view).sort ? usual(view).order : "asc";
}

/** A piece of the list as the service has it now. */
export function fresh(list, { run, view, offset = 0, limit = PIECE, signal }) {
  return get("/v1/images", { ...list, run, view, offset, limit }, signal);
}

/** {image, total}: the image at a place of the list as it was when it was first asked for: reviews given since do not move it. */
export async function at(list, where, index) {
  const first = list.review ? 0 : index - (index % PIECE);
  const key = JSON.stringify([list, where, first]);
  if (!kept.has(key)) kept.set(key, fresh(list, { ...where, offset: first }));
  try {
    const piece = await kept.get(key);
    if (list.review) await lengthen(piece, list, where, index);
    return { image: piece.images[index - first] ?? null, total: piece.total };
  } catch (error) {
    kept.delete(key);
    throw error;
  }
}

/** Makes a list by review longer. Those that were looked at since have left it, so what is new in it may stand at any place. */
async function lengthen(piece, list, where, index) {
  const there = new Set(piece.images.map(({ id }) => id));
  for (let offset = 0; index >= piece.images.length; offset += PIECE) {
    const more = await fresh(list, { ...where, offset });
    piece.images.push(...more.images.filter(({ id }) => !there.has(id)));
    if (offset + PIECE >= more.total) return;
  }
}

/** Forgets the pieces: the next look is at the list as it is now. */
export function forget() {
  kept = new Map();
}
