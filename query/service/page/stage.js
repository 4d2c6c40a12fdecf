// The images of a pair: side by side with inliers, overlay, or difference.

import { choice, el, fill, svg } from "./dom.js";
import { note } from "./state.js";
import { many, whole } from "./format.js";
import * as pictures from "./pictures.js";

const MODES = [["side", "Side by side"], ["overlay", "Overlay"], ["difference", "Difference"]];
const LINES = 60; // drawn at most: more hide the pictures
const ZOOMS = [1, 1.5, 2, 3, 4, 6, 8];

/** {element, keys, draw}: draw once the element stands in the page. */
export function stage(pair, { run, mode: wanted }) {
  let mode = MODES.some(([name]) => name === wanted) ? wanted : "side";
  let lines = true;
  let flipOver = () => {}; // from one picture to the other, where one lies over the other
  const lens = { zoom: 1, x: 0, y: 0 }; // x, y: by how much the middle is moved, in widths of a pane
  const area = el("div", { class: "stage-area" });
  const bar = el("div", { class: "row stage-bar" });
  const element = el("section", { class: "stage", "aria-label": "Pictures" }, bar, area);
  const picture = (id) => `/v1/images/${id}/picture`;
  const of = (what) => `/v1/pairs/${pair.real.id}/${pair.generated.id}/${what}`;
  const observer = new ResizeObserver(() => (element.isConnected ? place() : observer.disconnect()));

  function controls() {
    const count = pair.match.points.length;
    fill(bar,
      choice("Pictures", MODES, mode, show),
      mode === "side" && el("label", { class: "check" }, el("input", { type: "checkbox", id: "lines", checked: lines, disabled: !count, on: { change: flip } }),
        count > LINES ? `Inliers (${whole(LINES)} of ${whole(count)})` : `${many(count, "inlier")}`),
      el("span", { class: "zooms" },
        el("button", { type: "button", "aria-label": "Zoom out", "aria-keyshortcuts": "-", on: { click: () => zoom(-1) } }, "−"),
        el("output", { "aria-label": "Zoom" }, `${lens.zoom}×`),
        el("button", { type: "button", "aria-label": "Zoom in", "aria-keyshortcuts": "+", on: { click: () => zoom(1) } }, "+")));
  }

  function show(chosen) {
    mode = chosen;
    note({ mode: mode === "side" ? null : mode });
    draw();
  }

  function draw() {
    controls();
    const made = { side, overlay, difference }[mode]();
    fill(area, made);
    observer.disconnect();
    observer.observe(area);
    place();
  }

  function side() {
    return el("div", { class: "side" },
      pane([image(picture(pair.real.id), `Real image ${pair.real.name}`)], ["Real: ", pair.real], "real"),
      pane([image(picture(pair.generated.id), `Generated image ${pair.generated.name}`)], ["Generated: ", pair.generated], "generated"),
      svg("svg", { class: "lines", "aria-hidden": "true" }));
  }

  function overlay() {
    if (!pair.match.transform) return missing();
    const over = image(of("aligned"), `Real image ${pair.real.name}, aligned with the generated one`);
    const slider = el("input", { type: "range", id: "opacity", min: 0, max: 100, value: 50, on: { input: () => set() } });
    const set = () => {
      over.style.opacity = String(slider.value / 100);
      slider.setAttribute("aria-valuetext", `${slider.value}% real`);
    };
    set();
    flipOver = () => { slider.value = slider.value < 50 ? 100 : 0; set(); };
    return el("div", { class: "one" },
      pane([image(picture(pair.generated.id), `Generated image ${pair.generated.name}`), over], ["Generated image, overlaid with the aligned real image"], "overlay"),
      el("div", { class: "opacity" }, el("span", {}, "Generated"), el("label", { class: "hidden", for: "opacity" }, "Opacity of the real image"), slider, el("span", {}, "Real"),
        el("button", { type: "button", "aria-keyshortcuts": "b", on: { click: () => flipOver() } }, "Flip ", el("kbd", {}, "b"))));
  }

  function difference() {
    if (!pair.match.transform) return missing();
    return el("div", { class: "one" },
      pane([image(of("difference"), "Difference of the two after alignment")], ["Difference after alignment: mid-grey where both are equal"], "difference"));
  }

  function missing() {
    return el("p", { class: "empty" }, "No transform aligns the two images, so there is no overlay and no difference. Compare them side by side.");
  }

  function image(path, alt) {
    return pictures.picture({ alt, draggable: "false", on: { load: () => place(), error: (event) => event.target.replaceWith(el("p", { class: "lost" }, "This image cannot be read any more: the file is missing or changed.")) } }, path, { run });
  }

  function pane(images, [words, named], name) {
    return el("figure", { class: "pane", "data-pane": name },
      el("div", { class: "glass", tabindex: 0, role: "group", "aria-label": "Picture; arrow keys move it when it is enlarged", on: { pointerdown: hold, keydown: nudge } }, images),
      el("figcaption", { class: "small soft name" }, words, named && [el("b", {}, named.name), ` ${named.width} × ${named.height}`]));
  }

  /** Puts pictures and lines where zoom and movement say. */
  function place() {
    for (const glass of area.querySelectorAll(".glass")) {
      const width = glass.clientWidth;
      for (const one of glass.querySelectorAll("img")) one.style.transform = `translate(${lens.x * width}px, ${lens.y * width}px) scale(${lens.zoom})`;
      glass.classList.toggle("enlarged", lens.zoom > 1);
    }
    const net = area.querySelector(".lines");
    if (net) fill(net, lines ? drawn(net) : []);
  }

  function drawn(net) {
    const origin = net.getBoundingClientRect();
    const [left, right] = ["real", "generated"].map((name) => area.querySelector(`[data-pane=${name}] .glass`));
    if (!left?.querySelector("img") || !right?.querySelector("img")) return [];
    const spots = [[left, pair.real], [right, pair.generated]].map(([glass, { width, height }]) => spot(glass, width, height, origin, lens));
    const step = Math.max(1, pair.match.points.length / LINES);
    const chosen = pair.match.points.filter((_, i) => Math.floor(i / step) !== Math.floor((i - 1) / step));
    return chosen.map(([x, y, u, v]) => [spots[0](x, y), spots[1](u, v)]).filter(([a, b]) => a.inside && b.inside).map(([a, b]) => [
      svg("line", { x1: a.x, y1: a.y, x2: b.x, y2: b.y }),
      svg("circle", { cx: a.x, cy: a.y, r: 2.5 }), svg("circle", { cx: b.x, cy: b.y, r: 2.5 })]);
  }

  function flip() {
    lines = !lines;
    controls();
    place();
  }

  function zoom(by) {
    lens.zoom = ZOOMS[Math.min(ZOOMS.length - 1, Math.max(0, ZOOMS.indexOf(lens.zoom) + by))];
    move(0, 0);
    controls();
  }

  function move(dx, dy) {
    const reach = (lens.zoom - 1) / 2;
    lens.x = Math.min(reach, Math.max(-reach, lens.x + dx));
    lens.y = Math.min(reach, Math.max(-reach, lens.y + dy));
    place();
  }

  function nudge(event) {
    const by = { ArrowLeft: [0.1, 0], ArrowRight: [-0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[event.key];
    if (!by || lens.zoom === 1) return;
    event.preventDefault();
    move(...by);
  }

  function hold(event) {
    if (lens.zoom === 1) return;
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

  return { element, draw, keys: {
    s: () => show("side"), o: () => show("overlay"), d: () => show("difference"), m: () => mode === "side" && flip(), b: () => mode === "overlay" && flipOver(),
    "+": () => zoom(1), "=": () => zoom(1), "-": () => zoom(-1), z: () => { Object.assign(lens, { zoom: 1, x: 0, y: 0 }); place(); controls(); },
  } };
}

/** From pixels of a picture, shown whole in a square glass and then moved and enlarged, to pixels of the net over both. */
function spot(glass, width, height, origin, lens) {
  const box = glass.getBoundingClientRect();
  const side = glass.clientWidth;
  const scale = side / Math.max(width, height);
  return (x, y) => {
    const [dx, dy] = [(x + 0.5 - width / 2) * scale, (y + 0.5 - height / 2) * scale];
    const [px, py] = [side / 2 + lens.zoom * dx + lens.x * side, side / 2 + lens.zoom * dy + lens.y * side];
    return { x: box.left - origin.left + px, y: box.top - origin.top + py, inside: px >= 0 && py >= 0 && px <= side && py <= side };
  };
}
