// What do the counts do to a boundary? Two classes on a line, and the log prior taken off with a strength.
import { axes, format, line, marker, panel, percent, scale, svg } from "./ui.js";
import { twoNormals } from "./two_normals.js";

const DOMAIN = [-4, 8];
const GRID = Array.from({ length: 241 }, (_, i) => DOMAIN[0] + ((DOMAIN[1] - DOMAIN[0]) * i) / 240);
const MAX_TAU = 2;
const TAUS = Array.from({ length: 41 }, (_, i) => i / 20);
const RATIOS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];
const HEAD = { name: "head", colour: "var(--lt-many)", dash: null, shape: "circle" };
const TAIL = { name: "tail", colour: "var(--lt-few)", dash: "7 3", shape: "triangle" };
const ERROR = { name: "balanced error", colour: "var(--lt-ink)", dash: "2 3", shape: "diamond" };

const fixed = (v, digits = 2) => v.toFixed(digits).replace("-", "−");
const strength = (tau) => `τ\u00a0=\u00a0${fixed(tau)}`;
const density = (x) => Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI);

function render({ model, el }) {
  const view = panel({ model, el }, { kind: "PriorShift", question: "What do the counts do to the boundary?" });
  const left = view.picture("Densities of the head and of the tail class on a line, the boundary, and the mistakes");
  const right = view.picture("Head and tail that are right, and the balanced error, against the strength τ");
  const ratios = [...new Set([...RATIOS, model.get("ratio")])].sort((a, b) => a - b);
  view.slider("ratio", { label: "Head images for one of the tail", values: ratios });
  view.slider("distance", { label: "Distance of the centres", min: 0.5, max: 5, step: 0.1, show: (d) => fixed(d, 1) });
  view.slider("tau", { label: "Strength τ", min: 0, max: MAX_TAU, step: 0.05, show: (tau) => fixed(tau) });

  const compute = () => {
    const [ratio, distance, tau] = ["ratio", "distance", "tau"].map((name) => model.get(name));
    return { ratio, distance, tau, rates: (t) => twoNormals(ratio, distance, t), now: twoNormals(ratio, distance, tau) };
  };

  let toPlace = null;
  const drawDensities = (width, height, { distance, now }) => {
    left.place(width, height);
    const x = scale(DOMAIN, [14, width - 14]);
    const y = scale([0, 0.46], [height - 42, 34]);
    axes(left, { x, y, xLabel: "position x of the image", yTicks: [], xTicks: [-4, -2, 0, 2, 4, 6, 8] });
    const bottom = y.range[0];
    const at = Math.min(DOMAIN[1], Math.max(DOMAIN[0], now.boundary));
    for (const [{ name, colour, dash, shape }, centre, wrong] of [
      [HEAD, 0, (v) => v >= at], [TAIL, distance, (v) => v <= at],
    ]) {
      const points = (values) => values.map((v) => [x(v), y(density(v - centre))]);
      const inside = points([...GRID, at].sort((a, b) => a - b).filter(wrong));
      if (inside.length > 1) {
        const closed = `${line([[inside[0][0], bottom], ...inside, [inside[inside.length - 1][0], bottom]])}Z`;
        left.append(svg("path", { d: closed, fill: colour, opacity: 0.35, "data-wrong": name }));
      }
      const look = { fill: "none", stroke: colour, "stroke-width": 2.5, "stroke-dasharray": dash };
      left.append(svg("path", { d: line(points(GRID)), ...look }));
      left.append(marker(shape, x(centre), bottom, 5, { fill: colour, stroke: "var(--lt-paper)" }));
    }
    const beyond = now.boundary > DOMAIN[1] ? " →" : now.boundary < DOMAIN[0] ? "← " : "";
    const label = beyond === "← " ? `← ${fixed(now.boundary)}` : `${fixed(now.boundary)}${beyond}`;
    const near = Math.min(width - 62, Math.max(62, x(at)));
    left.append(
      svg("line", { x1: x(at), x2: x(at), y1: 20, y2: bottom, stroke: "var(--lt-ink)", "stroke-width": 2 }),
      svg("text", { x: near, y: 13, "text-anchor": "middle" }, `boundary ${label}`),
      svg("line", { x1: x(at), x2: x(at), y1: 16, y2: bottom, stroke: "transparent", "stroke-width": 24, "data-handle": "tau" }),
    );
    // The names stand above the curves and grow apart from each other.
    const name = { y: y(0.425), "font-weight": 600, "paint-order": "stroke", stroke: "var(--lt-paper)", "stroke-width": 5 };
    const [headEnds, tailBegins] = [Math.min(0.35, distance / 2 - 0.1), Math.max(distance - 0.35, distance / 2 + 0.1)];
    left.append(
      svg("text", { x: x(headEnds), "text-anchor": "end", ...name }, HEAD.name),
      svg("text", { x: x(tailBegins), ...name }, TAIL.name),
    );
    toPlace = x.invert;
  };

  let toTau = null;
  const drawRates = (width, height, { tau, rates, now }) => {
    right.place(width, height);
    const x = scale([0, MAX_TAU], [40, width - 14]);
    const y = scale([0, 100], [height - 42, 34]);
    axes(right, {
      x, y, xLabel: "strength τ", yLabel: "share (%)", yLabelAt: 12, xTicks: [0, 0.5, 1, 1.5, 2], xShow: String,
    });
    const cursor = { x1: x(tau), x2: x(tau), y1: y.range[1] - 6, y2: y.range[0] };
    right.append(
      svg("line", { ...cursor, stroke: "var(--lt-edge)", "stroke-width": 2 }),
      svg("circle", { cx: x(tau), cy: cursor.y1, r: 5.5, fill: "var(--lt-accent)" }),
    );
    const rows = TAUS.map((t) => rates(t));
    let place = width - 14;
    for (const [key, { name, colour, dash, shape }] of [["balanced", ERROR], ["tail", TAIL], ["head", HEAD]]) {
      const points = rows.map((row, i) => [x(TAUS[i]), y(100 * row[key])]);
      const look = { fill: "none", stroke: colour, "stroke-width": 2.5, "stroke-dasharray": dash };
      right.append(svg("path", { d: line(points), ...look, "data-curve": key }));
      right.append(marker(shape, x(tau), y(100 * now[key]), 5, { fill: colour, stroke: "var(--lt-paper)" }));
      // The key has a line of its own: nowhere else stays free at every strength.
      right.append(svg("text", { x: place, y: 12, "text-anchor": "end" }, name));
      place -= 7 * name.length + 12;
      right.append(marker(shape, place, 8, 4, { fill: colour }));
      place -= 12;
    }
    right.append(svg("line", { ...cursor, y1: 16, stroke: "transparent", "stroke-width": 24, "data-handle": "tau" }));
    toTau = x.invert;
  };

  const choose = (tau) => view.set("tau", Math.min(MAX_TAU, Math.max(0, Math.round(20 * tau) / 20)));
  view.drag(left, (_, x) => {
    const { ratio, distance } = compute();
    // With equal counts there is no prior to take off: the boundary stays in the middle.
    if (ratio > 1) choose(1 - ((toPlace(x) - distance / 2) * distance) / Math.log(ratio));
  });
  view.drag(right, (_, x) => choose(toTau(x)));

  view.draw = (width, beside) => {
    const found = compute();
    const { ratio, distance, tau, rates, now } = found;
    const each = beside ? Math.floor((width - 12) / 2) : width;
    const height = Math.min(300, 170 + each / 4);
    drawDensities(each, height, found);
    drawRates(each, height, found);
    const past = now.boundary - distance;
    const where = past > 0 ? `${fixed(past)} beyond the tail's centre` : `${fixed(-past)} before the tail's centre`;
    view.say(
      `${format(ratio)} : 1, ${strength(tau)}: the boundary lies at ${fixed(now.boundary)}, ${where}. ` +
        `On a balanced test set head ${percent(now.head, 1)} and tail ${percent(now.tail, 1)} are right: ` +
        `balanced error ${percent(now.balanced, 1)}, at best ${percent(rates(1).balanced, 1)} (τ = 1). ` +
        `On data like the training set the error is ${percent(now.training, 1)}, at best ${percent(rates(0).training, 1)} (τ = 0).`,
    );
  };

  view.table(() => {
    const { tau, rates } = compute();
    const row = (name, t) => {
      const { boundary, head, tail, balanced, training } = rates(t);
      return [name, fixed(boundary), ...[head, tail, balanced, training].map((share) => percent(share, 1))];
    };
    return {
      header: ["strength", "boundary", "head right", "tail right", "balanced error", "error, as training"],
      rows: [row("0", 0), row(`${fixed(tau)} (chosen)`, tau), row("1", 1), row("2", 2)],
    };
  });
  return view.close;
}

export default { render };
