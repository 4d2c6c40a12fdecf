// Counting distances: pure functions, without a picture.

/** How many of a sorted list are at most so large. */
export function upTo(sorted, limit) {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] <= limit) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** How many pairs of a histogram are at most so far apart: exact for whole numbers, else linear within a bin. */
export function pairsUpTo({ edges, counts }, limit, wholeNumbers) {
  let sum = 0;
  for (let i = 0; i < counts.length && edges[i] <= limit; i++) {
    const part = wholeNumbers ? 1 : Math.min(1, (limit - edges[i]) / (edges[i + 1] - edges[i]));
    sum += counts[i] * part;
  }
  return wholeNumbers ? sum : Math.round(sum);
}

/** From where to where a picture of a run's distances goes: everything near, and all but the farthest thousandth of the pairs. */
export function span({ edges, counts, nearest }) {
  const lists = Object.values(nearest).filter((list) => list.length);
  const first = counts.findIndex((count) => count > 0);
  const low = Math.min(edges[Math.max(first, 0)], ...lists.map((list) => list[0]));
  const high = Math.max(quantile({ edges, counts }, 0.999), ...lists.map((list) => list.at(-1)));
  const margin = (high - low || 1) * 0.02;
  return [low - margin, high + margin];
}

/** The end of the bin in which a share of the pairs is reached. */
function quantile({ edges, counts }, level) {
  const total = counts.reduce((sum, count) => sum + count, 0);
  let sum = 0;
  for (let i = 0; i < counts.length; i++) {
    sum += counts[i];
    if (sum >= level * total) return edges[i + 1];
  }
  return edges.at(-1);
}

/** Bins for a picture: the left ends, and their width; whole numbers get whole bins. */
export function bins([low, high], wholeNumbers, about = 72) {
  const width = wholeNumbers ? Math.max(1, Math.ceil((high - low) / about)) : (high - low) / about;
  const start = wholeNumbers ? Math.floor(low) : low;
  const lows = [];
  for (let at = start; at < high; at += width) lows.push(at);
  return { lows, width };
}

/** How many of a list fall into each bin. */
export function counted(list, { lows, width }) {
  const found = lows.map(() => 0);
  for (const value of list) {
    const at = Math.floor((value - lows[0]) / width);
    if (at >= 0 && at < found.length) found[at] += 1;
  }
  return found;
}

/** A fine histogram in wider bins; a fine bin that two share is divided between them. */
export function widened({ edges, counts }, { lows, width }, wholeNumbers) {
  const found = lows.map(() => 0);
  counts.forEach((count, i) => {
    if (!count) return;
    const end = wholeNumbers ? edges[i] + 1 : edges[i + 1];
    const first = Math.floor((edges[i] - lows[0]) / width);
    const last = wholeNumbers ? first : Math.ceil((end - lows[0]) / width) - 1;
    for (let at = first; at <= last; at++) {
      const overlap = wholeNumbers ? 1 : (Math.min(end, lows[0] + (at + 1) * width) - Math.max(edges[i], lows[0] + at * width)) / (end - edges[i]);
      if (at >= 0 && at < found.length) found[at] += count * overlap;
    }
  });
  return found;
}
