// Which prior does GALA learn? Its accumulators per class, over the steps of a toy trained here or of a recorded run.
import { evaluateLoss, galaAccumulate, shotGroup } from "./losses.js";
import { axes, format, GROUP_SHAPES, line, marker, panel, readable, reducedMotion, scale, svg } from "./ui.js";

const [SPREAD, RATE, MOMENTUM] = [0.55, 0.2, 0.9];
const TICK = 60; // milliseconds between two pictures of Play

const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
const slopeOf = (x, y) => {
  const [mx, my] = [mean(x), mean(y)];
  return mean(x.map((v, i) => (v - mx) * (y[i] - my))) / mean(x.map((v) => (v - mx) ** 2));
};
// A loop, since a long run has more numbers than a call may have arguments.
const extent = (rows) => rows.flat().reduce(([low, high], v) => [Math.min(low, v), Math.max(high, v)], [1 / 0, -1 / 0]);
const exact = (v) => String(Number(v.toPrecision(12)));

// ---- the toy ------------------------------------------------------------------------------------------------------

/** The points: a class's are the quantiles of a logistic distribution around its centre. */
const points = (counts, centres) =>
  counts.flatMap((n, k) =>
    Array.from({ length: n }, (_, i) => ({ x: centres[k] + SPREAD * Math.log((i + 0.5) / (n - i - 0.5)), k })));

/**
 * Full-batch gradient descent on a linear classifier: {theta, phi}, a row of C numbers per step. The two are added up
 * apart, theta from 1 - p of the target and phi from the p of all other classes, though they come out the same.
 */
function train(counts, centres, numSteps, options) {
  const samples = points(counts, centres);
  const targets = samples.map(({ k }) => k);
  const zeros = () => counts.map(() => 0);
  const [weights, biases, weightSpeed, biasSpeed] = [zeros(), zeros(), zeros(), zeros()];
  let positives = { gradientSum: zeros(), theta: zeros() };
  let negatives = { gradientSum: zeros(), theta: zeros() };
  const trajectory = { theta: [], phi: [] };
  for (let step = 0; step < numSteps; step += 1) {
    const now = { ...options, theta: positives.theta };
    const [byWeight, byBias] = [zeros(), zeros()];
    const pulls = [];
    const pushes = [];
    for (const { x, k } of samples) {
      const { loss, gradient, probabilities } = evaluateLoss("gala", weights.map((w, j) => w * x + biases[j]), k, now);
      gradient.forEach((g, j) => {
        byWeight[j] += (g * x) / samples.length;
        byBias[j] += g / samples.length;
      });
      pulls.push(-Math.expm1(-loss));
      pushes.push(probabilities.reduce((sum, p, j) => (j === k ? sum : sum + p), 0));
    }
    counts.forEach((_, j) => {
      weightSpeed[j] = MOMENTUM * weightSpeed[j] + byWeight[j];
      biasSpeed[j] = MOMENTUM * biasSpeed[j] + byBias[j];
      weights[j] -= RATE * weightSpeed[j];
      biases[j] -= RATE * biasSpeed[j];
    });
    positives = galaAccumulate(positives, pulls, targets, options.accumulate);
    negatives = galaAccumulate(negatives, pushes, targets, options.accumulate);
    trajectory.theta.push(positives.theta);
    trajectory.phi.push(negatives.theta);
  }
  return trajectory;
}

/** A recorded run, from bytes (float32); it has no phi of its own. */
function recorded(view, numSteps) {
  const values = new Float32Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
  const width = values.length / numSteps;
  return { theta: Array.from({ length: numSteps }, (_, i) => [...values.slice(i * width, (i + 1) * width)]), phi: null };
}

// ---- the picture --------------------------------------------------------------------------------------------------

/** Heights near the `wanted` ones, in the same order and at least `gap` apart: neighbours that are too close give way. */
function spread(wanted, gap) {
  const order = wanted.map((_, i) => i).sort((a, b) => wanted[a] - wanted[b]);
  const placed = wanted.slice();
  for (let round = 0; round < 50; round += 1)
    for (let i = 1; i < order.length; i += 1) {
      const short = gap - (placed[order[i]] - placed[order[i - 1]]);
      if (short <= 0) continue;
      placed[order[i - 1]] -= short / 2;
      placed[order[i]] += short / 2;
    }
  return placed;
}

/** Text that stays legible where it crosses a line. */
const label = (x, y, text, attributes = {}) =>
  svg("text", { x, y, stroke: "var(--lt-paper)", "stroke-width": 3, "paint-order": "stroke", ...attributes }, text);

const stroke = (d, attributes) => svg("path", { d, fill: "none", ...attributes });
const short = (v) => (v >= 1e6 ? `${v / 1e6}M` : v >= 1e3 ? `${v / 1e3}k` : String(v));

function render({ model, el }) {
  const view = panel({ model, el }, { kind: "GalaAccumulators", question: "Which prior does GALA learn?" });
  const steps = model.get("steps");
  const counts = model.get("class_counts");
  const names = model.get("class_names").map(readable);
  const centres = model.get("centres");
  const eps = model.get("eps");
  const toy = centres.length > 0;
  const last = steps.length - 1;
  const logCounts = counts.map(Math.log);
  const [smallest, largest] = [Math.min(...counts), Math.max(...counts)];
  const [rarest, frequent] = [counts.indexOf(smallest), counts.indexOf(largest)];
  const labelled = counts.length <= 8 ? counts.map((_, k) => k) : [frequent, rarest];
  const colour = (k) => `var(--lt-${shotGroup(counts[k])})`;
  const shape = (k) => GROUP_SHAPES[shotGroup(counts[k])];

  const against = view.picture("Accumulator of every class against its number of training images, on logarithmic axes");
  const over = view.picture("Accumulator of every class over the training steps, on logarithmic axes");

  // ---- controls
  const place = () => Math.max(0, steps.indexOf(model.get("step")));
  const go = (i) => view.set("step", steps[Math.min(last, Math.max(0, i))]);
  let timer = null;
  const pause = () => {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
  };
  const advance = () => {
    go(place() + Math.max(1, Math.round(place() / 25))); // even speed on the logarithmic axis
    if (place() === last) pause();
  };
  const start = () => {
    if (timer !== null) return pause();
    if (reducedMotion()) return go(last);
    if (place() === last) go(0);
    timer = setInterval(advance, TICK);
    play.textContent = "Pause";
  };
  const [play] = view.buttons(
    ["Play", start],
    ["Step", () => { pause(); go(place() + 1); }],
    ["Reset", () => { pause(); go(0); }],
  );
  view.slider("step", { label: "Training step", values: steps });
  if (toy) {
    const weight = { min: 0, max: 2, step: 0.1, half: true, show: (v) => v.toFixed(2) };
    view.slider("lambda_pos", { label: "λ₁, on θ", ...weight });
    view.slider("lambda_neg", { label: "λ₂, on φ", ...weight });
    view.choice("form", { label: "Form", options: [["released", "released"], ["formula", "formula"]] });
    view.choice("accumulate", { label: "Accumulation", options: [["double", "double"], ["single", "single"]] });
  }

  // ---- numbers
  let kept = { key: null };
  const trajectory = () => {
    const options = { eps };
    for (const name of ["lambda_pos", "lambda_neg", "form", "accumulate"]) options[name] = model.get(name);
    const key = JSON.stringify(options);
    if (kept.key === key || (kept.key !== null && !toy)) return kept; // what was recorded does not depend on them
    const made = toy ? train(counts, centres, steps.length, options) : recorded(model.get("trajectory"), steps.length);
    const logs = made.theta.map((row) => row.map((t) => Math.log(t + eps)));
    // A common factor cancels in the softmax, so theta can be read as a count once it has the counts' geometric mean.
    const toCount = logs.map((row) => Math.exp(mean(logCounts) - mean(row)));
    const asCounts = made.theta.map((row, i) => row.map((t) => (t + eps) * toCount[i]));
    kept = { key, ...made, logs, toCount, asCounts };
    return kept;
  };

  // ---- theta against the counts
  const drawAgainst = (width, height, at) => {
    const { asCounts, toCount, phi, logs } = trajectory();
    const [low, high] = extent(asCounts);
    const x = scale([smallest / 1.6, largest * 1.6], [48, width - 12], { log: true });
    const heights = [Math.min(smallest, low) / 2.6, Math.max(largest, high) * 1.4];
    const y = scale(heights, [height - 42, 26], { log: true });
    const xTicks = toy ? [...new Set(counts)] : x.ticks(4);
    const yLabel = phi ? "θ (filled) and φ (ring), scaled to images" : "θ, scaled to images";
    against.place(width, height);
    axes(against, { x, y, xTicks, xLabel: "training images n", yShow: short, yLabel, yLabelAt: 12 });
    const slope = slopeOf(logCounts, logs[at]);
    const middle = mean(logCounts);
    const ends = [smallest / 1.3, largest * 1.3];
    const fitted = (n) => {
      const v = Math.exp(middle + slope * (Math.log(n) - middle));
      const held = Math.min(y.domain[1], Math.max(y.domain[0], v)); // a steep line is cut at the frame
      return held === v ? [x(n), y(v)] : [x(Math.exp(middle + (Math.log(held) - middle) / slope)), y(held)];
    };
    const count = { stroke: "var(--lt-soft)", "stroke-dasharray": "5 4" };
    const fit = { stroke: "var(--lt-ink)", "stroke-width": 1.5 };
    against.append(stroke(line(ends.map((n) => [x(n), y(n)])), count));
    against.append(stroke(line(ends.map(fitted)), fit));
    [["the counts: slope 1", count], [`fitted: slope ${slope.toFixed(2)}`, fit]].forEach(([text, look], i) => {
      const [right, h] = [x.range[1], y.range[0] - 30 + 18 * i];
      against.append(stroke(line([[right - 152, h - 4], [right - 128, h - 4]]), look));
      against.append(label(right - 122, h, text));
    });
    counts.forEach((n, k) => {
      against.append(marker(shape(k), x(n), y(asCounts[at][k]), counts.length > 8 ? 3.5 : 5, { fill: colour(k) }));
      if (!phi) return;
      const ring = { r: 9, fill: "none", stroke: colour(k), "stroke-width": 1.5 };
      against.append(svg("circle", { cx: x(n), cy: y((phi[at][k] + eps) * toCount[at]), ...ring }));
      const beside = { hard: -15, easy: 23 }[names[k]]; // apart, since both start in one place
      if (beside) against.append(label(x(n), y(asCounts[at][k]) + beside, names[k], { "text-anchor": "middle" }));
    });
  };

  // ---- theta over the steps
  const drawOver = (width, height, at) => {
    const { logs } = trajectory();
    const [low, high] = extent(logs);
    const x = scale([steps[0], steps[last]], [48, width - (toy ? 62 : 46)], { log: true });
    const top = high + 1;
    const y = scale([Math.exp(low - 0.3), Math.exp(top)], [height - 42, 26], { log: true });
    const level = (v) => y(Math.exp(v));
    over.place(width, height);
    const yLabel = `θ + ε per class, ε = ${eps}`;
    axes(over, { x, y, xTicks: 4, xShow: short, xLabel: "training step t", yShow: short, yLabel, yLabelAt: 12 });
    // How steady gradients would add up: a line to compare with, above all curves at the first step, cut at the top.
    const power = model.get("accumulate") === "double" ? 2 : 1;
    const foot = Math.max(...logs[0]) + 0.6;
    const until = Math.min(steps[last], steps[0] * Math.exp((top - foot) / power));
    const steady = (t) => level(foot + power * Math.log(t / steps[0]));
    const dotted = { stroke: "var(--lt-soft)", "stroke-dasharray": "2 4" };
    over.append(stroke(line([steps[0], until].map((t) => [x(t), steady(t)])), dotted));
    const near = Math.sqrt(steps[0] * until);
    over.append(label(x(near) - 8, steady(near) - 4, power === 2 ? "like t²" : "like t", { "text-anchor": "end" }));
    const now = x(steps[at]);
    over.append(svg("line", { class: "lt-axis", x1: now, x2: now, y1: y.range[0], y2: y.range[1] }));
    counts.forEach((_, k) => {
      const d = line(logs.map((row, i) => [x(steps[i]), level(row[k])]));
      over.append(stroke(d, { stroke: colour(k), "stroke-width": counts.length > 8 ? 0.8 : 1.8 }));
    });
    const heights = spread(labelled.map((k) => level(logs[last][k])), 13);
    labelled.forEach((k, i) => {
      over.append(marker(shape(k), now, level(logs[at][k]), 4, { fill: colour(k) }));
      const text = toy && names[k] ? `${counts[k]} ${names[k]}` : format(counts[k]);
      over.append(svg("text", { x: x.range[1] + 8, y: heights[i] + 4 }, text));
    });
    const handle = { x1: now, x2: now, y1: y.range[0], y2: y.range[1], stroke: "transparent", "stroke-width": 24 };
    over.append(svg("line", { ...handle, "data-handle": "step" }));
    over.toStep = (pixel) => {
      const away = (s) => Math.abs(x(s) - pixel);
      return steps.reduce((best, s, i) => (away(s) < away(steps[best]) ? i : best), 0);
    };
  };
  view.drag(over, (_, x) => { pause(); go(over.toStep(x)); });

  // ---- words
  const words = (at) => {
    const { theta, logs, asCounts } = trajectory();
    const slope = slopeOf(logCounts, logs[at]);
    const [one, two] = [model.get("lambda_pos"), model.get("lambda_neg")];
    const verdict = slope < 0.95 ? "a milder prior than" : slope <= 1.05 ? "almost" : "a stronger prior than";
    const rise = `log θ rises with log n at a slope of ${slope.toFixed(2)}, ${verdict} the counts`;
    const result = [`Step ${format(steps[at])}: ${rise}.`];
    const as = (k) => format(asCounts[at][k]);
    if (toy) {
      const [hard, easy] = [names.indexOf("hard"), names.indexOf("easy")];
      const pair = `two classes with ${counts[hard]} images`;
      result.push(`Of ${pair}, θ counts the hard one as ${as(hard)} and the easy one as ${as(easy)}.`);
    } else {
      const [most, least] = [format(largest), format(smallest)];
      result.push(`GALA counts the largest class (${most}) as ${as(frequent)}, the rarest (${least}) as ${as(rarest)}.`);
    }
    if (model.get("form") === "released") {
      if (one !== 1) result.push(`With λ₁ = ${format(one)} the loss uses n to the power ${(one * slope).toFixed(2)}.`);
      const why = "it shifts all logits of an image alike, and the softmax cancels that";
      if (toy) result.push(`θ = φ, and λ₂ changes nothing: ${why}.`);
    } else if (one === two) {
      result.push("With λ₁ = λ₂ the formula is the released form.");
    } else {
      const shift = (k) => format((one - two) * Math.log(theta[at][k] + eps));
      result.push(
        "Here λ₂ matters: against the released form every gap to the target's logit gains (λ₁ − λ₂) log θ, " +
          `${shift(frequent)} in the largest class and ${shift(rarest)} in the rarest.`,
      );
    }
    return result.join(" ");
  };

  view.draw = (width, beside) => {
    const at = place();
    const each = beside ? Math.floor((width - 12) / 2) : width;
    const height = beside ? 320 : 290;
    drawAgainst(each, height, at);
    drawOver(each, height, at);
    view.say(words(at));
    const theta = trajectory().theta[at];
    if (JSON.stringify(model.get("theta")) !== JSON.stringify(theta)) view.set("theta", theta);
  };
  view.table(() => {
    const { theta, phi, logs, asCounts } = trajectory();
    const at = place();
    const row = (n, k) => [
      names[k] ? `${k + 1}, ${names[k]}` : `${k + 1}`,
      format(n),
      exact(theta[at][k]),
      ...(phi ? [exact(phi[at][k])] : []),
      exact(logs[at][k]),
      exact(asCounts[at][k]),
    ];
    const header = ["class", "images", "θ", ...(phi ? ["φ"] : []), "log(θ + ε)", "θ as a count"];
    return { header, rows: counts.map(row) };
  });
  return () => {
    pause();
    view.close();
  };
}

export default { render };
