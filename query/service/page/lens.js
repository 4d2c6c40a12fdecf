// Pictures in glasses that are enlarged and moved together.

import { el } from "./dom.js";
import * as pictures from "./pictures.js";

const ZOOMS = [1, 1.5, 2, 3, 4, 6, 8];
const LOST = "This image cannot be read any more: the file is missing or changed.";

/** area: the element that holds the glasses; placed: called after each change. x, y: by how much the middle is moved, in widths. */
export function glasses(area, placed) {
  const at = { zoom: 1, x: 0, y: 0 };
  const shown = el("output", { "aria-label": "Zoom" }, "1×");

  /** Puts the pictures where zoom and movement say. */
  function place() {
    for (const glass of area.querySelectorAll(".glass")) {
      const width = glass.clientWidth;
      for (const one of glass.querySelectorAll("img")) one.style.transform = `translate(${at.x * width}px, ${at.y * width}px) scale(${at.zoom})`;
      glass.classList.toggle("enlarged", at.zoom > 1);
    }
    shown.textContent = `${at.zoom}×`;
    placed();
  }

  function zoom(by) {
    at.zoom = ZOOMS[Math.min(ZOOMS.length - 1, Math.max(0, ZOOMS.indexOf(at.zoom) + by))];
    move(0, 0);
  }

  function move(dx, dy) {
    const reach = (at.zoom - 1) / 2;
    at.x = Math.min(reach, Math.max(-reach, at.x + dx));
    at.y = Math.min(reach, Math.max(-reach, at.y + dy));
    place();
  }

  function nudge(event) {
    const by = { ArrowLeft: [0.1, 0], ArrowRight: [-0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[event.key];
    if (!by || at.zoom === 1) return;
    event.preventDefault();
    move(...by);
  }

  function hold(event) {
    if (at.zoom === 1) return;
    const glass = event.currentTarget;
    let last = [event.clientX, event.clientY];
    glass.setPointerCapture(event.pointerId);
    const drag = ({ clientX, clientY }) => {
      move((clientX - last[0]) / glass.clientWidth, (clientY - last[1]) / glass.clientWidth);
      last = [clientX, clientY];
    };
    glass.addEventListener("pointermove", drag);
    glass.addEventListener("pointerup", () => glass.removeEventListener("pointermove", drag), { once: true });
  }

  /** A picture that says so where it cannot be loaded. */
  function image(path, alt, params) {
    return pictures.picture({ alt, draggable: "false", on: { load: place, error: (event) => event.target.replaceWith(el("p", { class: "lost" }, LOST)) } }, path, params);
  }

  function pane(name, images, ...words) {
    return el("figure", { class: "pane", "data-pane": name },
      el("div", { class: "glass", tabindex: 0, role: "group", "aria-label": "Picture; arrow keys move it when it is enlarged", on: { pointerdown: hold, keydown: nudge } }, images),
      el("figcaption", { class: "small soft name" }, words));
  }

  const controls = el("span", { class: "zooms" },
    el("button", { type: "button", "aria-label": "Zoom out", "aria-keyshortcuts": "-", on: { click: () => zoom(-1) } }, "−"), shown,
    el("button", { type: "button", "aria-label": "Zoom in", "aria-keyshortcuts": "+", on: { click: () => zoom(1) } }, "+"));
  const keys = { "+": () => zoom(1), "=": () => zoom(1), "-": () => zoom(-1), z: () => { Object.assign(at, { zoom: 1, x: 0, y: 0 }); place(); } };
  return { at, place, image, pane, controls, keys };
}
