// How hard is this sample? A feature on the circle, its angle with its class, and what the loss takes off the cosine.
import { alaFactors, evaluateLoss, shotGroup, softmax } from "./losses.js";
import { GROUP_SHAPES, format, marker, panel, percent, readable, svg } from "./ui.js";

const radians = (degrees) => (degrees * Math.PI) / 180;
const degrees = (angle) => (angle * 180) / Math.PI;
/** An angle in degrees as one in [-180, 180). */
const wrap = (a) => ((((a + 180) % 360) + 360) % 360) - 180;
const fixed = (v, digits = 3) => v.toFixed(digits).replace("-", "−");
const share = (p) => (p < 5e-4 ? "< 0.1 %" : p > 1 - 5e-4 ? "> 99.9 %" : percent(p, 1));
const short = (name) => (name.length > 12 ? `${name.slice(0, 11)}…` : name);
const halo = { "paint-order": "stroke", stroke: "var(--lt-paper)", "stroke-width": 4, "stroke-linejoin": "round" };
let instances = 0;

/** How many times the odds grow: in full up to a million, then as a power of ten. */
function times(exponent) {
  if (exponent < Math.log(1e6)) return format(Math.exp(exponent));
  const power = Math.floor(exponent / Math.LN10);
  const raised = [...String(power)].map((d) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[d]).join("");
  return `${fixed(Math.exp(exponent - power * Math.LN10), 1)}\u00a0×\u00a010${raised}`;
}

/**
 * The places where the target's score, slope · cos + shift, is at least a rival's cosine, as angles from the target's
 * direction: [from, to], or null where there is none. The rival lies at `apart`.
 *
 * slope · cos φ + shift − cos(φ − apart) = reach · cos(φ − centre) + shift.
 */
function winning({ slope, shift }, apart) {
  const [x, y] = [slope - Math.cos(radians(apart)), -Math.sin(radians(apart))];
  const bound = -shift / Math.hypot(x, y);
  if (bound > 1) return null;
  const centre = degrees(Math.atan2(y, x));
  const half = degrees(Math.acos(bound));
  return [centre - half, centre + half];
}

/** The part that several arcs share, or null. */
function shared(arcs) {
  if (arcs.includes(null)) return null;
  const [from, to] = [Math.max(...arcs.map((arc) => arc[0])), Math.min(...arcs.map((arc) => arc[1]))];
  return from <= to ? [from, to] : null;
}

function render({ model, el }) {
  const view = panel({ model, el }, {
    kind: "CosineAngle", question: "How hard is this sample, and what does ALA take off?",
    inputs: ["angles", "class_counts", "class_names", "scale"],
  });
  const hatch = `lt-cosine-angle-hatch-${(instances += 1)}-${Math.random().toString(36).slice(2, 7)}`;
  const circle = view.picture("The unit circle: class directions, the feature, its angle and the decision boundaries");
  const bars = view.picture("Bars of the feature's cosine with each class, and the probabilities in training");

  const show = (a) => `${format(a)}°`;
  view.slider("feature_angle", { label: "Angle of the feature", min: 0, max: 360, step: 1, show });
  view.choice("target", { label: "Target class", options: model.get("class_names").map((name, k) => [k, readable(name)]) });
  view.choice("loss", { label: "Loss", options: [["ce", "cross-entropy"], ["ldam", "LDAM"], ["ala", "ALA"]] });

  const compute = () => {
    const angles = model.get("angles");
    const y = model.get("target");
    const loss = model.get("loss");
    const s = model.get("scale");
    const options = { class_counts: model.get("class_counts"), scale: s };
    const evaluate = (row) =>
      loss === "ce" ? evaluateLoss("ce", row.map((c) => s * c), y) : evaluateLoss(loss, row, y, options);
    const feature = model.get("feature_angle");
    const cosines = angles.map((a) => Math.cos(radians(feature - a)));
    const { adjusted, probabilities, margin = 0 } = evaluate(cosines);
    // Under each loss the target's adjusted cosine is a line in its cosine; two of its points give it.
    const [low, high] = [-1, 1].map((c) => evaluate(angles.map(() => c)).adjusted[y] / s);
    const line = { slope: (high - low) / 2, shift: (high + low) / 2 };
    const apart = angles.map((a) => wrap(a - angles[y]));
    const rivals = angles.map((_, j) => j).filter((j) => j !== y);
    const arcs = (of) => rivals.map((j) => winning(of, apart[j]));
    const plain = shared(arcs({ slope: 1, shift: 0 }));
    const demanded = shared(arcs(line));
    const best = Math.max(...rivals.map((j) => cosines[j]));
    const verdict = cosines[y] < best ? "wrong" : cosines[y] - margin < best ? "short" : "enough";
    return {
      angles, y, loss, s, feature, cosines, adjusted, probabilities, line, apart, plain, demanded, margin, verdict,
      before: softmax(cosines.map((c) => s * c)), factors: alaFactors(cosines, y, options),
      counts: options.class_counts, names: model.get("class_names").map(readable), theta: Math.abs(wrap(feature - angles[y])),
    };
  };

  const look = (now, k) => {
    const group = shotGroup(now.counts[k]);
    return { shape: GROUP_SHAPES[group], colour: `var(--lt-${group})` };
  };
  const images = (n) => `${format(n)} image${n === 1 ? "" : "s"}`;

  const drawCircle = (now, width) => {
    const label = now.names.map((name, k) => [short(name), images(now.counts[k])]);
    // The largest circle beside which the labels fit.
    const room = now.angles.map((a, k) => {
      const c = Math.abs(Math.cos(radians(a)));
      return (width / 2 - 7 * Math.max(...label[k].map((text) => text.length))) / Math.max(c, 0.3) - 18;
    });
    const R = Math.min(130, width / 2 - 24, ...room);
    const heights = now.angles.map((a) => -(R + 26) * Math.sin(radians(a)) - 3);
    const [cx, cy] = [width / 2, Math.max(R + 12, 14 - Math.min(...heights))];
    const keyTop = cy + Math.max(R + 12, 19 + Math.max(...heights)) + 18;
    circle.place(width, keyTop + 42);
    const at = (angle, r) => [cx + r * Math.cos(radians(angle)), cy - r * Math.sin(radians(angle))];
    const ray = (angle, r, attributes) => {
      const [x2, y2] = at(angle, r);
      circle.append(svg("line", { x1: cx, y1: cy, x2, y2, ...attributes }));
    };
    const arc = (from, to, r, start) => {
      const [[x1, y1], [x2, y2]] = [at(from, r), at(to, r)];
      return `${start}${x1},${y1}A${r},${r} 0 ${to - from > 180 ? 1 : 0} 0 ${x2},${y2}`;
    };
    const sector = ([from, to], attributes) => {
      const d = `${arc(now.angles[now.y] + from, now.angles[now.y] + to, R, `M${cx},${cy}L`)}Z`;
      if (to - from > 0.05) circle.append(svg("path", { d, ...attributes }));
    };
    circle.append(
      svg("defs", {},
        svg("pattern", { id: hatch, width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
          svg("line", { x1: 0, x2: 0, y1: 0, y2: 6, stroke: "var(--lt-soft)", "stroke-width": 2.4 }))),
    );
    const { colour } = look(now, now.y);
    const ours = (angle) => now.angles[now.y] + angle;
    const edge = { stroke: "var(--lt-ink)", "stroke-width": 1.6 };
    const dashed = { ...edge, "stroke-width": 2, "stroke-dasharray": "6 4" };
    if (now.plain) {
      const [from, to] = now.plain;
      const [a, b] = now.demanded ?? [to, to];
      sector([from, a], { fill: `url(#${hatch})`, "data-zone": "before" });
      sector([b, to], { fill: `url(#${hatch})`, "data-zone": "after" });
      if (now.demanded) sector([a, b], { fill: colour, "fill-opacity": 0.16, "data-zone": "enough" });
    }
    circle.append(svg("circle", { cx, cy, r: R, fill: "none", stroke: "var(--lt-edge)" }));
    for (const angle of now.plain ?? []) ray(ours(angle), R + 6, { ...edge, "data-ray": "boundary" });
    if (now.loss !== "ce")
      for (const angle of now.demanded ?? []) ray(ours(angle), R + 6, { ...dashed, "data-ray": "demanded" });

    now.angles.forEach((a, k) => {
      const style = look(now, k);
      ray(a, R, { stroke: style.colour, "stroke-width": k === now.y ? 3.5 : 2 });
      circle.append(marker(style.shape, ...at(a, R), 6, { fill: style.colour, stroke: "var(--lt-paper)" }));
      const c = Math.cos(radians(a));
      const [x] = at(a, R + 15);
      const anchor = c > 0.1 ? "start" : c < -0.1 ? "end" : "middle";
      const weight = k === now.y ? 700 : 400;
      label[k].forEach((text, i) => {
        const attributes = { x, y: cy + heights[k] + 15 * i, "text-anchor": anchor, "font-weight": weight };
        circle.append(svg("text", attributes, text));
      });
    });

    // The feature, its angle with the target, and a larger invisible disc to take it by.
    const turn = wrap(now.feature - now.angles[now.y]);
    const [from, to] = turn < 0 ? [ours(turn), ours(0)] : [ours(0), ours(turn)];
    ray(now.feature, R, { stroke: "var(--lt-ink)", "stroke-width": 2.5 });
    circle.append(svg("path", { d: arc(from, to, 0.3 * R, "M"), fill: "none", ...edge }));
    // A narrow angle has no room for its number inside: it goes beyond the feature.
    const beside = now.theta < 40 ? ours(turn + (turn < 0 ? -26 : 26)) : ours(turn / 2);
    const [tx, ty] = at(beside, 0.5 * R);
    const centred = { x: tx, y: ty + 4, "text-anchor": "middle", "font-weight": 600 };
    circle.append(svg("text", { ...centred, ...halo }, `θ = ${show(now.theta)}`));
    const tip = at(now.feature, R);
    circle.append(
      marker("diamond", ...tip, 6.5, { fill: "var(--lt-ink)", stroke: "var(--lt-paper)" }),
      svg("circle", { cx: tip[0], cy: tip[1], r: 20, fill: "transparent", "data-handle": "feature" }),
    );

    const key = [
      [svg("line", { x1: 0, x2: 26, y1: 0, y2: 0, ...edge }), "decision boundary of the target"],
      [svg("line", { x1: 0, x2: 26, y1: 0, y2: 0, ...dashed }), "what the loss demands in training"],
      [svg("rect", { x: 0, width: 26, y: -6, height: 12, fill: `url(#${hatch})` }), "right, but not by enough"],
    ];
    key.slice(0, now.loss === "ce" ? 1 : 3).forEach(([sign, text], i) => {
      const left = Math.max(4, cx - 125);
      circle.append(
        svg("g", { transform: `translate(${left},${keyTop + 17 * i})` }, sign, svg("text", { x: 34, y: 4 }, text)));
    });
    centre = { cx, cy };
  };

  const drawBars = (now, width) => {
    const rowHeight = 46;
    const top = 40;
    const bottom = top + rowHeight * now.names.length;
    bars.place(width, bottom + 74);
    const x = (v) => 12 + ((v + 1) / 2) * (width - 24);
    const write = (place, height, text, attributes = {}) =>
      bars.append(svg("text", { x: place, y: height, ...attributes }, text));
    const end = { "text-anchor": "end" };
    const bold = { "font-weight": 700 };
    const heads = svg("g", { class: "lt-axes", "aria-hidden": "true" });
    heads.append(svg("text", { x: 4, y: 16 }, "class (bold: target)"));
    heads.append(svg("text", { x: width - 74, y: 16, ...end }, "cosine"));
    heads.append(svg("text", { x: width - 4, y: 16, ...end }, "p̃"));
    for (const v of [-1, 0, 1]) {
      heads.append(svg("line", { class: v ? "lt-grid" : "lt-axis", x1: x(v), x2: x(v), y1: top + 8, y2: bottom }));
      heads.append(svg("text", { x: x(v), y: bottom + 15, "text-anchor": "middle" }, fixed(v, 0)));
    }
    bars.append(heads);
    now.cosines.forEach((c, k) => {
      const mine = k === now.y;
      const style = look(now, k);
      const height = top + rowHeight * k;
      const span = (a, b, attributes) => {
        const left = x(Math.min(a, b));
        bars.append(svg("rect", { x: left, width: x(Math.max(a, b)) - left, y: height + 16, height: 15, ...attributes }));
      };
      write(4, height + 8, short(now.names[k]), { ...(mine ? bold : {}), ...halo });
      const taken = mine && now.margin > 0;
      const result = width < 320 ? "" : ` = ${fixed(c - now.margin, 2)}`;
      const sum = taken ? `${fixed(c, 2)} − ${fixed(now.margin, 2)}${result}` : fixed(c, 2);
      write(width - 74, height + 8, sum, { ...end, ...(mine ? bold : {}), ...halo });
      write(width - 4, height + 8, share(now.probabilities[k]), { ...end, ...(mine ? bold : {}) });
      span(0, c, { fill: style.colour, "fill-opacity": 0.55 });
      if (!taken) return;
      // What is taken off; an arrow where it leads off the axis.
      const left = c - now.margin;
      span(Math.max(-1, left), c, { fill: `url(#${hatch})`, stroke: "var(--lt-soft)", "data-bar": "taken" });
      const ink = { fill: "var(--lt-ink)" };
      bars.append(
        left < -1
          ? svg("path", { d: `M0,${height + 23.5}l11,-9v18Z`, ...ink })
          : svg("rect", { x: x(left) - 1.5, width: 3, y: height + 12, height: 23, ...ink }),
      );
    });
    const { DF, QF, A } = now.factors;
    const taken = {
      ce: "nothing is taken off",
      ldam: `LDAM: Δ = ${fixed(now.margin)}, at any angle`,
      ala: `A = DF · QF = ${fixed(DF)} · ${fixed(QF)} = ${fixed(A)}`,
    };
    write(4, bottom + 44, taken[now.loss], { "font-weight": 700, "font-size": 14 });
    if (now.margin > 0) write(4, bottom + 64, `odds against the target × ${times(now.s * now.margin)}`);
  };

  let centre = null;
  view.draw = (width, beside) => {
    const now = compute();
    const first = beside ? Math.floor(0.54 * width) : width;
    drawCircle(now, first);
    drawBars(now, beside ? width - first - 16 : width);
    view.say(inWords(now));
  };

  const inWords = (now) => {
    const { DF, QF, A } = now.factors;
    const amount = {
      ce: `cross-entropy takes nothing off (DF would be ${fixed(DF)})`,
      ldam: `LDAM takes Δ = ${fixed(now.margin)} off, at any angle`,
      ala: `DF ${fixed(DF)} times QF ${fixed(QF)} is A = ${fixed(A)}, which ALA takes off`,
    }[now.loss];
    const [before, after] = [now.before, now.probabilities].map((p) =>
      share(p[now.y]).replace("<", "under").replace(">", "over"));
    const effect = now.margin > 0
      ? `. The odds against the target grow ${times(now.s * now.margin)} times; ` +
        `its probability is ${before} without the margin, ${after} with it`
      : `. The target's probability is ${before}`;
    const verdict = {
      wrong: "The sample is misclassified.",
      short: "The sample is right, but not by enough.",
      enough: now.loss === "ce" ? "The sample is right." : "The sample is right, and by enough.",
    }[now.verdict];
    const none = now.demanded ? "" : " No place on the circle would be enough.";
    return `θ = ${show(now.theta)}: ${amount}${effect}. ${verdict}${none}`;
  };

  view.drag(circle, (_, px, py) => {
    if (Math.hypot(px - centre.cx, py - centre.cy) < 5) return;
    const angle = Math.round(degrees(Math.atan2(centre.cy - py, px - centre.cx)));
    view.set("feature_angle", (angle + 360) % 360);
  });
  view.table(() => {
    const now = compute();
    const { DF, QF, A } = now.factors;
    // Towards a rival: how far from its own direction the target still wins.
    const reach = (line, k) => {
      const arc = winning(line, now.apart[k]);
      return arc ? `${fixed(now.apart[k] > 0 ? arc[1] : -arc[0], 2)}°` : "nowhere";
    };
    const rows = now.names.map((name, k) => {
      const mine = k === now.y;
      return [
        name, format(now.counts[k]), show(Math.abs(wrap(now.feature - now.angles[k]))), fixed(now.cosines[k], 4),
        ...(mine && now.loss === "ala" ? [DF, QF, A].map((v) => fixed(v, 4)) : ["–", "–", "–"]),
        mine ? fixed(now.margin, 4) : "–", fixed(now.adjusted[k], 3),
        percent(now.before[k], 3), percent(now.probabilities[k], 3),
        mine ? "–" : reach({ slope: 1, shift: 0 }, k), mine ? "–" : reach(now.line, k),
      ];
    });
    const factors = ["DF", "QF", "A", "taken off"];
    const ends = ["p", "p̃", "wins up to θ", "in training"];
    return { header: ["class", "images", "θ", "cosine", ...factors, "adjusted score", ...ends], rows };
  });
  return view.close;
}

export default { render };
