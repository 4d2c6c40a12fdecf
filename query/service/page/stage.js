// The images of a pair: side by side with inliers, overlay, or difference.

import { choice, el, fill, svg } from "./dom.js";
import { note } from "./state.js";
import { many, whole } from "./format.js";
import { glasses } from "./lens.js";

const MODES = [["side", "Side by side"], ["overlay", "Overlay"], ["difference", "Difference"]];
const LINES = 60; // drawn at most: more hide the pictures

/** {element, keys, draw}: draw once the element stands in the page. */
export function stage(pair, { run, mode: wanted }) {
  let mode = MODES.some(([name]) => name === wanted) ? wanted : "side";
  let lines = true;
  let flipOver = () => {}; // from one picture to the other, where one lies over the other
  const area = el("div", { class: "stage-area" });
  const lens = glasses(area, net);
  const bar = el("div", { class: "row stage-bar" });
  const element = el("section", { class: "stage", "aria-label": "Pictures" }, bar, area);
  const picture = (id) => `/v1/images/${id}/picture`;
  const of = (what) => `/v1/pairs/${pair.real.id}/${pair.generated.id}/${what}`;
  const image = (path, alt) => lens.image(path, alt, { run });
  const observer = new ResizeObserver(() => (element.isConnected ? lens.place() : observer.disconnect()));

  function controls() {
    const count = pair.match.points.length;
    fill(bar,
      choice("Pictures", MODES, mode, show),
      mode === "side" && el("label", { class: "check" }, el("input", { type: "checkbox", id: "lines", checked: lines, disabled: !count, on: { change: flip } }),
        count > LINES ? `Inliers (${whole(LINES)} of ${whole(count)})` : `${many(count, "inlier")}`),
      lens.controls);
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
    lens.place();
  }

  function side() {
    return el("div", { class: "side" },
      lens.pane("real", image(picture(pair.real.id), `Real image ${pair.real.name}`), "Real: ", named(pair.real)),
      lens.pane("generated", image(picture(pair.generated.id), `Generated image ${pair.generated.name}`), "Generated: ", named(pair.generated)),
      svg("svg", { class: "lines", "aria-hidden": "true" }));
  }

  function overlay() {
    if (!pair.match.transform) return missing();
    const real = image(of("aligned"), `Real image ${pair.real.name}, aligned with the generated one`);
    const slider = el("input", { type: "range", id: "opacity", min: 0, max: 100, value: 50, on: { input: () => set() } });
    const set = () => {
      real.style.opacity = String(slider.value / 100);
      slider.setAttribute("aria-valuetext", `${slider.value}% real`);
    };
    set();
    flipOver = () => { slider.value = slider.value < 50 ? 100 : 0; set(); };
    return el("div", { class: "one" },
      lens.pane("overlay", [image(picture(pair.generated.id), `Generated image ${pair.generated.name}`), real], "Generated image, overlaid with the aligned real image"),
      el("div", { class: "opacity" }, el("span", {}, "Generated"), el("label", { class: "hidden", for: "opacity" }, "Opacity of the real image"), slider, el("span", {}, "Real"),
        el("button", { type: "button", "aria-keyshortcuts": "b", on: { click: () => flipOver() } }, "Flip ", el("kbd", {}, "b"))));
  }

  function difference() {
    if (!pair.match.transform) return missing();
    return el("div", { class: "one" },
      lens.pane("difference", image(of("difference"), "Difference of the two after alignment"), "Real − generated after alignment: mid-grey where both are equal, brighter where the real image is brighter"));
  }

  function missing() {
    return el("p", { class: "empty" }, "No transform aligns the two images, so there is no overlay and no difference. Compare them side by side.");
  }

  function named({ name, width, height }) {
    return [el("b", {}, name), ` ${width} × ${height} pixels`];
  }

  /** Draws the lines over both pictures. */
  function net() {
    const over = area.querySelector(".lines");
    if (over) fill(over, lines ? drawn(over) : []);
  }

  function drawn(net) {
    const origin = net.getBoundingClientRect();
    const [left, right] = ["real", "generated"].map((name) => area.querySelector(`[data-pane=${name}] .glass`));
    if (!left?.querySelector("img") || !right?.querySelector("img")) return [];
    const spots = [[left, pair.real], [right, pair.generated]].map(([glass, { width, height }]) => spot(glass, width, height, origin, lens.at));
    const step = Math.max(1, pair.match.points.length / LINES);
    const chosen = pair.match.points.filter((_, i) => Math.floor(i / step) !== Math.floor((i - 1) / step));
    return chosen.map(([x, y, u, v]) => [spots[0](x, y), spots[1](u, v)]).filter(([a, b]) => a.inside && b.inside).map(([a, b]) => [
      svg("line", { x1: a.x, y1: a.y, x2: b.x, y2: b.y }),
      svg("circle", { cx: a.x, cy: a.y, r: 2.5 }), svg("circle", { cx: b.x, cy: b.y, r: 2.5 })]);
  }

  function flip() {
    lines = !lines;
    controls();
    net();
  }

  return { element, draw, keys: {
    ...lens.keys, s: () => show("side"), o: () => show("overlay"), d: () => show("difference"), m: () => mode === "side" && flip(), b: () => mode === "overlay" && flipOver(),
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
