// Where each class's score is the largest: the areas and the lines between them, from scores on a grid of points.

const between = (a, b, t) => a + t * (b - a);
const interpolate = (a, b, t) => {
  const s = a.s.map((v, k) => between(v, b.s[k], t));
  return { x: between(a.x, b.x, t), y: between(a.y, b.y, t), s };
};

/** The part of a convex polygon where `above(vertex)`, linear along its edges, is at least 0. */
function clip(polygon, above) {
  const kept = [];
  polygon.forEach((a, i) => {
    const b = polygon[(i + 1) % polygon.length];
    const [from, to] = [above(a), above(b)];
    if (from >= 0) kept.push(a);
    if (from * to < 0) kept.push(interpolate(a, b, from / (from - to)));
  });
  return kept;
}

/** The class with the largest score. */
export const largest = (scores) => scores.indexOf(Math.max(...scores));

const at = ({ x, y }) => `${x.toFixed(1)},${y.toFixed(1)}`;

/**
 * `rows` is a grid of vertices {x, y, s}: s holds one score per class. Scores are taken as linear in each half of a cell,
 * which is exact for a linear classifier. Returns {areas, borders}: the path of each class, and the polylines between.
 */
export function decisionRegions(rows) {
  const classes = rows[0][0].s.length;
  const areas = Array(classes).fill("");
  const segments = [];
  for (let r = 0; r + 1 < rows.length; r += 1) {
    const tops = [rows[r].map((v) => largest(v.s)), rows[r + 1].map((v) => largest(v.s))];
    let from = 0; // a run of cells that belong to one class is one rectangle
    for (let c = 0; c + 1 < rows[r].length; c += 1) {
      const corners = [rows[r][c], rows[r][c + 1], rows[r + 1][c + 1], rows[r + 1][c]];
      const owner = tops[0][c];
      const whole = tops[0][c + 1] === owner && tops[1][c] === owner && tops[1][c + 1] === owner;
      if (whole) {
        const ends = c + 2 === rows[r].length || tops[0][c + 2] !== owner || tops[1][c + 2] !== owner;
        const run = [rows[r][from], corners[1], corners[2], rows[r + 1][from]];
        if (ends) areas[owner] += `M${run.map(at).join("L")}Z`;
        if (ends) from = c + 1;
        continue;
      }
      from = c + 1;
      for (const triangle of [[corners[0], corners[1], corners[2]], [corners[0], corners[2], corners[3]]])
        for (let k = 0; k < classes; k += 1) split(triangle, k, areas, segments);
    }
  }
  return { areas, borders: chain(segments) };
}

function split(triangle, k, areas, segments) {
  let polygon = triangle;
  triangle[0].s.forEach((_, j) => { if (j !== k) polygon = clip(polygon, (v) => v.s[k] - v.s[j]); });
  if (polygon.length < 3) return;
  areas[k] += `M${polygon.map(at).join("L")}Z`;
  const even = (v, j) => Math.abs(v.s[k] - v.s[j]) <= 1e-9 * (Math.abs(v.s[k]) + Math.abs(v.s[j]));
  polygon.forEach((a, i) => {
    const b = polygon[(i + 1) % polygon.length];
    for (let j = k + 1; j < a.s.length; j += 1) if (even(a, j) && even(b, j)) segments.push([[a.x, a.y], [b.x, b.y]]);
  });
}

/** Segments joined end to end, so that a dashed line keeps its rhythm. */
function chain(segments) {
  const key = ([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`;
  const open = new Map();
  const add = (point, segment) => open.set(key(point), [...(open.get(key(point)) ?? []), segment]);
  segments.forEach((segment) => segment.forEach((point) => add(point, segment)));
  const used = new Set();
  const follow = (point) => {
    const path = [];
    for (let end = point; ; ) {
      const next = open.get(key(end)).find((segment) => !used.has(segment));
      if (!next) return path;
      used.add(next);
      end = key(next[0]) === key(end) ? next[1] : next[0];
      path.push(end);
    }
  };
  const paths = [];
  for (const segment of segments) {
    if (used.has(segment)) continue;
    used.add(segment);
    paths.push([...follow(segment[0]).reverse(), ...segment, ...follow(segment[1])]);
  }
  return paths;
}
