// The list of images that is looked through: what it asks for, and its pieces, kept while pairs of it are reviewed.

import { get } from "./api.js";

const PIECE = 50;
const FIELDS = ["role", "search", "membership", "answer", "verdict", "sort", "order"];
let kept = new Map();

/** The parameters of a list, from an address. */
export function asked(params) {
  const found = Object.fromEntries(FIELDS.map((name) => [name, params.get(name) ?? ""]));
  return { ...found, role: found.role || "real", sort: found.sort || "distance", order: found.order || "asc" };
}

/** The same without what is the case anyway, for an address. */
export function short(list) {
  return { ...list, role: list.role === "real" ? "" : list.role, sort: list.sort === "distance" ? "" : list.sort, order: list.order === "asc" ? "" : list.order };
}

/** A piece of the list as the service has it now. */
export function fresh(list, { run, view, offset = 0, limit = PIECE, signal }) {
  return get("/v1/images", { ...list, run, view, offset, limit }, signal);
}

/** The image at a place of the list as it was when its piece was first asked for: verdicts given since do not move it. */
export async function at(list, { run, view }, index) {
  const key = JSON.stringify([list, run, view, Math.floor(index / PIECE)]);
  if (!kept.has(key)) kept.set(key, fresh(list, { run, view, offset: index - (index % PIECE) }));
  try {
    const { images, total } = await kept.get(key);
    return { image: images[index % PIECE] ?? null, total };
  } catch (error) {
    kept.delete(key);
    throw error;
  }
}

/** Forgets the pieces: the next look is at the list as it is now. */
export function forget() {
  kept = new Map();
}
