// Where does the loss put the boundary? A small network trained here on a long-tailed set of points in the plane.
import { classCounts } from "./losses.js";
import { format, line, marker, panel, percent, readable, reducedMotion, scale, svg } from "./ui.js";
import { predictor, training } from "./network.js";
import { decisionRegions, largest } from "./regions.js";

const STEPS = 200; // as in train_in_the_page.py
const PER_FRAME = 2;
const HIDDEN = { linear: 0, tiny: 12 };
const FACTORS = [1, 2, 5, 10, 20, 50, 100, 200];
const LOSSES = [
  ["ce", "cross-entropy"], ["focal", "focal, γ = 2"], ["cb", "class-balanced, β = 0.9999"], ["ldam", "LDAM"],
  ["la", "logit-adjusted, τ = 1"], ["balanced_softmax", "balanced softmax"], ["ala", "ALA"], ["gala", "GALA"],
];
// Shape and colour: the head, the tail, and what can lie between them.
const HEAD = ["circle", "var(--lt-many)"];
const TAIL = ["triangle", "var(--lt-few)"];
const BETWEEN = [
  ["square", "var(--lt-medium)"], ["diamond", "var(--lt-free-1)"], ["cross", "var(--lt-free-2)"],
  ["circle", "var(--lt-free-3)", "hollow"],
];
const INK = { fill: "none", stroke: "var(--lt-ink)" };
const DASHED = { ...INK, "stroke-width": 1.3, "stroke-dasharray": "5 4" };
const capital = (text) => text[0].toUpperCase() + text.slice(1);
const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
const slashed = (shares) => `${shares.map((v) => percent(v).slice(0, -2)).join("\u00a0/\u00a0")}\u00a0%`; // on one line

const short = (name) => (name.length > 14 ? `${name.slice(0, 13)}…` : name);

/** A class's marker. */
function mark([shape, colour, hollow], x, y, size) {
  const outlined = shape === "cross" || hollow;
  const style = outlined ? { stroke: colour, "stroke-width": 1.6 } : { stroke: "var(--lt-paper)", "stroke-width": 0.8 };
  return marker(shape, x, y, size, { fill: outlined ? "none" : colour, ...style });
}

// Bytes of float32 numbers, whatever view the page has of them.
const floats = ({ buffer, byteOffset, byteLength }) => new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength));

/** Flat coordinates as one list of points per class. */
function pools(bytes, sizes) {
  const flat = floats(bytes);
  let at = 0;
  return sizes.map((size) => Array.from({ length: size }, () => [flat[at++], flat[at++]]));
}

function render({ model, el }) {
  const view = panel({ model, el }, { kind: "TrainInThePage", question: "Where does the loss put the boundary?" });
  const names = model.get("class_names").map(readable);
  const train = pools(model.get("points"), model.get("pools"));
  const looks = [HEAD, ...BETWEEN.slice(0, train.length - 2), TAIL];
  const colours = looks.map(([, colour]) => colour);
  const largestPool = Math.max(...train.map((pool) => pool.length));
  const test = pools(model.get("test_points"), model.get("test_pools"));
  const start = floats(model.get("start"));
  const lossName = () => LOSSES.find(([value]) => value === model.get("loss"))[1];
  const map = view.picture("The plane, divided into the regions of the classes, with the training points");
  const bars = view.picture("Accuracy of each class on the test points, and their mean");

  const counts = () => {
    const wanted = classCounts(train.length, largestPool, model.get("imbalance_factor"));
    return train.map((pool, k) => Math.min(pool.length, Math.max(1, wanted[k])));
  };

  // One run per loss, as long as the network and the data stay: its weights after every step made so far.
  const runs = new Map();
  let kept = "";
  const weightsAt = (loss, step) => {
    const [hidden, sizes] = [HIDDEN[model.get("network")], counts()];
    const setting = `${hidden} ${sizes}`;
    if (setting !== kept) runs.clear();
    kept = setting;
    if (!runs.has(loss)) {
      const points = train.flatMap((pool, k) => pool.slice(0, sizes[k]));
      const labels = sizes.flatMap((n, k) => Array(n).fill(k));
      const linear = 3 * train.length; // the linear network's weights come first
      const own = hidden ? start.subarray(linear) : start.subarray(0, linear);
      const run = training({ loss, hidden, points, labels, counts: sizes, start: own });
      runs.set(loss, { ...run, history: [run.weights.slice()] });
    }
    const run = runs.get(loss);
    for (let made = run.history.length; made <= step; made += 1) {
      run.step();
      run.history.push(run.weights.slice());
    }
    return { predict: predictor(run.net, run.history[step]) };
  };
  const score = ({ predict }) => test.map((pool, k) => mean(pool.map((point) => (largest(predict(point)) === k ? 1 : 0))));

  /** What is shown: the chosen loss after the chosen step, and cross-entropy at its end to compare with. */
  const compute = () => {
    const [loss, step] = [model.get("loss"), model.get("step")];
    const shown = weightsAt(loss, step);
    shown.accuracy = score(shown);
    const reference = loss === "ce" ? null : weightsAt("ce", STEPS);
    if (reference) reference.accuracy = score(reference);
    return { step, shown, reference, sizes: counts() };
  };

  // ---- controls ----
  let frame = 0;
  const stop = () => {
    cancelAnimationFrame(frame);
    frame = 0;
    button.textContent = "Train";
    view.redraw();
  };
  const advance = () => {
    view.set("step", Math.min(STEPS, model.get("step") + PER_FRAME));
    if (model.get("step") < STEPS) frame = requestAnimationFrame(advance);
    else stop();
  };
  const play = () => {
    if (frame) return stop();
    if (reducedMotion()) return view.set("step", STEPS);
    if (model.get("step") === STEPS) view.set("step", 0);
    button.textContent = "Pause";
    frame = requestAnimationFrame(advance);
  };
  view.choice("loss", { label: "Loss", options: LOSSES });
  view.choice("network", { label: "Network", options: [["linear", "linear"], ["tiny", "12 hidden units"]] });
  view.slider("imbalance_factor", { label: "Imbalance factor", values: FACTORS.filter((f) => f === 1 || f <= largestPool) });
  const put = (step) => {
    if (frame) stop();
    view.set("step", step);
  };
  view.slider("step", { label: "Training step", min: 0, max: STEPS, put });
  const [button] = view.buttons(["Train", play]);

  // ---- pictures ----
  const flat = train.flat();
  const reach = [0, 1].map((i) => [Math.min(...flat.map((p) => p[i])), Math.max(...flat.map((p) => p[i]))]);

  // Half of a class's test points lie inside its ring.
  const rings = test.map((pool) => {
    const centre = [0, 1].map((i) => mean(pool.map((p) => p[i])));
    const away = pool.map((p) => Math.hypot(p[0] - centre[0], p[1] - centre[1])).sort((a, b) => a - b);
    return { centre, radius: away[Math.floor(away.length / 2)] };
  });

  function drawMap(width, height, { shown, reference, sizes }) {
    map.place(width, height);
    // The same scale on both axes, so that round clouds look round.
    const middle = reach.map(([low, high]) => (low + high) / 2);
    const unit = Math.min(width / (reach[0][1] - reach[0][0]), height / (reach[1][1] - reach[1][0])) / 1.06;
    const half = [width / 2 / unit, height / 2 / unit];
    const x = scale([middle[0] - half[0], middle[0] + half[0]], [0, width]);
    const y = scale([middle[1] - half[1], middle[1] + half[1]], [height, 0]);
    const columns = Math.ceil(width / 8);
    const lines = Math.ceil(height / 8);
    const vertex = (predict, r, c) => {
      const [px, py] = [(c * width) / columns, (r * height) / lines];
      return { x: px, y: py, s: predict([x.invert(px), y.invert(py)]) };
    };
    const row = (predict, r) => Array.from({ length: columns + 1 }, (_, c) => vertex(predict, r, c));
    const divide = ({ predict }) => decisionRegions(Array.from({ length: lines + 1 }, (_, r) => row(predict, r)));
    const draw = (paths, style) => paths.forEach((path) => map.append(svg("path", { d: line(path), ...style })));
    const ring = ({ centre, radius }, style) =>
      map.append(svg("circle", { cx: x(centre[0]), cy: y(centre[1]), r: radius * unit, fill: "none", ...style }));

    const { areas, borders } = divide(shown);
    areas.forEach((d, k) => map.append(svg("path", { class: "lt-region", d, fill: colours[k], "fill-opacity": 0.2 })));
    rings.forEach((r) => ring(r, { stroke: "var(--lt-paper)", "stroke-width": 5 }));
    const points = train.map((pool, k) => pool.slice(0, sizes[k]).map((p) => [x(p[0]), y(p[1])]));
    points.forEach((places, k) => {
      const size = sizes[k] > 50 ? 2.6 : sizes[k] > 10 ? 3.6 : 5;
      places.forEach(([px, py]) => map.append(mark(looks[k], px, py, size)));
    });
    rings.forEach((r, k) => ring(r, { class: "lt-ring", stroke: colours[k], "stroke-width": 2 }));
    if (reference) draw(divide(reference).borders, { class: "lt-reference", ...DASHED });
    draw(borders, { class: "lt-border", ...INK, "stroke-width": 2 });
    map.append(svg("rect", { ...INK, x: 0.5, y: 0.5, width: width - 1, height: height - 1, stroke: "var(--lt-edge)" }));
    nameRegions(width, height, points, (px, py) => largest(shown.predict([x.invert(px), y.invert(py)])));
  }

  // A region's name stands at the picture's rim, clear of points, as near as it can to the ray from the middle of all
  // classes through its own.
  function nameRegions(width, height, points, classAt) {
    const middle = [0, 1].map((i) => mean(rings.map(({ centre }) => centre[i])));
    rings.forEach(({ centre }, k) => {
      const name = short(names[k]);
      const half = 4 + 4 * name.length; // of its length, about
      const [w, h] = [width / 2 - half - 6, height / 2 - 16];
      const place = (angle) => {
        const r = Math.min(w / Math.abs(Math.cos(angle)), h / Math.abs(Math.sin(angle)));
        return { angle, px: width / 2 + r * Math.cos(angle), py: height / 2 - r * Math.sin(angle) };
      };
      const clear = ({ px, py }) => !points.flat().some(([a, b]) => Math.abs(a - px) < half + 6 && Math.abs(b - py) < 14);
      const inside = ({ px, py }) => [-half, 0, half].every((dx) => [-8, 8].every((dy) => classAt(px + dx, py + dy) === k));
      const ray = Math.atan2(centre[1] - middle[1], centre[0] - middle[0]);
      const nearness = ({ angle }) => Math.cos(angle - ray);
      const free = Array.from({ length: 72 }, (_, i) => place((i * Math.PI) / 36)).filter((p) => inside(p) && clear(p));
      if (!free.length) return;
      const { px, py } = free.reduce((a, b) => (nearness(b) > nearness(a) ? b : a));
      const style = { class: "lt-name", "text-anchor": "middle", "font-weight": 650 };
      map.append(svg("text", { ...style, x: px, y: py + 4 }, name));
    });
  }

  function drawBars(width, height, { shown, reference, sizes }) {
    bars.place(width, height);
    const text = (x, y, words, style = {}) => bars.append(svg("text", { x, y, ...style }, words));
    const values = [...shown.accuracy, mean(shown.accuracy)];
    const before = reference ? [...reference.accuracy, mean(reference.accuracy)] : null;
    const space = (height - 62) / values.length;
    text(0, 12, "right on the test points");
    values.forEach((value, k) => {
      const y = 18 + k * space + (space - 31) / 2;
      const isClass = k < names.length;
      const bar = { x: 0, y: y + 18, height: 9 };
      if (isClass) bars.append(mark(looks[k], 6, y + 9, 4.5));
      const unit = `${width < 290 ? "" : "training "}point${sizes[k] === 1 ? "" : "s"}`;
      if (isClass) text(17, y + 13, `${short(names[k])}, ${format(sizes[k])} ${unit}`);
      else text(0, y + 13, "mean of the classes");
      text(width, y + 13, percent(value), { "text-anchor": "end", "font-weight": 650 });
      bars.append(svg("rect", { ...bar, width, fill: "var(--lt-field)", stroke: "var(--lt-line)" }));
      const fill = isClass ? colours[k] : "var(--lt-edge)";
      bars.append(svg("rect", { ...bar, class: "lt-bar", width: width * value, fill }));
      if (before) tick(width * before[k], y + 15);
    });
    bars.append(svg("circle", { cx: 13, cy: height - 30, r: 7, ...INK, "stroke-width": 2 }));
    text(42, height - 26, "holds half of a class’s test points");
    if (!before) return;
    bars.append(svg("line", { x1: 0, x2: 24, y1: height - 8, y2: height - 8, ...DASHED }));
    tick(32, height - 15);
    text(42, height - 4, "cross-entropy, at its end");
  }
  const tick = (x, y) => bars.append(svg("line", { x1: x, x2: x, y1: y, y2: y + 15, ...INK, "stroke-width": 2 }));

  view.draw = (width, beside) => {
    const state = compute();
    const { step, shown, reference, sizes } = state;
    const left = beside ? Math.round(width * 0.58) : width;
    const rows = names.length + 1;
    const height = beside ? Math.max(236, 62 + 34 * rows) : Math.round(width * 0.72);
    drawMap(left, height, state);
    drawBars(beside ? width - left - 14 : width, beside ? height : 62 + 40 * rows, state);
    const all = sizes.reduce((a, b) => a + b, 0);
    const fewest = Math.min(...sizes);
    const when = step === 0 ? "before training" : `after ${step} step${step === 1 ? "" : "s"}`;
    const result = ({ accuracy }) => `${slashed(accuracy)} right, mean ${percent(mean(accuracy))}`;
    view.say(
      `${capital(lossName())} ${when}: ${result(shown)}. ` +
        (reference ? `Cross-entropy ends at ${result(reference)}. ` : "") +
        (fewest === Math.max(...sizes)
          ? `Every class has ${fewest} of ${format(all)} training points.`
          : `Rarest class: ${names[sizes.lastIndexOf(fewest)]}, ${fewest} of ${format(all)} training points.`),
    );
    // Python reads the result where training rests, not at every frame.
    const known = JSON.stringify(model.get("accuracy")) === JSON.stringify(shown.accuracy);
    if (!frame && !known) view.set("accuracy", shown.accuracy);
  };

  view.table(() => {
    const { shown, reference, sizes } = compute();
    const cells = (state, k) => percent(k < names.length ? state.accuracy[k] : mean(state.accuracy), 2);
    const rows = [...names, "mean"].map((name, k) => [
      name, format(sizes[k] ?? sizes.reduce((a, b) => a + b, 0)), format(test[k]?.length ?? test.flat().length),
      cells(shown, k), ...(reference ? [cells(reference, k)] : []),
    ]);
    const header = ["class", "training points", "test points", `right: ${lossName()}`];
    return { header: reference ? [...header, "right: cross-entropy at its end"] : header, rows };
  });
  return () => {
    cancelAnimationFrame(frame);
    view.close();
  };
}

export default { render };
