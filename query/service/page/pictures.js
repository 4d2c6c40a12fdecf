// Pictures come as all data do, so that the session goes with them; an address in an element could not send it. The last are kept.

import { el } from "./dom.js";
import { address, bytes } from "./api.js";

const KEPT = 300;
const NOTHING = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"; // one clear pixel keeps the place
const kept = new Map(); // address -> promise of the bytes, the oldest first
const wanted = new WeakMap(); // element -> what loads it
const near = new IntersectionObserver((entries) => entries.filter((one) => one.isIntersecting).forEach(({ target }) => {
  near.unobserve(target);
  wanted.get(target)();
}), { rootMargin: "200px" });

/** Has a picture at hand before it is shown. */
export function ahead(path, params) {
  fetched(path, params).catch(() => {});
}

/** An img of a picture. props: as of el; its load and error come as usual. */
export function picture(props, path, params) {
  const img = el("img", props);
  load(img, path, params);
  return img;
}

/** The same, loaded when it comes near to the window. */
export function lazy(props, path, params) {
  const img = el("img", { ...props, src: NOTHING });
  wanted.set(img, () => load(img, path, params));
  near.observe(img);
  return img;
}

async function load(img, path, params) {
  try {
    const url = URL.createObjectURL(await fetched(path, params));
    const free = () => URL.revokeObjectURL(url);
    img.addEventListener("load", free, { once: true });
    img.addEventListener("error", free, { once: true });
    img.src = url;
  } catch {
    img.dispatchEvent(new Event("error"));
  }
}

function fetched(path, params) {
  const key = address(path, params);
  const found = kept.get(key) ?? bytes(path, params);
  kept.delete(key);
  kept.set(key, found);
  found.catch(() => kept.delete(key));
  if (kept.size > KEPT) kept.delete(kept.keys().next().value);
  return found;
}
