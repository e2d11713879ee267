// Which classes gain, and which pay? Per-class accuracy of one method against another's, as recorded.
import { shotGroup } from "./losses.js";
import { axes, format, html, marker, panel, readable, scale, svg } from "./ui.js";

const GROUPS = ["many", "medium", "few"];
const ORDERS = {
  images: "class, most frequent first",
  gain: "class, largest gain first",
  baseline: "class, highest baseline accuracy first",
};
const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
const fixed = (value, digits) => value.toFixed(digits).replace(/^-(?=0(\.0*)?$)/, "").replace("-", "−");
const signed = (value) => (Number(value.toFixed(1)) > 0 ? "+" : "") + fixed(value, 1);
const shorten = (name) => (name.length > 24 ? `${name.slice(0, 22)}…` : name);
const range = (n) => Array.from({ length: n }, (_, i) => i);
const clamp = (value, low, high) => Math.max(low, Math.min(high, value));

/** Shorten an SVG text that is in the page until it is at most `room` wide. */
function fit(node, room) {
  let text = node.textContent;
  while (text && node.getComputedTextLength() > room) {
    text = text.slice(0, -1);
    node.textContent = `${text.trimEnd()}…`;
  }
}

/** The head of a loss's arrow: hollow, where a gain's is filled. */
const lossMark = (size) => marker("triangle", 0, 0, size, { fill: "var(--lt-paper)", stroke: "var(--lt-ink)" });
const LEFT = 50; // room for the ticks, and for the names of the groups beside the strip

function render({ model, el }) {
  const view = panel({ model, el }, { kind: "PerClass", question: "Which classes gain, and which pay?" });
  const methods = model.get("methods");
  const counts = model.get("class_counts");
  const names = counts.map((_, c) => readable(model.get("class_names")[c] ?? `class ${c}`));
  const plain = (text) => readable(text.trim().toLowerCase());
  const searched = names.map((name, c) => plain(`${name} ${model.get("superclasses")[c] ?? ""}`));
  const groups = counts.map((n) => shotGroup(n));
  const images = (c) => `${format(counts[c])} image${counts[c] === 1 ? "" : "s"}`;
  const picture = view.picture("An arrow for each class, from the baseline's test accuracy to the method's");
  let hovered = null;

  const compute = () => {
    const before = model.get("accuracies")[model.get("baseline")];
    const after = model.get("accuracies")[model.get("method")];
    const change = after.map((v, c) => Number((v - before[c]).toFixed(3))); // equal changes are equal, and rank equally
    const key = { images: counts, gain: change, baseline: before }[model.get("sort_by")];
    const frequent = range(counts.length).sort((a, b) => counts[b] - counts[a]);
    const order = frequent.sort((a, b) => key[b] - key[a]); // a stable sort: ties stay most frequent first
    const means = GROUPS.filter((g) => groups.includes(g)).map((g) => {
      const inside = range(counts.length).filter((c) => groups[c] === g);
      return { name: g, size: inside.length, change: mean(inside.map((c) => change[c])) };
    });
    return { before, after, change, order, means };
  };
  const matches = () => {
    const wanted = plain(model.get("search"));
    return wanted ? compute().order.filter((c) => searched[c].includes(wanted)) : [];
  };

  const options = methods.map((name) => [name, name]);
  view.choice("baseline", { label: "Baseline", options });
  view.choice("method", { label: "Method", options });
  view.choice("sort_by", { label: "Sort classes by", options: Object.keys(ORDERS).map((name) => [name, name]) });
  const cursor = view.slider("inspect", {
    label: "Class", min: 0, max: counts.length - 1,
    get: () => compute().order.indexOf(model.get("inspect")),
    put: (place) => view.set("inspect", compute().order[place]),
    show: (place) => shorten(names[compute().order[place]]),
  });
  addSearch();

  function addSearch() {
    const listId = `${cursor.input.id}-names`;
    const box = html("input", { type: "search", list: listId, autocomplete: "off", spellcheck: "false" });
    box.addEventListener("input", () => {
      view.set("search", box.value);
      const found = matches();
      if (found.length) view.set("inspect", found[0]);
      view.redraw();
    });
    box.addEventListener("keydown", (event) => {
      const found = matches();
      if (event.key !== "Enter" || !found.length) return;
      event.preventDefault();
      view.set("inspect", found[(found.indexOf(model.get("inspect")) + 1) % found.length]);
    });
    const refresh = () => {
      if (box.value !== model.get("search")) box.value = model.get("search");
      view.redraw();
    };
    view.listen("search", refresh);
    refresh();
    const list = html("datalist", { id: listId }, names.map((name) => html("option", { value: name })));
    const label = html("label", {}, "Find classes (Enter: next match)", box);
    view.controls.append(html("div", { class: "lt-control lt-select" }, label, list));
  }

  view.draw = (width) => {
    const { before, after, change, order, means } = compute();
    const sort = model.get("sort_by");
    const chosen = hovered ?? model.get("inspect");
    const found = new Set(matches());
    cursor.refresh();
    const highest = Math.max(...methods.flatMap((name) => model.get("accuracies")[name]));
    const x = scale([-0.6, order.length - 0.4], [LEFT, width - 8]);
    const step = x(1) - x(0);
    // Borders part the groups where these are contiguous and wide enough for their names; else a strip shows them.
    const bordered = sort === "images" && means.every(({ size }) => size * step >= 70);
    const foot = bordered ? 44 : 14 * means.length + 28;
    const height = Math.min(360, 220 + width / 5) + foot;
    picture.place(width, height);
    const y = scale([0, Math.min(100, 10 * Math.ceil((highest + 0.01) / 10))], [height - foot, 108]);
    const places = [...new Set([0, 0.25, 0.5, 0.75, 1].map((f) => Math.max(1, Math.round(order.length * f))))];
    const runs = [...new Set([model.get("baseline"), model.get("method")].map((name) => model.get("runs")[name]))];
    const averaged = Math.max(...runs) > 1 ? `, mean of ${runs.join(" and ")} runs` : "";
    axes(picture, {
      x, y, xTicks: bordered ? places.map((p) => p - 1) : [], xShow: (v) => format(v + 1),
      yLabel: `test accuracy (%)${averaged}`, yLabelAt: 12,
    });
    drawKey(width);
    drawGroups({ x, y, means, bordered, order, step });
    const title = svg("text", { x: (LEFT + x.range[1]) / 2, y: height - 8, "text-anchor": "middle" }, ORDERS[sort]);
    picture.append(svg("g", { class: "lt-axes" }, title));

    const size = clamp(step * 0.42, 2, 4);
    const drawClass = (c, place) => {
      const strong = c === chosen || found.has(c);
      const colour = change[c] ? "var(--lt-ink)" : "var(--lt-soft)";
      const s = strong ? Math.max(size, 3.5) : size;
      const [px, from, to] = [x(place), y(before[c]), y(after[c])];
      const up = change[c] > 0 ? 1 : -1;
      const filled = { fill: colour };
      const same = marker("square", 0, 0, 0.6 * s, filled);
      const mark = change[c] > 0 ? marker("triangle", 0, 0, s, filled) : change[c] < 0 ? lossMark(s) : same;
      mark.setAttribute("transform", `translate(${px},${to}) scale(1,${up})`);
      picture.append(
        svg("g", { opacity: found.size && !strong ? 0.25 : 1, "data-class": c },
          svg("path", {
            d: `M${px},${from}V${to}`, stroke: colour, "stroke-width": strong ? 3 : clamp(step * 0.25, 1, 2),
            "stroke-dasharray": change[c] < 0 ? "2 2" : null,
          }),
          marker("circle", px, from, 0.85 * s, { fill: "var(--lt-paper)", stroke: colour, "stroke-width": strong ? 2 : 1 }),
          mark),
      );
    };
    order.forEach((c, place) => { if (c !== chosen) drawClass(c, place); });
    const at = order.indexOf(chosen);
    picture.append(svg("path", { d: `M${x(at)},98V${y.range[0]}`, stroke: "var(--lt-ink)", "stroke-dasharray": "1 2" }));
    drawClass(chosen, at);
    const name = svg("tspan", {}, names[chosen]);
    const way = `${fixed(before[chosen], 1)} → ${fixed(after[chosen], 1)}\u00a0%`;
    const result = svg("tspan", {}, ` (${format(counts[chosen])}): ${way}`);
    const halo = { stroke: "var(--lt-paper)", "stroke-width": 5, "paint-order": "stroke" };
    const text = svg("text", { y: 92, "font-weight": 600, "text-anchor": "middle", ...halo }, name, result);
    picture.append(text);
    fit(name, width - 4 - result.getComputedTextLength());
    const half = text.getComputedTextLength() / 2;
    text.setAttribute("x", clamp(x(at), half + 1, width - half - 1));
    speak({ change, means, chosen, found, way });
  };

  /** Above the picture: which mark is which method. */
  function drawKey(width) {
    const entry = (left, name, ...marks) => {
      marks.forEach((mark, i) => {
        mark.setAttribute("transform", `translate(${left + 5 + 12 * i},27) ${i ? "scale(1,-1)" : ""}`);
        picture.append(mark);
      });
      const start = left + 12 * marks.length + 2;
      const text = svg("text", { x: start, y: 31 }, name);
      picture.append(text);
      fit(text, width / 2 - 36);
      return start + text.getComputedTextLength();
    };
    const ring = marker("circle", 0, 0, 4, { fill: "var(--lt-paper)", stroke: "var(--lt-ink)", "stroke-width": 1.5 });
    const gain = marker("triangle", 0, 0, 4, { fill: "var(--lt-ink)" });
    entry(entry(10, model.get("baseline"), ring) + 16, model.get("method"), gain, lossMark(4));
  }

  /** The groups' names and mean changes; below the picture where each class belongs, unless borders say it. */
  function drawGroups({ x, y, means, bordered, order, step }) {
    const share = (x.range[1] - LEFT) / means.length;
    const unit = share > 150 ? " points" : "";
    let start = 0;
    means.forEach(({ name, size, change }, i) => {
      const middle = bordered ? x(start + (size - 1) / 2) : LEFT + share * (i + 0.5);
      picture.append(svg("text", { x: middle, y: 54, "text-anchor": "middle", "font-weight": 600 }, name));
      picture.append(svg("text", { x: middle, y: 70, "text-anchor": "middle" }, `${signed(change)}${unit}`));
      if (bordered && start)
        picture.append(svg("path", { class: "lt-axis", d: `M${x(start - 0.5)},44V${y.range[0]}`, "stroke-dasharray": 3 }));
      start += size;
      if (bordered) return;
      const row = y.range[0] + 6 + 14 * i;
      picture.append(svg("text", { x: LEFT - 4, y: row + 9, "text-anchor": "end", "font-size": 11 }, name));
      order.forEach((c, place) => {
        const box = { x: x(place) - step * 0.4, y: row, width: step * 0.8, height: 10 };
        if (groups[c] === name) picture.append(svg("rect", { ...box, fill: `var(--lt-${name})` }));
      });
    });
  }

  function speak({ change, means, chosen, found, way }) {
    const search = model.get("search").trim();
    const hits = found.size > 1 ? `${found.size} classes match` : `${found.size || "No"} class matches`;
    const parts = means.map(({ name, change: by }) => `${name}-shot ${signed(by)}`).join(", ");
    const [gain, lose] = [1, -1].map((sign) => change.filter((v) => v * sign > 0).length);
    view.say(
      (search ? `${hits} “${search}”. ` : "") +
        `From ${model.get("baseline")} to ${model.get("method")}: ${parts} points; ` +
        `${gain} of ${counts.length} classes gain, ${lose} lose. ` +
        `${names[chosen]} (${images(chosen)}): ${way}.`,
    );
  }

  const nearest = (event) => {
    const box = picture.getBoundingClientRect();
    const width = picture.viewBox.baseVal.width;
    const px = ((event.clientX - box.left) * width) / box.width;
    const { order } = compute();
    return order[clamp(Math.floor(((px - LEFT) / (width - LEFT - 8)) * order.length), 0, order.length - 1)];
  };
  view.listen("inspect", () => { hovered = null; }); // what was chosen last is shown, also under a resting pointer
  picture.addEventListener("pointermove", (event) => { hovered = nearest(event); view.redraw(); });
  picture.addEventListener("pointerleave", () => { hovered = null; view.redraw(); });
  picture.addEventListener("click", (event) => view.set("inspect", nearest(event)));
  picture.setAttribute("cursor", "pointer");

  view.table(() => {
    const { before, after, change, order } = compute();
    const results = (c) => [before[c], after[c], change[c]].map((v) => fixed(v, 2));
    return {
      header: ["class", "images", "group", "baseline (%)", "method (%)", "change"],
      rows: order.map((c) => [names[c], format(counts[c]), groups[c], ...results(c)]),
    };
  });
  return view.close;
}

export default { render };
