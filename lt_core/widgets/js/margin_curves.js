// Whose margin is larger? ALA's and LDAM's against the class count, in size or (divided by the rarest's) in shape; or the
// margins of face recognition, and LDAM's, against the angle between the image and its class.
import { difficultyFactor, faceMargin, quantityFactor } from "./losses.js";
import { axes, format, line, marker, panel, scale, svg } from "./ui.js";

const fixed = (v, digits = 3) => v.toFixed(digits).replace("-", "−");
const degrees = (cosine) => `${Math.round((Math.acos(cosine) * 180) / Math.PI)}°`;
const middle = (a, b) => Math.sqrt(a * b);
const radians = (angle) => (angle * Math.PI) / 180;

/** Counts from `low` to `high` in equal factors. */
const spaced = (low, high, steps) => Array.from({ length: steps + 1 }, (_, i) => low * (high / low) ** (i / steps));

/** Where `f` changes its sign between neighbours of `grid`: bisection on the logarithm. */
function roots(f, grid) {
  const found = [];
  for (let i = 1; i < grid.length; i += 1) {
    let [a, b] = [grid[i - 1], grid[i]];
    if (f(a) > 0 === f(b) > 0) continue;
    for (let k = 0; k < 50; k += 1) {
      if (f(a) > 0 === f(middle(a, b)) > 0) a = middle(a, b);
      else b = middle(a, b);
    }
    found.push(middle(a, b));
  }
  return found;
}

/** Heights of labels, moved apart to `gap` pixels without changing their order, none below `bottom`. */
function apart(heights, bottom, gap = 15) {
  const order = heights.map((_, i) => i).sort((i, j) => heights[i] - heights[j]);
  const placed = heights.slice();
  order.forEach((i, k) => { if (k) placed[i] = Math.max(placed[i], placed[order[k - 1]] + gap); });
  let limit = bottom;
  for (const i of order.reverse()) {
    placed[i] = Math.min(placed[i], limit);
    limit = placed[i] - gap;
  }
  return placed;
}

function render({ model, el }) {
  const view = panel({ model, el }, { kind: "MarginCurves", question: "Whose margin is larger, and for which class?" });
  const smallest = model.get("smallest");
  const largest = model.get("largest");
  const grid = spaced(smallest, largest, 200);
  // Every count of at most two significant digits: what a text names is among them.
  const tens = Array.from({ length: 6 }, (_, e) => 10 ** e);
  const round = tens.flatMap((ten) => Array.from({ length: 99 }, (_, i) => (i + 1) * ten));
  const places = [...new Set([...round, smallest, largest, model.get("images")])]
    .filter((n) => n >= smallest && n <= largest).sort((a, b) => a - b);
  const picture = view.picture("Curves of margins against the number of images of the class, or the angle of the image");

  view.choice("against", { label: "Against", options: [["images", "the class count"], ["angle", "the angle"]] });
  const cosineSlider = view.slider("target_cosine", {
    label: "Target cosine", min: -1, max: 1, step: 0.05, show: (c) => `${fixed(c, 2)} (${degrees(c)})`,
  });
  view.slider("images", { label: "Images of the class", values: places });
  const also = view.choice("also", {
    label: "Also show", options: [["none", "nothing"], ["power", "a power"], ["log2", "log2"]],
  });
  const exponent = view.slider("exponent", {
    label: "Exponent of the power", min: 0, max: 1, step: 0.05,
    show: (g) => (g === 0.25 ? "0.25 (LDAM)" : fixed(g, 2)),
  });
  const relativeToggle = view.toggle("relative", { label: "1 at the rarest class" });
  const ofFaces = [
    view.slider("cosface", { label: "CosFace subtracts", min: 0, max: 0.6, step: 0.05, show: (m) => fixed(m, 2) }),
    view.slider("arcface", {
      label: "ArcFace adds", min: 0, max: 1, step: 0.05, show: (m) => `${fixed(m, 2)} (${Math.round((m * 180) / Math.PI)}°)`,
    }),
    view.slider("sphereface", { label: "SphereFace multiplies", min: 1, max: 2, step: 0.1, show: (m) => fixed(m, 1) }),
  ];

  const compute = () => {
    const cosine = model.get("target_cosine");
    const relative = model.get("relative");
    const also = model.get("also");
    const DF = difficultyFactor(cosine);
    const factor = (quantity) => (n) => quantityFactor([smallest, n], quantity)[1];
    const taken = { QF: factor("log"), LDAM: factor("ldam") };
    const LDAM = { name: "LDAM", of: taken.LDAM, colour: "var(--lt-ldam)", dash: "7 4", width: 2.5, shape: "square" };
    const QF = { name: "QF", of: taken.QF, colour: "var(--lt-ala)", width: 1.2 };
    const A = { name: "A", of: (n) => DF * taken.QF(n), colour: "var(--lt-ala)", width: 3, shape: "circle" };
    // DF is the same for every class and divides out of the shape; at DF = 1 the margin is QF itself.
    let curves = [QF, A, LDAM];
    if (relative) curves = [{ ...QF, width: 3, shape: "circle" }, LDAM];
    else if (DF === 1) curves = [{ ...A, name: "A = QF" }, LDAM];
    const gamma = model.get("exponent");
    if (also === "power") {
      const of = (n) => taken.LDAM(smallest) * (smallest / n) ** gamma;
      curves.push({ name: "power", of, colour: "var(--lt-soft)", dash: "2 4", width: 2.5, shape: "diamond" });
    }
    if (also === "log2") {
      const of = (n) => DF * factor("log2")(n);
      // Its shape is QF's: nothing else to draw where sizes are divided out.
      if (!relative) curves.push({ name: "log2", of, colour: "var(--lt-ala)", dash: "9 3 2 3", width: 2.5, shape: "diamond" });
    }
    const at = (curve, n) => curve.of(n) / (relative ? curve.of(smallest) : 1);
    const smallerAbove = (n) => 1 - (2 * taken.LDAM(n)) / taken.QF(n);
    // Whose curve leads, count by count: the larger margin, or the steeper fall of the shape.
    const steepness = (f, n) => Math.log(f(n * 0.999) / f(n * 1.001));
    const lead = relative
      ? (n) => steepness(taken.QF, n) - steepness(taken.LDAM, n)
      : (n) => A.of(n) - LDAM.of(n);
    const changes = roots(lead, grid);
    const ends = [smallest, ...changes, largest];
    const parts = ends.slice(1).map((to, i) => ({ from: ends[i], to, ala: lead(middle(ends[i], to)) > 0 }));
    return { cosine, relative, also, gamma, DF, curves, at, smallerAbove, parts, A, QF, LDAM };
  };

  /** The counts of the parts where ALA leads, in words; null where there is none. */
  const where = (parts) => {
    const ranges = parts.filter((part) => part.ala).map(({ from, to }) => {
      if (from === smallest && to === largest) return "for every class";
      if (from === smallest) return `for classes of up to ${format(Math.floor(to))} images`;
      if (to === largest) return `for classes of ${format(Math.ceil(from))} images and more`;
      return `for classes of ${format(Math.ceil(from))} to ${format(Math.floor(to))} images`;
    });
    return ranges.length ? ranges.join(" and ") : null;
  };

  // A strip along the top: who leads, class by class.
  const strip = ({ parts, relative }, x, width, bottom) => {
    for (const { from, to, ala } of parts) {
      const [left, right] = [x(from), x(to)];
      const look = ala ? { stroke: "var(--lt-ala)" } : { stroke: "var(--lt-ldam)", "stroke-dasharray": "7 4" };
      picture.append(svg("line", { x1: left, x2: right, y1: 26, y2: 26, "stroke-width": 5, ...look }));
      const who = `${ala ? (relative ? "QF" : "ALA") : "LDAM"} ${relative ? "steeper" : "larger"}`;
      // The name stays in its own part, where the outer parts may use the margins of the picture; else it is left out.
      const half = 4 * who.length + 6;
      const [least, most] = [(from === smallest ? 0 : left) + half, (to === largest ? width : right) - half];
      const at = Math.min(most, Math.max(least, (left + right) / 2));
      if (least <= most) picture.append(svg("text", { x: at, y: 16, "text-anchor": "middle", "font-weight": 600 }, who));
      if (to < largest)
        picture.append(
          svg("line", { class: "lt-axis", x1: right, x2: right, y1: 6, y2: bottom, "stroke-dasharray": "2 3" }));
    }
  };

  // ---- against the angle
  const byAngle = () => model.get("against") === "angle";
  const looks = {
    CosFace: { colour: "var(--lt-free-1)", dash: "9 3 2 3", shape: "circle" },
    ArcFace: { colour: "var(--lt-free-2)", shape: "triangle" },
    SphereFace: { colour: "var(--lt-free-3)", dash: "2 4", shape: "diamond" },
    LDAM: { colour: "var(--lt-ldam)", dash: "7 4", shape: "square" },
  };
  const marginsAt = (cosine) => {
    const LDAM = quantityFactor([smallest, model.get("images")], "ldam")[1];
    const face = (name) => faceMargin(name, cosine, model.get(name));
    return { CosFace: face("cosface"), ArcFace: face("arcface"), SphereFace: face("sphereface"), LDAM };
  };
  const drawAngles = (width) => {
    const height = Math.min(360, 210 + width / 5);
    picture.place(width, height);
    const bottom = height - 42;
    const x = scale([0, 180], [44, width - 78]);
    const y = scale([0, 2], [bottom, 24]);
    axes(picture, {
      x, y, xTicks: [0, 30, 60, 90, 120, 150, 180], yTicks: [0, 0.5, 1, 1.5, 2], xLabel: "angle to the own class (°)",
      yLabel: "margin", yShow: (v) => (v ? v.toFixed(1) : "0"),
    });
    const turns = Array.from({ length: 181 }, (_, i) => i);
    const curves = turns.map((angle) => marginsAt(Math.cos(radians(angle))));
    const names = Object.keys(looks);
    const ends = apart(names.map((name) => y(curves[180][name]) + 4), bottom);
    names.forEach((name, i) => {
      const { colour, dash = null } = looks[name];
      picture.append(
        svg("path", {
          d: line(turns.map((angle) => [x(angle), y(curves[angle][name])])), fill: "none", "data-curve": name,
          stroke: colour, "stroke-width": 2.5, "stroke-dasharray": dash,
        }),
        svg("text", { x: width - 72, y: ends[i], "font-weight": 600 }, name),
      );
    });
    const cosine = model.get("target_cosine");
    const at = (Math.acos(cosine) * 180) / Math.PI;
    const now = marginsAt(cosine);
    picture.append(svg("line", { x1: x(at), x2: x(at), y1: y.range[1], y2: bottom, stroke: "var(--lt-ink)" }));
    for (const name of names) {
      const look = { fill: looks[name].colour, stroke: "var(--lt-paper)" };
      picture.append(marker(looks[name].shape, x(at), y(now[name]), 5, look));
    }
    const handle = { x: x(at) - 12, width: 24, y: y.range[1], height: bottom - y.range[1], fill: "transparent" };
    picture.append(svg("rect", { ...handle, "data-handle": "angle" }));
    toAngle = x.invert;
    const order = names.slice().sort((a, b) => now[b] - now[a]);
    view.say(
      `An image at ${degrees(cosine)} from its class, of ${format(model.get("images"))} images: ` +
      `${order.map((name) => `${name} takes off ${fixed(now[name])}`).join(", ")}.`,
    );
  };

  let toCount = null;
  let toAngle = null;
  view.draw = (width) => {
    const angles = byAngle();
    ofFaces.forEach(({ node }) => { node.hidden = !angles; });
    also.node.hidden = angles;
    relativeToggle.node.hidden = angles;
    if (angles) {
      exponent.node.hidden = true;
      cosineSlider.input.disabled = false;
      drawAngles(width);
      return;
    }
    const now = compute();
    const { curves, at, relative } = now;
    const n = model.get("images");
    exponent.node.hidden = now.also !== "power";
    cosineSlider.input.disabled = relative;
    const height = Math.min(360, 210 + width / 5);
    picture.place(width, height);
    const bottom = height - 42;
    const x = scale([smallest, largest], [44, width - 56], { log: true });
    const low = Math.min(0.1, ...curves.map((curve) => 0.9 * at(curve, largest)));
    const y = relative
      ? scale([low, 1.1], [bottom, 62], { log: true })
      : scale([0, 1.5], [bottom, 62]);
    const yTicks = relative ? [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1].filter((v) => v >= low) : [0, 0.5, 1, 1.5];
    axes(picture, {
      x, y, yTicks, xLabel: "images of the class", yLabel: relative ? "share of the rarest class's value" : "margin",
      yLabelAt: 50, xTicks: width < 420 ? 3 : 5, yShow: (v) => (relative || v === 0 ? String(v) : v.toFixed(1)),
    });
    strip(now, x, width, bottom);
    for (const curve of curves)
      picture.append(
        svg("path", {
          d: line(grid.map((count) => [x(count), y(at(curve, count))])), fill: "none", "data-curve": curve.name,
          stroke: curve.colour, "stroke-width": curve.width, "stroke-dasharray": curve.dash ?? null,
        }),
      );
    const names = apart(curves.map((curve) => y(at(curve, largest)) + 4), bottom);
    curves.forEach((curve, i) =>
      picture.append(svg("text", { x: width - 50, y: names[i], "font-weight": curve.shape ? 600 : 400 }, curve.name)));

    // The reading line, with a marker and the value on each curve but the thin one.
    picture.append(svg("line", { x1: x(n), x2: x(n), y1: y.range[1], y2: bottom, stroke: "var(--lt-ink)" }));
    const read = curves.filter((curve) => curve.shape);
    // Curves fall to the right: a label is free of its own above it on that side, the lowest one below it too.
    const least = Math.min(...read.map((curve) => at(curve, n)));
    const side = x(n) + 52 > width - 56 ? -1 : 1;
    const anchor = side < 0 ? "end" : "start";
    const shift = (value) => (side < 0 || (value === least && value > 0) ? 17 : -8);
    const heights = apart(read.map((curve) => y(at(curve, n)) + shift(at(curve, n))), bottom - 4);
    read.forEach((curve, i) => {
      const value = at(curve, n);
      const halo = { "paint-order": "stroke", stroke: "var(--lt-paper)", "stroke-width": 4, "stroke-linejoin": "round" };
      picture.append(
        marker(curve.shape, x(n), y(value), 5, { fill: curve.colour, stroke: "var(--lt-paper)" }),
        svg("text", { x: x(n) + 10 * side, y: heights[i], "text-anchor": anchor, ...halo }, fixed(value)),
      );
    });
    const handle = { x: x(n) - 12, width: 24, y: y.range[1], height: bottom - y.range[1], fill: "transparent" };
    picture.append(svg("rect", { ...handle, "data-handle": "images" }));
    toCount = x.invert;
    view.say(relative ? shapeInWords(now, n) : sizeInWords(now, n));
  };

  const third = ({ curves, at, also, gamma, relative }, n) => {
    if (also === "none" || (also === "log2" && relative)) return "";
    const value = fixed(at(curves[curves.length - 1], n));
    return also === "power" ? `, the power (exponent ${fixed(gamma, 2)}) ${value}` : `, ALA with log2 ${value}`;
  };
  const sizeInWords = (now, n) => {
    const ala = where(now.parts);
    const larger = ala ? `ALA's margin is the larger one ${ala}` : "LDAM's margin is the larger one for every class";
    return (
      `${format(n)} images, target cosine ${fixed(now.cosine, 2)}: ALA takes off ${fixed(now.A.of(n))}, ` +
      `LDAM ${fixed(now.LDAM.of(n))}${third(now, n)}. ` +
      `At this cosine ${larger}; ` +
      `with ${format(n)} images ALA's is the smaller one above cosine ${fixed(now.smallerAbove(n), 2)}.`
    );
  };
  const shapeInWords = (now, n) => {
    const [QF, LDAM] = now.curves;
    return (
      `With ${format(n)} images QF keeps ${fixed(now.at(QF, n))} of its value at the rarest class, ` +
      `LDAM ${fixed(now.at(LDAM, n))}${third(now, n)}. QF falls more steeply ${where(now.parts)}` +
      `${now.parts.length > 1 ? ` (${format(now.parts[0].to / smallest)} times the rarest)` : ""}. ` +
      (now.also === "log2" ? "log2 has the shape of QF." : "The target cosine drops out.")
    );
  };

  view.drag(picture, (name, px) => {
    if (name === "angle") {
      view.set("target_cosine", Math.cos(radians(Math.min(180, Math.max(0, Math.round(toAngle(px)))))));
      return;
    }
    const count = Math.round(toCount(px));
    view.set("images", Math.min(largest, Math.max(smallest, count)));
  });
  view.table(() => {
    if (byAngle()) {
      const cosine = model.get("target_cosine");
      const rows = [0, 30, 60, 90, 120, 150, 180].map((angle) => [`${angle}°`, marginsAt(Math.cos(radians(angle)))]);
      rows.push([`${degrees(cosine)}, the image`, marginsAt(cosine)]);
      const cells = (row) => Object.keys(looks).map((name) => fixed(row[name] + 0, 4).replace(/^−(?=0\.0+$)/, ""));
      return { header: ["angle", ...Object.keys(looks)], rows: rows.map(([name, row]) => [name, ...cells(row)]) };
    }
    const { curves, at, smallerAbove } = compute();
    const counts = [smallest, ...scale([smallest, largest], [0, 1], { log: true }).ticks(5), largest, model.get("images")];
    const rows = [...new Set(counts)].filter(Number.isInteger).sort((a, b) => a - b);
    return {
      header: ["images", ...curves.map((curve) => curve.name), "A below LDAM above cosine"],
      rows: rows.map((n) => [format(n), ...curves.map((curve) => fixed(at(curve, n), 4)), fixed(smallerAbove(n), 4)]),
    };
  });
  return view.close;
}

export default { render };
