// Who is pushed, which way, and how hard? One image's gradient on a few classes, under every loss.
import { COSINE_LOSSES, LOSS_NAMES, classBalancedWeights, evaluateLoss, shotGroup } from "./losses.js";
import { GROUP_SHAPES, format, marker, panel, readable, scale, svg } from "./ui.js";

const LABELS = {
  ce: "cross-entropy", focal: "focal loss", cb: "class-balanced loss", ldam: "LDAM", la: "logit-adjusted loss",
  balanced_softmax: "balanced softmax", ala: "ALA", gala: "GALA",
};
// Loss, its one option with a slider, the slider's label and its end.
const OPTIONS = [
  ["focal", "gamma", "Focusing γ", 5],
  ["la", "tau", "Strength τ", 2],
  ["gala", "lambda_pos", "Strength λ₁", 2],
];
const LEFT = 38;
const STRIPS = { scores: [78, 120], probabilities: [180, 240], pushes: [290, 406] }; // top and bottom, in pixels
const HEIGHT = 424;

const fixed = (value, digits = 2) => {
  const text = Math.abs(value).toFixed(digits);
  return value < 0 && Number(text) > 0 ? `−${text}` : text;
};
const short = (value) => fixed(value, Math.abs(value) < 9.995 ? 2 : 1);
const capital = (text) => text[0].toUpperCase() + text.slice(1);
const cut = (text, letters) => (text.length > letters ? `${text.slice(0, Math.max(1, letters - 1))}…` : text);

// A block arrow from `from` to `to`; the head of a short one is half of it, and at length zero it is a line.
function arrow(x, from, to, width) {
  const neck = to - Math.sign(to - from) * Math.min(Math.abs(to - from) / 2, 0.6 * width);
  const [thin, wide] = [width / 4, width / 2];
  return `M${x - thin},${from}V${neck}H${x - wide}L${x},${to}L${x + wide},${neck}H${x + thin}V${from}Z`;
}

function render({ model, el }) {
  const counts = model.get("class_counts");
  const names = model.get("class_names").map(readable);
  const groups = counts.map((n) => shotGroup(n));
  const inputs = ["logits", "cosines", "theta", "scale"];
  const view = panel({ model, el }, { kind: "GradientFlow", question: "Who is pushed, which way, and how hard?", inputs });
  const picture = view.picture("Per class: score, probability, and an arrow for the push, up on its class, down on others");
  view.choice("loss", { label: "Loss", options: LOSS_NAMES.map((name) => [name, LABELS[name]]) });
  view.choice("target", { label: "Class of the image", options: names.map((name, c) => [c, name]) });
  const options = OPTIONS.map(([loss, trait, label, max]) => {
    return [loss, view.slider(trait, { label, min: 0, max, step: 0.1, show: fixed })];
  });

  const kind = () => (COSINE_LOSSES.includes(model.get("loss")) ? "cosines" : "logits");
  const put = (name, c, value) => view.set(name, model.get(name).map((old, j) => (j === c ? value : old)));
  const sliders = (name, word, range) =>
    names.map((label, c) => {
      const place = { get: () => model.get(name)[c], put: (v) => put(name, c, v) };
      return view.slider(null, { ...range, ...place, half: true, label: `${word} of ${label}`, show: fixed });
    });
  const scores = {
    logits: sliders("logits", "Logit", { min: -6, max: 6, step: 0.1 }),
    cosines: sliders("cosines", "Cosine", { min: -1, max: 1, step: 0.01 }),
  };
  // Logits given from Python may lie outside; the sliders then reach further, and do not shrink in mid-drag.
  let bound = 6;
  const refresh = () => {
    bound = Math.max(bound, ...model.get("logits").map((z) => Math.ceil(Math.abs(z))));
    for (const { input } of scores.logits) [input.min, input.max] = [-bound, bound];
    for (const slider of [...scores.logits, ...scores.cosines]) slider.refresh();
  };
  ["logits", "cosines"].forEach((name) => view.listen(name, refresh));
  refresh();

  const compute = () => {
    const [loss, target, values] = [model.get("loss"), model.get("target"), model.get(kind())];
    const slope = kind() === "cosines" ? model.get("scale") : 1;
    const given = { class_counts: counts, theta: model.get("theta"), scale: model.get("scale") };
    for (const [, trait] of OPTIONS) given[trait] = model.get(trait);
    const chosen = evaluateLoss(loss, values, target, given);
    // Plain cross-entropy of the same scores; by the chain rule its derivative by a cosine has the factor s.
    const plain = evaluateLoss("ce", values.map((v) => slope * v), target);
    const plainGradient = plain.gradient.map((g) => slope * g);
    return { loss, target, values, slope, chosen, p: plain.probabilities, plainGradient };
  };

  let moved; // puts class c's score at a height of the picture as it is drawn now
  view.draw = (width) => {
    const { loss, target, values, slope, chosen, p, plainGradient } = compute();
    for (const [name, slider] of options) slider.node.hidden = name !== loss;
    for (const [name, list] of Object.entries(scores)) list.forEach((slider) => (slider.node.hidden = name !== kind()));

    picture.place(width, HEIGHT);
    const column = (width - LEFT) / names.length;
    const centre = (c) => LEFT + column * (c + 0.5);
    const colour = (c) => `var(--lt-${groups[c]})`;
    const paired = loss !== "ce";
    const bar = Math.min(28, 0.3 * column);
    const apart = paired ? bar / 2 + 3 : 0;
    const roomy = column >= 58; // for two numbers side by side
    const soft = "fill: var(--lt-soft)";
    const text = (x, y, words, attributes = {}) => svg("text", { x, y, "text-anchor": "middle", ...attributes }, words);
    const strip = (name, low, high, ticks) => {
      const y = scale([low, high], STRIPS[name].slice().reverse());
      const group = svg("g", { class: "lt-axes", "aria-hidden": "true" });
      for (const v of ticks) {
        // Only the zero line runs through: numbers stand where the others would.
        group.append(svg("line", { class: "lt-axis", x1: LEFT - (v ? 3 : 0), x2: v ? LEFT : width, y1: y(v), y2: y(v) }));
        group.append(svg("text", { x: LEFT - 6, y: y(v) + 4, "text-anchor": "end" }, String(v).replace("-", "−")));
      }
      picture.append(group);
      return y;
    };
    const title = (y, words, plainly, adjusted) => {
      const node = svg("text", { x: 0, y, "font-weight": 600 }, words);
      const key = [["□", plainly], ["■", adjusted]].filter(([, name]) => name);
      node.append(...key.map(([mark, name]) => svg("tspan", { dx: 9, "font-weight": 400 }, `${mark} ${name}`)));
      picture.append(node);
    };

    const band = { x: centre(target) - column / 2 + 2, y: 0, width: column - 4, height: HEIGHT, rx: 5 };
    picture.append(svg("rect", { ...band, fill: "var(--lt-field)" }));
    const fits = (words) => 7.6 * words.length < column;
    const forms = [(n) => `${format(n)} image${n === 1 ? "" : "s"}`, (n) => `n = ${format(n)}`];
    const images = forms.find((form) => counts.every((n) => fits(form(n)))) ?? format;
    names.forEach((name, c) => {
      picture.append(text(centre(c), 16, cut(name, Math.floor(column / 8)), { "font-weight": 650 }));
      picture.append(text(centre(c), 33, images(counts[c]), { style: soft }));
    });

    const reach = kind() === "cosines" ? 1 : bound;
    const y = strip("scores", -reach, reach, [-reach, 0, reach]);
    title(52, kind() === "cosines" ? "cosine (drag a mark)" : "logit z (drag a mark)");
    values.forEach((v, c) => {
      const stem = { x1: centre(c), x2: centre(c), y1: y(0), y2: y(v) };
      picture.append(svg("line", { ...stem, stroke: colour(c), "stroke-width": 2 }));
      const mark = marker(GROUP_SHAPES[groups[c]], centre(c), y(v), 6.5, { fill: colour(c) });
      const around = svg("circle", { cx: centre(c), cy: y(v), r: 16, fill: "transparent" });
      picture.append(svg("g", { "data-handle": c }, around, mark));
      picture.append(text(centre(c), y(v) + (v < 0 ? 20 : -11), short(v)));
    });
    moved = (c, height) => {
      const step = kind() === "cosines" ? 100 : 10;
      put(kind(), c, Math.round(step * Math.min(reach, Math.max(-reach, y.invert(height)))) / step || 0);
    };

    // Pairs: outline for plain cross-entropy at the left, filled for the chosen loss at the right.
    const pair = (c, draw, at, plainValue, value) => {
      const look = { stroke: colour(c), "stroke-width": 1.5, "stroke-linejoin": "round" };
      if (paired) picture.append(svg("path", { d: draw(centre(c) - apart, plainValue), fill: "var(--lt-paper)", ...look }));
      picture.append(svg("path", { d: draw(centre(c) + apart, value), fill: colour(c), "data-filled": c, ...look }));
      const beside = paired && roomy ? Math.max(15, apart) : 0;
      if (beside) picture.append(text(centre(c) - beside, at(plainValue), short(Math.abs(plainValue)), { style: soft }));
      picture.append(text(centre(c) + beside, at(value), short(Math.abs(value)), { "font-weight": 600 }));
    };
    const yp = strip("probabilities", 0, 1, [0, 0.5, 1]);
    const block = (x, v) => `M${x - bar / 2},${yp(0)}V${yp(v)}H${x + bar / 2}V${yp(0)}Z`;
    const adjusted = ["focal", "cb"].includes(loss) ? "p̃, here equal to p" : "p̃, of adjusted scores";
    title(155, width < 420 ? "prob." : "probability", paired && "p", paired ? adjusted : "p");
    values.forEach((_, c) => pair(c, block, (v) => yp(v) - 5, p[c], chosen.probabilities[c]));

    const largest = Math.max(...plainGradient.map(Math.abs), ...chosen.gradient.map(Math.abs));
    const most = slope === 1 ? [1, 1.5, 2, 3, 4, 5].find((r) => 1.05 * r >= largest) ?? 6 : slope;
    const yg = strip("pushes", -most, most, [-most, 0, most]);
    const push = (x, v) => arrow(x, yg(0), yg(v), bar);
    title(267, width < 420 ? "push" : `push on the ${kind().slice(0, -1)}`, paired && LABELS.ce, LABELS[loss]);
    values.forEach((_, c) => {
      const end = (v) => yg(v) + (c === target ? -5 : 14);
      pair(c, push, end, -plainGradient[c], -chosen.gradient[c]);
    });
    const role = "the image’s class";
    picture.append(text(centre(target), STRIPS.pushes[1] - 4, fits(role) ? role : "target", { style: soft }));

    const hardest = chosen.gradient.indexOf(Math.max(...chosen.gradient.filter((_, c) => c !== target)));
    const [sizes, plainSizes] = [chosen.gradient, plainGradient].map((g) => [-g[target], g[hardest]].map(short));
    const [name, amount] = [names[target], chosen.margin];
    view.say(
      `${capital(LABELS[loss])} pushes ${name} up with ${sizes[0]} and ${names[hardest]} down with ${sizes[1]}` +
        (paired ? `; cross-entropy would push them with ${plainSizes[0]} and ${plainSizes[1]}. ` : ". ") +
        (loss === "cb" ? `The weight of ${name} is ${short(classBalancedWeights(counts)[target])}. ` : "") +
        (amount === undefined ? "" : `The margin takes ${short(amount)} off the cosine of ${name}. `) +
        `The pushes down (negative gradients) add up to the push up (positive gradient), ${sizes[0]}. ` +
        `Loss ${fixed(chosen.loss, 3)}.`,
    );
  };
  view.drag(picture, (c, _, height) => moved(Number(c), height));
  view.table(() => {
    const { values, chosen, p, plainGradient } = compute();
    const score = kind().slice(0, -1);
    const columns = [p, chosen.probabilities, chosen.gradient, plainGradient];
    const row = (c) => [values, ...columns].map((list) => fixed(list[c], 5));
    const sums = columns.map((list) => fixed(list.reduce((a, b) => a + b, 0), 5));
    return {
      header: ["class", "images", score, "p", "p̃", "gradient", "gradient of cross-entropy"],
      rows: [...names.map((name, c) => [name, format(counts[c]), ...row(c)]), ["sum", "", "", ...sums]],
    };
  });
  return view.close;
}

export default { render };
