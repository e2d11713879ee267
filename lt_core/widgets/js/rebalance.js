// How much should the head give back? Column masses and accuracy of recorded predictions after a post-hoc adjustment.
import { logPrior, shotGroup } from "./losses.js";
import { GROUP_SHAPES, axes, format, line, marker, panel, percent, readable, scale, svg } from "./ui.js";

const GROUPS = ["many", "medium", "few"];
// In the order of drawing: the curve of all classes lies on top.
const CURVES = {
  many: { shape: GROUP_SHAPES.many, colour: "var(--lt-many)", dash: null, width: 1.6 },
  medium: { shape: GROUP_SHAPES.medium, colour: "var(--lt-medium)", dash: "7 3", width: 1.6 },
  few: { shape: GROUP_SHAPES.few, colour: "var(--lt-few)", dash: "2 3", width: 1.6 },
  all: { shape: "diamond", colour: "var(--lt-ink)", dash: null, width: 2.6 },
};
const MAX_TAU = 2;
const TAUS = Array.from({ length: 41 }, (_, i) => i / 20);
const AT_TAU = { rebalance: "re-balanced", adjust: "log prior subtracted" };

const strength = (tau) => `τ\u00a0=\u00a0${tau.toFixed(2)}`;
const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
const signed = (points) => (points < -0.049 ? "−" : "+") + Math.abs(points).toFixed(1);

/** The parts of the packed bytes: labels, and for each run the images' candidates with their steps below the best. */
function unpack(data, numImages, numRuns) {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  let place = 0;
  const take = (length) => bytes.subarray(place, (place += length));
  const labels = take(numImages);
  const runs = Array.from({ length: numRuns }, () => {
    const numbers = take(numImages);
    const size = numbers.reduce((a, b) => a + b, 0);
    return { numbers, classes: take(size), steps: take(size) };
  });
  return { labels, runs };
}

/**
 * The predicted class of each image at the strength tau. Dividing p_j by s_j^tau, and subtracting tau log(prior_j) from
 * log p_j, are the same rule: the largest log p_j - tau b_j wins, with b the log column sums or the log prior. Only a
 * class on the upper envelope of these lines ever wins, so the candidates suffice; of equal ones the lowest, as in torch.
 */
function predict({ numbers, classes, steps }, bias, tau, logStep) {
  let place = 0;
  return numbers.map((size) => {
    const end = place + size;
    let best = place;
    let top = -Infinity;
    for (; place < end; place += 1) {
      const score = -logStep * steps[place] - tau * bias[classes[place]];
      if (score > top) [best, top] = [place, score];
    }
    return classes[best];
  });
}

/** Labels of a chart's curves, moved apart so that none covers another. */
function spread(places, gap, low, high) {
  const order = places.map((_, i) => i).sort((a, b) => places[a] - places[b]);
  const moved = places.slice();
  order.forEach((i, k) => { if (k) moved[i] = Math.max(moved[i], moved[order[k - 1]] + gap); });
  let limit = high;
  for (const i of order.reverse()) {
    moved[i] = Math.max(low, Math.min(moved[i], limit));
    limit = moved[i] - gap;
  }
  return moved;
}

function render({ model, el }) {
  const view = panel({ model, el }, { kind: "Rebalance", question: "How much should the head give back?" });
  const counts = model.get("class_counts");
  const names = model.get("runs");
  const logStep = model.get("log_step");
  const { labels, runs } = unpack(model.get("candidates"), model.get("num_images"), names.length);
  const biases = names.map((_, r) => ({ rebalance: model.get("column_sums")[r].map(Math.log), adjust: logPrior(counts) }));
  const order = counts.map((_, c) => c).sort((a, b) => counts[b] - counts[a]);
  const groups = counts.map((n) => shotGroup(n));
  const images = counts.map(() => 0);
  labels.forEach((c) => (images[c] += 1));

  /** Accuracy of each class (NaN without an image) and the means over all classes and the groups (null without one). */
  const accuracy = (r, method, tau) => {
    const right = counts.map(() => 0);
    predict(runs[r], biases[r][method], tau, logStep).forEach((c, i) => { if (c === labels[i]) right[c] += 1; });
    const classes = right.map((n, c) => n / images[c]);
    const result = { classes };
    for (const name of ["all", ...GROUPS]) {
      const inside = classes.filter((a, c) => images[c] && (name === "all" || groups[c] === name));
      result[name] = inside.length ? mean(inside) : null;
    }
    return result;
  };

  /** Sums of the classes' scores, rows not renormalised, scaled to a mean of 1. */
  const masses = (r, method, tau) => {
    const logs = biases[r].rebalance.map((s, c) => s - tau * biases[r][method][c]);
    const values = logs.map((v) => Math.exp(v - Math.max(...logs)));
    const scaleTo = mean(values);
    return values.map((v) => v / scaleTo);
  };

  // Every run and method shares the axes, so that they can be compared.
  const curves = names.map((_, r) =>
    Object.fromEntries(Object.keys(AT_TAU).map((m) => [m, TAUS.map((tau) => accuracy(r, m, tau))])));
  const all = curves.flatMap((run) => Object.values(run).flat());
  const highest = Math.max(...all.flatMap((a) => Object.keys(CURVES).map((name) => a[name] ?? 0)));
  const ends = names.flatMap((_, r) => Object.keys(AT_TAU).flatMap((m) => [0, MAX_TAU].flatMap((tau) => masses(r, m, tau))));
  const massRange = [Math.min(0.5, ...ends) / 1.3, Math.max(2, ...ends) * 1.3];

  const left = view.picture("Column mass of each class, most frequent first, as trained and after the adjustment");
  const right = view.picture("Accuracy of all, many-, medium- and few-shot classes against the strength τ");
  view.slider("tau", { label: "Strength τ", min: 0, max: MAX_TAU, step: 0.05, show: (tau) => tau.toFixed(2) });
  view.choice("method", {
    label: "After training",
    options: [["rebalance", "re-balance (sees the test set)"], ["adjust", "subtract the log prior"]],
  });
  if (names.length > 1) view.choice("run", { label: "Trained with", options: names.map((name) => [name, name]) });

  const compute = () => {
    const r = names.indexOf(model.get("run"));
    const [method, tau] = [model.get("method"), model.get("tau")];
    return {
      name: names[r], method, tau, curves: curves[r][method], trained: curves[r][method][0],
      now: accuracy(r, method, tau), massTrained: masses(r, method, 0), massNow: masses(r, method, tau),
    };
  };

  const drawMasses = (width, height, { tau, massTrained, massNow }) => {
    left.place(width, height);
    const x = scale([-0.5, counts.length - 0.5], [44, width - 40]);
    const y = scale(massRange, [height - 42, 56], { log: true });
    const places = [...new Set([0, 0.25, 0.5, 0.75, 1].map((f) => Math.max(0, Math.round(counts.length * f) - 1)))];
    axes(left, {
      x, y, xLabel: "class, most frequent first", yLabel: "column mass", yLabelAt: 12, xTicks: places,
      xShow: (v) => format(v + 1), yShow: String,
    });
    const equal = { x1: x.range[0], x2: x.range[1], y1: y(1), y2: y(1) };
    left.append(
      svg("line", { ...equal, stroke: "var(--lt-ink)", "stroke-dasharray": "5 3" }),
      svg("text", { x: x.range[1] + 4, y: y(1) + 4 }, "equal"),
    );
    let start = 0;
    for (const name of GROUPS) {
      const size = groups.filter((g) => g === name).length;
      if (!size) continue;
      const middle = x(start + (size - 1) / 2);
      left.append(svg("text", { x: middle, y: 48, "text-anchor": "middle", "font-weight": 600 }, name));
      const border = { x1: x(start - 0.5), x2: x(start - 0.5), y1: 38, y2: y.range[0], "stroke-dasharray": "3 3" };
      if (start) left.append(svg("line", { class: "lt-axis", ...border }));
      start += size;
    }
    const hollow = { fill: "none", stroke: "var(--lt-edge)" };
    left.append(...order.map((c, i) => marker("circle", x(i), y(massTrained[c]), 2, hollow)));
    left.append(...order.map((c, i) =>
      marker(GROUP_SHAPES[groups[c]], x(i), y(massNow[c]), 2.6, { class: "lt-now", fill: `var(--lt-${groups[c]})` })));
    // The key has a line of its own: nowhere else stays free at every strength.
    left.append(
      marker("circle", width - 152, 8, 2.5, hollow),
      svg("text", { x: width - 145, y: 12 }, "as trained"),
      marker("circle", width - 68, 8, 3.5, { fill: "var(--lt-ink)" }),
      svg("text", { x: width - 61, y: 12 }, strength(tau)),
    );
  };

  let toTau = null;
  const drawAccuracy = (width, height, { tau, curves: rows, now }) => {
    right.place(width, height);
    const x = scale([0, MAX_TAU], [40, width - 64]);
    const y = scale([0, 100 * highest * 1.06], [height - 42, 30]);
    axes(right, {
      x, y, xLabel: "strength τ (0: as trained)", yLabel: "accuracy (%)", yLabelAt: 12,
      xTicks: [0, 0.5, 1, 1.5, 2], xShow: String,
    });
    const cursor = { x1: x(tau), x2: x(tau), y1: y.range[1] - 6, y2: y.range[0] };
    right.append(
      svg("line", { ...cursor, stroke: "var(--lt-edge)", "stroke-width": 2 }),
      svg("circle", { cx: x(tau), cy: cursor.y1, r: 5.5, fill: "var(--lt-accent)" }),
    );
    const shown = Object.keys(CURVES).filter((name) => now[name] !== null);
    const heights = spread(shown.map((name) => y(100 * rows.at(-1)[name])), 15, y.range[1], y.range[0]);
    shown.forEach((name, k) => {
      const { shape, colour, dash, width: thick } = CURVES[name];
      right.append(svg("path", {
        d: line(rows.map((row, i) => [x(TAUS[i]), y(100 * row[name])])), fill: "none", stroke: colour,
        "stroke-width": thick, "stroke-dasharray": dash,
      }));
      const dots = [0, 10, 20, 30, 40].map((i) => marker(shape, x(TAUS[i]), y(100 * rows[i][name]), 3.2, { fill: colour }));
      const outlined = { fill: colour, stroke: "var(--lt-paper)", "stroke-width": 1.5 };
      right.append(...dots, marker(shape, x(tau), y(100 * now[name]), 5, outlined));
      right.append(svg("text", { x: x.range[1] + 8, y: heights[k] + 4, "font-weight": name === "all" ? 650 : 400 }, name));
    });
    // What the pointer holds is wider than the cursor that is seen.
    right.append(svg("line", { ...cursor, y1: 12, stroke: "transparent", "stroke-width": 24, "data-handle": "tau" }));
    toTau = x.invert;
  };
  view.drag(right, (_, x) => view.set("tau", Math.min(MAX_TAU, Math.max(0, Math.round(20 * toTau(x)) / 20))));

  view.draw = (width, beside) => {
    const result = compute();
    const { name, method, tau, now, trained } = result;
    const each = beside ? Math.floor((width - 12) / 2) : width;
    const height = Math.min(320, 190 + each / 4);
    drawMasses(each, height, result);
    drawAccuracy(each, height, result);
    const best = result.curves.reduce((top, row, i) => (row.all > result.curves[top].all ? i : top), 0);
    const points = (g) => `${(100 * now[g]).toFixed(1)}${tau ? ` (${signed(100 * (now[g] - trained[g]))})` : ""}`;
    const parts = GROUPS.filter((g) => now[g] !== null).map((g) => `${g} ${points(g)}`);
    view.say(
      `${name[0].toUpperCase()}${name.slice(1)}, ` +
        (tau ? `${AT_TAU[method]} at ${strength(tau)}: ` : "as trained: ") +
        `accuracy ${percent(now.all, 1)}` +
        (tau ? `, ${signed(100 * (now.all - trained.all))} points against as trained` : "") +
        `; ${parts.join(", ")}. ` +
        (best
          ? `Best: ${percent(result.curves[best].all, 1)} at ${strength(TAUS[best])}, if you may look at the test labels.`
          : "No τ above 0 does better than the network as trained."),
    );
  };

  view.table(() => {
    const { tau, now, trained, massTrained, massNow } = compute();
    const at = `at ${strength(tau)}`;
    const share = (value) => (Number.isFinite(value) ? percent(value, 1) : "–");
    const row = (name, size, inside, a, b) => {
      const over = (values) => format(mean(values.filter((_, c) => inside(c))), 4);
      return [name, size, over(massTrained), over(massNow), share(a ?? NaN), share(b ?? NaN)];
    };
    const sections = ["all", ...GROUPS].filter((g) => g === "all" || groups.includes(g)).map((g) => {
      const inside = (c) => g === "all" || groups[c] === g;
      return row(g, format(counts.filter((_, c) => inside(c)).reduce((a, b) => a + b, 0)), inside, trained[g], now[g]);
    });
    const title = (c) => readable(model.get("class_names")[c] ?? `class ${c}`);
    const single = order.map((c) => row(title(c), format(counts[c]), (k) => k === c, trained.classes[c], now.classes[c]));
    return {
      header: ["classes", "training images", "mass, as trained", `mass, ${at}`, "accuracy, as trained", `accuracy, ${at}`],
      rows: [...sections, ...single],
    };
  });
  return view.close;
}

export default { render };
