// Pictures drawn by uPlot: one histogram, one scatter.

import uPlot from "./vendor/uplot/uPlot.esm.js";
import { colour } from "./theme.js";

const FONT = "12px system-ui, sans-serif";
export const PAD = 8; // pixels left and right of every plot, half the thumb of a slider

/** A histogram without a y axis, as wide as its host, and drawn anew when that changes.
 *  x: [low, high] of the picture; bins: {lows, width}; counts: one for each; tint: name of a colour; axis: whether to draw one. */
export function histogram(host, { x, bins, counts, tint, axis, height }) {
  const lines = colour(tint);
  const soft = colour("soft");
  const ends = [...bins.lows, bins.lows.at(-1) + bins.width];
  const heights = [...counts, counts.at(-1)];
  const options = {
    width: host.clientWidth || 300,
    height,
    padding: [3, PAD, 0, PAD],
    legend: { show: false },
    cursor: { show: false },
    scales: { x: { time: false, range: () => x }, y: { range: () => [0, Math.max(...counts, 1e-9)] } },
    axes: [
      { show: Boolean(axis), stroke: soft, grid: { show: false }, ticks: { stroke: colour("line"), width: 1 }, font: FONT, size: 28 },
      { show: false },
    ],
    series: [{}, { stroke: lines, width: 1, fill: faded(lines, 0.35), paths: uPlot.paths.stepped({ align: 1 }), points: { show: false } }],
  };
  return follow(new uPlot(options, [ends, heights], host), host);
}

/** Points of two columns, or bars where x is text. */
export function scatter(host, { xs, ys, xName, yName, labels, height }) {
  const lines = colour("accent");
  const soft = colour("soft");
  const grid = { stroke: colour("line"), width: 1 };
  const order = xs.map((_, i) => i).sort((a, b) => xs[a] - xs[b]);
  const options = {
    width: host.clientWidth || 600,
    height,
    legend: { show: false },
    scales: { x: { time: false, ...(labels ? { range: (_, low, high) => [low - 0.5, high + 0.5] } : {}) } },
    axes: [
      { stroke: soft, grid, ticks: grid, font: FONT, label: xName, labelFont: FONT, labelSize: 20,
        ...(labels ? { space: 84, values: (_, at) => at.map((i) => (labels[i] ?? "").slice(0, 12)), incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500] } : {}) },
      { stroke: soft, grid, ticks: grid, font: FONT, label: yName, labelFont: FONT, labelSize: 20, size: 64 },
    ],
    series: [{}, labels
      ? { stroke: lines, fill: faded(lines, 0.4), paths: uPlot.paths.bars({ size: [0.7, 60] }), points: { show: false } }
      : { stroke: lines, paths: () => null, points: { show: true, size: 5, fill: faded(lines, 0.45), stroke: lines, width: 1 } }],
  };
  return follow(new uPlot(options, [order.map((i) => xs[i]), order.map((i) => ys[i])], host), host);
}

/** Keeps a plot as wide as its host; removed with it. */
function follow(plot, host) {
  const observer = new ResizeObserver(() => {
    if (!host.isConnected) observer.disconnect();
    else if (host.clientWidth && host.clientWidth !== plot.width) plot.setSize({ width: host.clientWidth, height: plot.height });
  });
  observer.observe(host);
  return plot;
}

function faded(rgb, alpha) {
  return rgb.replace("rgb(", "rgba(").replace(")", `, ${alpha})`);
}
