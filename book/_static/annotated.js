// A symbol lights up in code, equation and list while the pointer is on it or a name in the code has the focus; a click,
// Enter or Space keeps it, Escape lets it go. Without this script the page has both columns and all meanings.
{
  const roots = [...document.querySelectorAll(".annotated")];

  // Formulas with their symbols marked, before MathJax reads them; without scripts a reader sees plain TeX.
  for (const holder of document.querySelectorAll("[data-marked]")) {
    const maths = holder.querySelector(".math");
    const [open, close] = maths.matches("div") ? ["\\[", "\\]"] : ["\\(", "\\)"];
    maths.textContent = open + holder.dataset.marked + close;
  }

  const meaning = Object.assign(document.createElement("div"), { className: "annotated-meaning" });
  meaning.setAttribute("role", "status");
  roots[0].append(meaning);

  let kept = null; // the root and the symbol that a click has chosen
  let shown = "";

  const symbolAt = (node) => {
    const found = node.closest("[data-symbol], [class*='sym-']");
    return found && (found.dataset.symbol ?? [...found.classList].find((name) => name.startsWith("sym-")).slice(4));
  };

  const light = (root, symbol) => {
    const key = root && symbol ? `${roots.indexOf(root)} ${symbol}` : "";
    if (key === shown) return;
    shown = key;
    for (const node of document.querySelectorAll(".annotated .lit")) node.classList.remove("lit");
    meaning.replaceChildren();
    if (!key) return;
    for (const node of root.querySelectorAll(`[data-symbol="${symbol}"], .sym-${symbol}`)) node.classList.add("lit");
    const entry = root.querySelector(`.annotated-symbol[data-symbol="${symbol}"]`);
    for (const [part, name] of [["dt", "annotated-term"], ["dd", "annotated-told"]]) {
      const span = Object.assign(document.createElement("span"), { className: name });
      span.append(...[...entry.querySelector(part).childNodes].map((node) => node.cloneNode(true)));
      meaning.append(span);
    }
    for (const node of meaning.querySelectorAll("[tabindex]")) node.removeAttribute("tabindex");
  };

  // What has the focus, else what was kept, else nothing.
  const rest = () => {
    const focused = document.activeElement?.closest?.(".annotated-name");
    if (focused) light(focused.closest(".annotated"), focused.dataset.symbol);
    else light(kept?.root, kept?.symbol);
  };

  const keep = (root, symbol) => {
    kept = kept?.root === root && kept.symbol === symbol ? null : symbol && { root, symbol };
    for (const node of document.querySelectorAll(".annotated-name[role]")) {
      const same = kept && kept.root.contains(node) && node.dataset.symbol === kept.symbol;
      node.setAttribute("aria-pressed", String(Boolean(same)));
    }
  };

  for (const root of roots) {
    // The Tab key stops once a row at each symbol.
    for (const row of root.querySelectorAll(".annotated-row")) {
      const seen = new Set();
      for (const name of row.querySelectorAll(".annotated-name")) {
        if (seen.has(name.dataset.symbol)) continue;
        seen.add(name.dataset.symbol);
        name.tabIndex = 0;
        name.setAttribute("role", "button");
        name.setAttribute("aria-pressed", "false");
      }
    }
    root.addEventListener("pointerover", ({ target }) => {
      const symbol = symbolAt(target);
      if (symbol) light(root, symbol);
      else rest();
    });
    root.addEventListener("pointerleave", rest);
    root.addEventListener("focusin", ({ target }) => light(root, symbolAt(target)));
    root.addEventListener("focusout", () => setTimeout(rest));
    root.addEventListener("click", ({ target }) => {
      const symbol = symbolAt(target);
      keep(root, symbol);
      light(kept?.root, kept?.symbol);
    });
    root.addEventListener("keydown", (event) => {
      if (!["Enter", " "].includes(event.key) || !event.target.matches(".annotated-name")) return;
      event.preventDefault();
      keep(root, event.target.dataset.symbol);
      light(root, event.target.dataset.symbol); // Escape may have put it out
    });
  }
  window.addEventListener("keydown", ({ key }) => {
    if (key !== "Escape" || !shown) return;
    keep(null, null);
    light(null, null);
  }, true);
}
