// Where one distance stands: all pairs as a hill, the reference as ticks, the pair as a line.

import { svg } from "./dom.js";
import { distance } from "./format.js";
import { bins, span, widened } from "./histogram.js";

const [WIDTH, HEIGHT, TICKS] = [300, 30, 7];

/** An SVG as wide as its place. all: what the service says of the view's distances. */
export function strip(all, value, wholeNumbers) {
  const [low, high] = widen(span(all), value);
  const scale = bins([low, high], wholeNumbers, 60);
  const counts = widened(all, scale, wholeNumbers);
  const top = Math.max(...counts, 1);
  const x = (at) => (WIDTH * (at - low)) / (high - low);
  const y = (count) => HEIGHT - TICKS - 1 - (HEIGHT - TICKS - 3) * (count / top);
  const outline = scale.lows.map((at, i) => `L${x(at).toFixed(1)} ${y(counts[i]).toFixed(1)}H${x(at + scale.width).toFixed(1)}`).join("");
  const floor = HEIGHT - TICKS - 1;
  return svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": `${distance(all.view, value)} among all distances by ${all.view}` },
    svg("path", { class: "strip-hill", d: `M0 ${floor}${outline}V${floor}Z` }),
    svg("line", { class: "strip-floor", x1: 0, x2: WIDTH, y1: floor, y2: floor }),
    (all.nearest["not used"] ?? []).map((at) => svg("line", { class: "strip-tick", x1: x(at), x2: x(at), y1: floor + 1, y2: HEIGHT })),
    svg("line", { class: "strip-here", x1: x(value), x2: x(value), y1: 0, y2: HEIGHT }));
}

function widen([low, high], value) {
  return [Math.min(low, value), Math.max(high, value)];
}
