// How many images does the tail have? Counts per class of a profile, with the shot groups.
import { classCounts, shotGroup } from "./losses.js";
import { axes, format, panel, percent, readable, scale, svg } from "./ui.js";

const GROUPS = ["many", "medium", "few"];
const sum = (values) => values.reduce((a, b) => a + b, 0);

/** Where the slider stops: 1, 2, 5, 10, 20 … up to the largest count, that count, and what Python chose. */
function stops(largest, chosen) {
  const tens = Array.from({ length: 1 + Math.floor(Math.log10(largest)) }, (_, i) => 10 ** i);
  const round = tens.flatMap((ten) => [ten, 2 * ten, 5 * ten]).filter((factor) => factor <= largest);
  return [...new Set([...round, largest, chosen])].sort((a, b) => a - b);
}

function render({ model, el }) {
  const view = panel({ model, el }, { kind: "LongTail", question: "How many images are left for the tail?", inputs: ["class_names"] });
  const classes = model.get("num_classes");
  const largest = model.get("max_count");
  const picture = view.picture("Bar chart of training images per class, most frequent class first");
  view.slider("imbalance_factor", { label: "Imbalance factor", values: stops(largest, model.get("imbalance_factor")) });
  view.choice("profile", {
    label: "Profile",
    options: [["exp", "exponential"], ["step", "step"], ["balanced", "balanced"]],
  });
  view.slider("inspect", { label: "Class", min: 0, max: classes - 1, show: (c) => `place ${c + 1}` });
  view.toggle("log_axis", { label: "Logarithmic axis" });

  const compute = () => {
    const counts = classCounts(classes, largest, model.get("imbalance_factor"), model.get("profile"));
    const groups = Object.fromEntries(GROUPS.map((g) => [g, counts.filter((n) => shotGroup(n) === g)]));
    return { counts, groups };
  };

  view.draw = (width) => {
    const { counts, groups } = compute();
    const all = sum(counts);
    const chosen = model.get("inspect");
    const height = Math.min(320, 170 + width / 4);
    picture.place(width, height);
    const log = model.get("log_axis");
    const x = scale([-0.5, classes - 0.5], [44, width - 8]);
    const y = scale(log ? [0.8, largest * 1.6] : [0, largest * 1.12], [height - 42, 50], { log });
    const places = [1, 0.25, 0.5, 0.75, 1].map((f, i) => (i ? Math.round(classes * f) : 1));
    axes(picture, { x, y, xLabel: "class, most frequent first", yLabel: "training images", yLabelAt: 12, xTicks: places.map((p) => p - 1), xShow: (v) => format(v + 1) });
    const bar = (x(1) - x(0)) * 0.86;
    counts.forEach((n, c) => {
      const top = y(n);
      const fill = `var(--lt-${shotGroup(n)})`;
      picture.append(
        svg("rect", {
          x: x(c) - bar / 2, y: top, width: bar, height: y.range[0] - top, fill,
          stroke: c === chosen ? "var(--lt-ink)" : "none", "stroke-width": 2, "data-handle": c,
        }),
      );
    });
    let start = 0;
    for (const name of GROUPS) {
      const size = groups[name].length;
      if (!size) continue;
      const middle = x(start + (size - 1) / 2);
      picture.append(svg("text", { x: middle, y: 36, "text-anchor": "middle", "font-weight": 600 }, `${name}: ${size}`));
      if (start) picture.append(svg("line", { class: "lt-axis", x1: x(start - 0.5), x2: x(start - 0.5), y1: 24, y2: y.range[0], "stroke-dasharray": "3 3" }));
      start += size;
    }
    const name = model.get("class_names")[chosen];
    const ratio = counts[0] / counts[classes - 1];
    const asked = model.get("profile") === "balanced" ? 1 : model.get("imbalance_factor");
    const few = sum(groups.few) / all;
    view.say(
      `${format(all)} training images. ` +
        (groups.few.length
          ? `The ${groups.few.length} few-shot classes hold ${percent(few, 1)} of them. `
          : "No class is few-shot. ") +
        `Largest to rarest: ${format(counts[0])} to ${format(counts[classes - 1])}, a ratio of ${format(ratio)}` +
        `${ratio === asked ? "" : ", since counts are rounded down"}. ` +
        `Place ${chosen + 1}${name ? `, ${readable(name)}` : ""}: ${format(counts[chosen])} (${shotGroup(counts[chosen])}).`,
    );
  };
  view.drag(picture, (place) => view.set("inspect", Number(place)));
  view.table(() => {
    const { counts, groups } = compute();
    const all = sum(counts);
    return {
      header: ["group", "classes", "images", "share of images", "share of a balanced test set"],
      rows: GROUPS.map((g) => [g, groups[g].length, format(sum(groups[g])), percent(sum(groups[g]) / all, 1), percent(groups[g].length / classes)]),
    };
  });
  return view.close;
}

export default { render };
