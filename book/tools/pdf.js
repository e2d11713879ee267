// What `pdf.py` asks of a page: `drawn` of a built page, the others of the composed document.
window.edition = {
  // A page's widgets in their order, as HTML without controls; what the controls were set to is a line of text.
  drawn: async () => {
    const areas = [...document.querySelectorAll(".widget-subarea")];
    const encoded = async (source) => {
      const blob = await (await fetch(source)).blob();
      return new Promise((done) => {
        const reader = new FileReader();
        reader.onload = () => done(reader.result);
        reader.readAsDataURL(blob);
      });
    };
    const settings = (root) => {
      const found = [];
      for (const node of root.querySelectorAll(".lt-control")) {
        const field = node.querySelector("fieldset");
        const select = node.querySelector("select");
        const label = (node.querySelector("legend") ?? node.querySelector("label"))?.textContent.trim();
        const value = node.querySelector(".lt-value");
        const box = node.querySelector("input[type=checkbox]");
        if (!node.checkVisibility({ checkVisibilityCSS: true }) && getComputedStyle(node).display === "none") continue;
        if (field) found.push([label, field.querySelector("input:checked")?.closest("label")?.textContent.trim()]);
        else if (select) found.push([label, select.selectedOptions[0]?.textContent.trim()]);
        else if (value) found.push([label, value.textContent.trim()]);
        else if (box) found.push([label, box.checked ? "on" : "off"]);
      }
      return found.filter(([name, value]) => name && value).map(([name, value]) => `${name}: ${value}`).join("; ");
    };
    const made = [];
    for (const area of areas) {
      const shown = area.querySelector(".lt-widget, .lt-frames");
      if (!shown) continue;
      const set = settings(shown);
      const canvases = [...shown.querySelectorAll("canvas")].map((canvas) => canvas.toDataURL("image/png"));
      const clone = shown.cloneNode(true);
      clone.querySelectorAll("canvas").forEach((canvas, place) => {
        canvas.replaceWith(Object.assign(document.createElement("img"), { src: canvases[place] }));
      });
      for (const image of clone.querySelectorAll("img[src^='blob:']")) image.src = await encoded(image.src);
      if (shown.matches(".lt-frames")) {
        const question = clone.querySelector(".lt-question");
        const frame = clone.querySelector("figure.lt-frame");
        clone.replaceChildren(...[question, frame].filter(Boolean));
        clone.className = "lt-frames";
      }
      for (const gone of clone.querySelectorAll(".lt-controls, details, script")) gone.remove();
      if (set) clone.append(Object.assign(document.createElement("p"), { className: "lt-set", textContent: `Set to ${set}.` }));
      for (const node of clone.querySelectorAll("[tabindex], [aria-live], [role=status]")) {
        for (const name of ["tabindex", "aria-live", "role"]) if (node.localName !== "svg") node.removeAttribute(name);
      }
      made.push(clone.outerHTML);
    }
    return made;
  },

  // Every formula is typeset and named by its TeX; what is a little too wide is set smaller.
  ready: async () => {
    await MathJax.startup.promise;
    await document.fonts.ready;
    for (const item of MathJax.startup.document.math) {
      item.typesetRoot?.setAttribute("role", "img");
      item.typesetRoot?.setAttribute("aria-label", item.math.trim());
    }
    const shrink = (node, room, needed, size = parseFloat(getComputedStyle(node).fontSize)) => {
      if (needed > room + 0.5) node.style.setProperty("font-size", `${Math.max(0.5, (room / needed) * 0.98) * size}px`, "important");
    };
    for (const display of document.querySelectorAll("div.math > mjx-container")) {
      display.style.fontSize = "";
      shrink(display, display.clientWidth, display.scrollWidth);
    }
    for (const table of document.querySelectorAll("article table")) {
      const box = table.closest(".output, .pst-scrollable-table-container, .lt-scroll") ?? table.parentElement;
      for (let step = 0; step < 3; step += 1) shrink(table, box.clientWidth, table.scrollWidth);
    }
  },

  // What is wrong with the document as it is laid out on the width of the paper.
  faults: () => {
    const found = [];
    const say = (what, node) => {
      const page = node.closest("article")?.id ?? "the front";
      found.push(`${page}: ${what}: ${(node.textContent.trim() || node.outerHTML).replace(/\s+/g, " ").slice(0, 70)}`);
    };
    const wide = document.documentElement.clientWidth + 1;
    const tall = 261 * 96 / 25.4; // of a sheet, without its margins
    const range = document.createRange();
    for (const node of document.querySelectorAll("pre, table, div.math, mjx-container, img, svg, p, li, dt, dd, h1, h2, h3, h4, figure")) {
      const box = node.getBoundingClientRect();
      if (box.width && (box.right > wide || box.left < -1)) say("wider than the paper", node);
      else if (/^(auto|hidden|scroll|clip)/.test(getComputedStyle(node).overflowX) && node.scrollWidth > node.clientWidth + 1 && node.clientWidth) say("cut", node);
    }
    for (const node of document.querySelectorAll("img, figure, svg.lt-figure, .drawn, tr")) {
      if (node.getBoundingClientRect().height > tall) say("taller than the paper", node);
    }
    for (const node of document.querySelectorAll("img")) if (!node.naturalWidth) say("a picture that is not there", node);
    for (const node of document.querySelectorAll("mjx-merror")) say("a formula that MathJax does not know", node);
    for (const node of document.querySelectorAll("span.math, div.math")) {
      if (!node.querySelector("mjx-container")) say("raw LaTeX", node);
    }
    for (const node of document.querySelectorAll(".lt-widget")) {
      if (!node.querySelector("svg *, img, tbody td")) say("an empty widget", node);
    }
    const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
    const seen = new Map();
    const dark = (colour) => {
      if (!seen.has(colour)) {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        const [red, green, blue, opaque] = canvas.getImageData(0, 0, 1, 1).data;
        seen.set(colour, opaque > 100 && 0.2126 * red + 0.7152 * green + 0.0722 * blue < 140);
      }
      return seen.get(colour);
    };
    for (const node of document.querySelectorAll("html, body, main, article, article :is(div, section, pre, table, tr, td, th, p, figure, fieldset, code, dt, dd)")) {
      const box = node.getBoundingClientRect();
      if (box.width > 20 && box.height > 8 && dark(getComputedStyle(node).backgroundColor)) say("a dark ground", node);
    }
    return found;
  },

  number: (pages) => {
    for (const node of document.querySelectorAll(".page-of")) node.textContent = pages[node.dataset.of] ?? "?";
  },
};
