// What does each method change, what does it gain over its control, and what does it cost? A table to sort and filter.
import { html, panel } from "./ui.js";

const CHANGES = ["data", "loss", "network", "procedure", "prediction"];
const FIDELITY = ["released", "published", "adapted", "control"];
const signed = (value) => (value > 0 ? "+" : "") + value.toFixed(1).replace("-", "−");
const plain = (digits) => (value) => value.toFixed(digits).replace("-", "−");
const words = (value) => value;
// Name of the value, heading, how it is written, and the class of its cells.
const COLUMNS = [
  ["method", "method", words, "lt-text"],
  ["difference", "minus control", signed],
  ["shared", "at seeds", plain(0)],
  ["top1", "top-1 (%)", plain(1)],
  ["seeds", "seeds", plain(0)],
  ["control", "control", words, "lt-text"],
  ["many", "many", plain(1)],
  ["medium", "medium", plain(1)],
  ["few", "few", plain(1)],
  ["times", "cost (cross-entropy 1)", plain(2)],
  ["cost", "CPU seconds", (value) => Math.round(value).toLocaleString("en-GB")],
  ["changes", "changes", (value) => value.join(", ") || "nothing", "lt-text"],
  ["classifier", "classifier", words, "lt-text"],
  ["fidelity", "fidelity", words, "lt-text"],
  ["starts_from", "second stage of", words, "lt-text"],
  ["published", "published (%)", (value) => String(value)],
  ["recipe", "published with, and where", words, "lt-text lt-long"],
  ["chapter", "chapter", words],
  ["processor", "trained on", words, "lt-text"],
];
const ACCURACIES = ["top1", "many", "medium", "few", "difference"];
const key = (value) => (Array.isArray(value) ? value.join(" ") : value);
const compare = (a, b) => (typeof a === "string" ? (a.toLowerCase() < b.toLowerCase() ? -1 : Number(a.toLowerCase() > b.toLowerCase())) : a - b);

function render({ model, el }) {
  const question = "What does each method change, gain over its control, and cost?";
  const view = panel({ model, el }, { kind: "MethodTable", question, inputs: ["rows"] });
  const any = (names) => [["any", "any"], ...names.map((name) => [name, name])];
  view.choice("changes", { label: "Changes", options: any(CHANGES) });
  view.choice("fidelity", { label: "Fidelity", options: any(FIDELITY) });
  addSearch();

  function addSearch() {
    const box = html("input", { type: "search", autocomplete: "off", spellcheck: "false" });
    box.addEventListener("input", () => { view.set("search", box.value); view.redraw(); });
    const refresh = () => {
      if (box.value !== model.get("search")) box.value = model.get("search");
      view.redraw();
    };
    view.listen("search", refresh);
    refresh();
    view.controls.append(html("div", { class: "lt-control lt-select" }, html("label", {}, "Search the rows", box)));
  }

  const body = html("tbody");
  const heads = COLUMNS.map(([name, title, , kind]) => {
    const mark = html("span", { "aria-hidden": "true" });
    const button = html("button", { type: "button", onclick: () => sort(name) }, title, mark);
    return { name, mark, button, node: html("th", { scope: "col", class: kind ?? null }, button) };
  });
  const order = html("button", { type: "button", onclick: () => sort("map") }, "Map order");
  view.controls.append(html("div", { class: "lt-control lt-buttons" }, order));
  const table = html("table", {}, html("thead", {}, html("tr", {}, heads.map((head) => head.node))), body);
  const area = { class: "lt-methods", tabindex: 0, role: "region", "aria-label": `Table: ${question}` };
  view.root.append(html("div", area, table));

  /** The first press has the largest number, or the first word, on top; the next one turns the order round. */
  function sort(name) {
    const again = model.get("sort_by") === name;
    const text = model.get("rows").some((row) => typeof row[name] === "string" || Array.isArray(row[name]));
    view.set("descending", again ? !model.get("descending") : !text);
    view.set("sort_by", name);
    view.redraw();
  }
  for (const name of ["sort_by", "descending"]) view.listen(name);

  function shown() {
    const [changes, fidelity, by] = ["changes", "fidelity", "sort_by"].map((name) => model.get(name));
    const wanted = model.get("search").trim().toLowerCase();
    const texts = COLUMNS.filter(([name, , , kind]) => kind && name !== "changes").map(([name]) => name);
    const kept = model.get("rows").filter((row) =>
      (changes === "any" || row.changes.includes(changes)) && (fidelity === "any" || row.fidelity === fidelity) &&
      [...texts.map((name) => row[name]), ...row.changes].join("\n").toLowerCase().includes(wanted));
    if (by === "map") return kept;
    const there = kept.filter((row) => row[by] !== null);
    const turn = model.get("descending") ? -1 : 1;
    there.sort((a, b) => turn * compare(key(a[by]), key(b[by])));
    return [...there, ...kept.filter((row) => row[by] === null)];
  }

  view.draw = () => {
    const rows = shown();
    const by = model.get("sort_by");
    const down = model.get("descending");
    for (const { name, mark, node } of heads) {
      if (name === by) node.setAttribute("aria-sort", down ? "descending" : "ascending");
      else node.removeAttribute("aria-sort");
      mark.textContent = name === by ? (down ? " ↓" : " ↑") : "";
    }
    order.disabled = by === "map";
    const cell = (row) => ([name, , write, kind], i) => {
      const text = row[name] === null || row[name] === "" ? "–" : write(row[name]);
      return html(i ? "td" : "th", i ? { class: kind ?? null } : { scope: "row", class: kind }, text);
    };
    body.replaceChildren(...rows.map((row) => html("tr", {}, COLUMNS.map(cell(row)))));
    speak(rows, by, down);
  };

  function speak(rows, by, down) {
    const all = model.get("rows").length;
    const title = COLUMNS.find(([name]) => name === by)?.[1];
    const single = rows.filter((row) => row.seeds === 1).length;
    const sorted = title ? `sorted by ${title}, ${down ? "falling" : "rising"}` : "in the order of the map";
    const caution = ACCURACIES.includes(by) && single ? ` ${single} of them ${single === 1 ? "has" : "have"} one seed: no rank.` : "";
    view.say(all ? `${rows.length} of ${all} systems, ${sorted}.${caution}` : "No system is recorded yet.");
  }
  return view.close;
}

export default { render };
