// What the widgets share: a panel with labelled controls bound to the model's traits, a picture, a spoken result, a table.
//
// A widget's file exports `default { render }`; render builds a panel, adds controls, and gives it a `draw(width)`. Every
// control is a native input, so keyboard and focus come from the browser; dragging in a picture only repeats a control.

let count = 0;
const newId = (name) => `lt-${name}-${(count += 1)}-${Math.random().toString(36).slice(2, 7)}`;
const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

/** An HTML element; attributes that start with "on" are listeners. */
export function html(tag, attributes = {}, ...children) {
  const node = fill(document.createElement(tag), attributes, children);
  // Else the arrow keys would walk through the cells of a notebook in JupyterLab, which looks at the focused element.
  if (/^(input|select|button|summary)$/.test(tag) || "tabindex" in attributes) node.dataset.lmSuppressShortcuts = "true";
  return node;
}

/** An SVG element. */
export const svg = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

export const reducedMotion = () => window.matchMedia("(prefers-reduced-motion: reduce)").matches;

/** A number for people: three significant digits, thousands with commas, a real minus sign. */
export function format(value, digits = 3) {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  const text =
    size >= 1000 || Number.isInteger(value)
      ? Math.round(value).toLocaleString("en-GB")
      : value.toFixed(size === 0 ? 0 : Math.min(6, Math.max(0, digits - 1 - Math.floor(Math.log10(size)))));
  return text.replace("-", "−");
}

/** The same for an axis: 0.1 rather than 0.100. */
export const tick = (value) => format(value).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");

/** A class's name as the text writes it: data sets join its words by underscores. */
export const readable = (name) => name.replaceAll("_", " ");

export const percent = (share, digits = 0) => `${(100 * share).toFixed(digits).replace("-", "−")} %`;

const BESIDE = 600; // pixels from which on a widget's second picture stands beside the first

// ---- the panel ----------------------------------------------------------------------------------------------------

/**
 * The frame of a widget of the class `kind`. `question` is its heading, `inputs` names further traits that redraw it.
 * Set `panel.draw = (width, beside) => …`; it runs at every change of a bound trait and of the width, once a frame at
 * most. `beside` says whether two pictures stand side by side. Else the second one comes below the controls, so that a
 * phone shows the first together with them.
 */
export function panel({ model, el }, { kind, question, inputs = [] }) {
  const headingId = newId("question");
  const heading = html("p", { class: "lt-question", id: headingId }, question);
  const pictures = html("div", { class: "lt-pictures" });
  const status = html("p", { class: "lt-status", role: "status", "aria-live": "polite" });
  const controls = html("div", { class: "lt-controls" });
  const table = html("table");
  const details = html("details", { class: "lt-numbers" }, html("summary", {}, "The numbers as a table"));
  details.append(html("div", { class: "lt-scroll", tabindex: 0, role: "region", "aria-label": `Table: ${question}` }, table));
  const root = html("section", { class: "lt-widget", "data-kind": kind, "aria-labelledby": headingId });
  // The sentence stands below the controls, since it grows and shrinks while they are dragged.
  root.append(heading, pictures, controls, status);
  el.append(root);

  const view = { root, pictures, controls, draw: () => {} };
  const listening = [];
  let pending = 0;
  let quiet = 0;
  let drawnAt = 0;
  let makeTable = null;

  const fillTable = () => {
    if (!makeTable || !details.open) return;
    const { header, rows } = makeTable();
    const cells = (row) => row.map((cell, i) => html(i ? "td" : "th", i ? {} : { scope: "row" }, String(cell)));
    table.replaceChildren(
      html("thead", {}, html("tr", {}, header.map((name) => html("th", { scope: "col" }, name)))),
      html("tbody", {}, rows.map((row) => html("tr", {}, cells(row)))),
    );
  };
  details.addEventListener("toggle", fillTable);

  view.redraw = () => {
    if (pending) return;
    pending = requestAnimationFrame(() => {
      pending = 0;
      const width = Math.floor(heading.clientWidth);
      if (!width) return;
      const beside = width >= BESIDE;
      root.classList.toggle("lt-stacked", !beside);
      if (width !== drawnAt) status.style.minHeight = "";
      drawnAt = width;
      view.draw(width, beside);
      fillTable();
      root.dataset.ready = "true";
    });
  };
  view.listen = (name, handler = view.redraw) => {
    model.on(`change:${name}`, handler);
    listening.push([`change:${name}`, handler]);
  };
  inputs.forEach((name) => view.listen(name));

  /** Store what the reader chose, here and (where there is one) in the kernel. */
  view.set = (name, value) => {
    model.set(name, value);
    model.save_changes();
  };

  /**
   * The result in words. It is held back from screen readers (aria-busy) until the reader pauses. It keeps the most lines
   * that it has had at this width, so that what stands below rests.
   */
  view.say = (text) => {
    if (status.textContent === text) return;
    status.setAttribute("aria-busy", "true");
    status.textContent = text;
    status.style.minHeight = `${status.offsetHeight}px`;
    clearTimeout(quiet);
    quiet = setTimeout(() => status.removeAttribute("aria-busy"), 400);
  };

  /** A table of what the picture shows, made when it is open: `make()` returns {header, rows}. */
  view.table = (make) => {
    makeTable = make;
    if (!details.parentNode) root.append(details);
  };

  /** An empty SVG with a name for screen readers; `place(width, height)` clears and sizes it. */
  view.picture = (label) => {
    const node = svg("svg", { role: "img", "aria-label": label, class: "lt-picture" });
    node.place = (width, height) => {
      fill(node, { viewBox: `0 0 ${width} ${height}`, width, height }, []);
      node.replaceChildren();
      return node;
    };
    pictures.append(node);
    return node;
  };

  const control = (className, ...children) => {
    const node = html("div", { class: `lt-control ${className}` }, ...children);
    controls.append(node);
    return node;
  };

  /**
   * A range input bound to a trait. Either min, max, step, or `values`, the list it walks through. `show` writes the
   * value, `get` and `put` read and write another place. On a phone two of those with `half` share a line.
   */
  view.slider = (name, options) => {
    const { label, min = 0, max = options.values.length - 1, step = 1, values = null, half = false, show = format } = options;
    const { get = () => model.get(name), put = (value) => view.set(name, value) } = options;
    const id = newId("slider");
    const nearest = (v) => values.reduce((best, w, i) => (Math.abs(w - v) < Math.abs(values[best] - v) ? i : best), 0);
    const toPlace = (v) => (values ? nearest(v) : v);
    const fromPlace = (p) => (values ? values[Math.round(p)] : p);
    const input = html("input", { type: "range", id, min, max, step });
    const output = html("span", { class: "lt-value", "aria-hidden": "true" });
    // The style sheet keeps room for the longest value.
    const longer = (a, b) => (b.length > a.length ? b : a);
    const places = Array.from({ length: Math.round((max - min) / step) + 1 }, (_, i) => fromPlace(min + i * step));
    output.dataset.longest = places.map((v) => show(v)).reduce(longer);
    const refresh = () => {
      const value = get();
      if (document.activeElement !== input || fromPlace(Number(input.value)) !== value) input.value = toPlace(value);
      output.dataset.longest = longer(output.dataset.longest, show(value));
      output.textContent = show(value);
      input.setAttribute("aria-valuetext", show(value));
    };
    input.addEventListener("input", () => {
      put(fromPlace(Number(input.value)));
      refresh();
      view.redraw();
    });
    const head = html("div", {}, html("label", { for: id }, label), output);
    const node = control(half ? "lt-slider lt-half" : "lt-slider", head, input);
    if (name) view.listen(name, () => { refresh(); view.redraw(); });
    refresh();
    return { node, input, refresh };
  };

  /** Radio buttons for up to four `options` ([value, text] pairs), else a select. Values may be anything JSON has. */
  view.choice = (name, { label, options, onChange = () => {} }) => {
    const id = newId("choice");
    const change = (i) => {
      view.set(name, options[i][0]);
      onChange();
      view.redraw();
    };
    const current = () => Math.max(0, options.findIndex(([value]) => value === model.get(name)));
    let node;
    let refresh;
    if (options.length > 4) {
      const select = html("select", { id, onchange: (event) => change(Number(event.target.value)) });
      select.append(...options.map(([, text], i) => html("option", { value: i }, text)));
      refresh = () => { select.value = current(); };
      node = control("lt-select", html("label", { for: id }, label), select);
    } else {
      const radios = options.map((_, i) => html("input", { type: "radio", name: id, value: i, onchange: () => change(i) }));
      const labels = options.map(([, text], i) => html("label", {}, radios[i], html("span", {}, text)));
      refresh = () => { radios[current()].checked = true; };
      node = control("lt-radios", html("fieldset", {}, html("legend", {}, label), ...labels));
    }
    view.listen(name, () => { refresh(); view.redraw(); });
    refresh();
    return { node, refresh };
  };

  view.toggle = (name, { label, onChange = () => {} }) => {
    const input = html("input", { type: "checkbox" });
    const refresh = () => { input.checked = Boolean(model.get(name)); };
    input.addEventListener("change", () => {
      view.set(name, input.checked);
      onChange();
      view.redraw();
    });
    const node = control("lt-toggle", html("label", {}, input, html("span", {}, label)));
    view.listen(name, () => { refresh(); view.redraw(); });
    refresh();
    return { node, input, refresh };
  };

  /** A row of buttons: [[label, handler], …]; returns the button elements. */
  view.buttons = (...pairs) => {
    const nodes = pairs.map(([label, onclick]) => html("button", { type: "button", onclick }, label));
    control("lt-buttons", ...nodes);
    return nodes;
  };

  /**
   * Drag what carries data-handle="NAME" inside a picture: `move(name, x, y)` in the picture's own units. A pointer's
   * shortcut only: every handle needs a slider too.
   */
  view.drag = (node, move) => {
    let held = null;
    const report = (event) => {
      const box = node.getBoundingClientRect();
      const width = node.viewBox.baseVal.width;
      move(held, ((event.clientX - box.left) * width) / box.width, ((event.clientY - box.top) * width) / box.width);
      view.redraw();
    };
    node.addEventListener("pointerdown", (event) => {
      held = event.target.closest("[data-handle]")?.dataset.handle ?? null;
      if (held === null) return;
      node.setPointerCapture(event.pointerId);
      event.preventDefault();
      report(event);
    });
    node.addEventListener("pointermove", (event) => { if (held !== null) report(event); });
    for (const end of ["pointerup", "pointercancel"]) node.addEventListener(end, () => { held = null; });
  };

  const observer = new ResizeObserver(view.redraw);
  observer.observe(heading);
  view.close = () => {
    observer.disconnect();
    cancelAnimationFrame(pending);
    clearTimeout(quiet);
    listening.forEach(([event, handler]) => model.off(event, handler));
    root.remove();
  };
  return view;
}

// ---- pictures -----------------------------------------------------------------------------------------------------

/** A scale from `domain` to `range` (pixels): scale(v), scale.invert(pixel), scale.ticks(about how many). */
export function scale(domain, range, { log = false } = {}) {
  const f = log ? Math.log : (v) => v;
  const [a, b] = domain.map(f);
  const to = (v) => range[0] + ((f(v) - a) / (b - a)) * (range[1] - range[0]);
  to.invert = (pixel) => {
    const v = a + ((pixel - range[0]) / (range[1] - range[0])) * (b - a);
    return log ? Math.exp(v) : v;
  };
  to.domain = domain;
  to.range = range;
  to.ticks = (n = 5) => {
    const [low, high] = [Math.min(...domain), Math.max(...domain)];
    const marks = [];
    if (log) {
      const steps = Math.log10(high / low) > n - 1 ? [1] : Math.log10(high / low) > 2 ? [1, 3] : [1, 2, 5];
      for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e += 1)
        marks.push(...steps.map((s) => Number((s * 10 ** e).toPrecision(3))));
    } else {
      const raw = (high - low) / n;
      const size = 10 ** Math.floor(Math.log10(raw));
      const step = [1, 2, 5, 10].map((s) => s * size).find((s) => s >= raw);
      for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i += 1)
        marks.push(Number((i * step).toPrecision(12)));
    }
    return marks.filter((v) => v >= low * (1 - 1e-9 * Math.sign(low)) && v <= high * (1 + 1e-9 * Math.sign(high)));
  };
  return to;
}

/** Axes with grid lines, drawn first: x at the bottom, y at the left; ticks are a number or a list. */
export function axes(node, { x, y, xLabel = "", yLabel = "", xTicks = 5, yTicks = 5, xShow = tick, yShow = tick, yLabelAt }) {
  const group = svg("g", { class: "lt-axes", "aria-hidden": "true" });
  const [left, right] = x.range;
  const [bottom, top] = y.range;
  const marks = (ticks, axis) => (Array.isArray(ticks) ? ticks : axis.ticks(ticks));
  for (const v of marks(yTicks, y)) {
    group.append(svg("line", { class: "lt-grid", x1: left, x2: right, y1: y(v), y2: y(v) }));
    group.append(svg("text", { x: left - 6, y: y(v) + 4, "text-anchor": "end" }, yShow(v)));
  }
  for (const v of marks(xTicks, x)) {
    group.append(svg("line", { class: "lt-tick", x1: x(v), x2: x(v), y1: bottom, y2: bottom + 4 }));
    group.append(svg("text", { x: x(v), y: bottom + 17, "text-anchor": "middle" }, xShow(v)));
  }
  group.append(svg("line", { class: "lt-axis", x1: left, x2: right, y1: bottom, y2: bottom }));
  if (xLabel) group.append(svg("text", { x: (left + right) / 2, y: bottom + 35, "text-anchor": "middle" }, xLabel));
  if (yLabel) group.append(svg("text", { x: Math.max(0, left - 40), y: yLabelAt ?? top - 10 }, yLabel));
  node.append(group);
  return group;
}

const SHAPES = {
  circle: (s) => `M${-s},0a${s},${s} 0 1,0 ${2 * s},0a${s},${s} 0 1,0 ${-2 * s},0Z`,
  square: (s) => `M${-s},${-s}H${s}V${s}H${-s}Z`,
  triangle: (s) => `M0,${-1.25 * s}L${1.1 * s},${0.8 * s}H${-1.1 * s}Z`,
  diamond: (s) => `M0,${-1.35 * s}L${1.35 * s},0L0,${1.35 * s}L${-1.35 * s},0Z`,
  cross: (s) => `M${-s},${-s}L${s},${s}M${-s},${s}L${s},${-s}`,
};
export const GROUP_SHAPES = { many: "circle", medium: "square", few: "triangle" };

/** A marker, so that colour is never the only carrier: circle, square, triangle, diamond or cross. */
export const marker = (shape, x, y, size, attributes = {}) =>
  svg("path", { d: SHAPES[shape](size), transform: `translate(${x},${y})`, ...attributes });

/** The path of a curve through points [[x, y], …] in pixels; gaps where a value is not finite. */
export function line(points) {
  let pen = "M";
  let path = "";
  for (const [x, y] of points) {
    if (!Number.isFinite(x) || !Number.isFinite(y)) {
      pen = "M";
      continue;
    }
    path += `${pen}${x.toFixed(1)},${y.toFixed(1)}`;
    pen = "L";
  }
  return path;
}
