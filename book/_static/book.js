// What the theme's markup leaves out or leaves broken.
document.addEventListener("DOMContentLoaded", () => {
  const all = (selector) => document.querySelectorAll(selector);

  // A button's name contains the text that it shows: "Search Ctrl+K", "Show code cell source".
  for (const button of all(".search-button-field, details.hide > summary")) button.removeAttribute("aria-label");

  // The pictures on the colour mode button say nothing; the button's label does. Font Awesome may have drawn them yet.
  for (const icon of all(".theme-switch")) {
    icon.removeAttribute("title");
    icon.removeAttribute("aria-labelledby");
    icon.querySelector("title")?.remove();
    icon.setAttribute("aria-hidden", "true");
  }

  // Children of role="list" are list items.
  for (const entry of all(".citation-list > [role]")) entry.setAttribute("role", "listitem");

  // The theme opens its drawers by buttons in its header, which is not shown; the buttons above the article do nothing.
  const wide = matchMedia("(min-width: 992px)");
  for (const side of ["primary", "secondary"]) {
    const opener = document.querySelector(`#pst-header .${side}-toggle`);
    const sidebar = document.getElementById(`pst-${side}-sidebar`);
    const drawer = document.getElementById(`pst-${side}-sidebar-modal`);
    for (const button of all(`.bd-header-article .${side}-toggle`)) {
      button.hidden = !sidebar;
      button.setAttribute("aria-label", side === "primary" ? "Chapters" : "On this page");
      button.addEventListener("click", () => {
        if (side === "primary" && wide.matches) sidebar.classList.toggle("pst-sidebar-hidden");
        else opener.click();
      });
    }
    if (!sidebar || !drawer) continue;
    const close = Object.assign(document.createElement("button"), { type: "button", className: "btn book-close" });
    close.textContent = "Close";
    close.addEventListener("click", () => drawer.close());
    sidebar.append(close);
    drawer.addEventListener("click", ({ target }) => target.closest("a[href^='#']") && drawer.close());
  }

  // Escape closes the menus of the article's bar, until the pointer comes back or the button is used again.
  const menus = all(".bd-header-article .dropdown");
  window.addEventListener("keydown", ({ key }) => {
    if (key === "Escape") for (const menu of menus) menu.classList.add("book-closed");
  }, true);  // before the theme, which lets no one else have it
  for (const menu of menus) {
    for (const event of ["mouseleave", "click"]) menu.addEventListener(event, () => menu.classList.remove("book-closed"));
  }

  // A display that is a little too wide is set smaller. What is wider still scrolls, as code and tables do, and fades at the
  // edge where there is more.
  const smallest = () => (wide.matches ? 0.66 : 0.8);
  const fit = (display) => {
    display.dataset.size ??= parseFloat(display.style.fontSize) || 100;
    display.style.fontSize = `${display.dataset.size}%`;
    const room = Math.max(smallest(), Math.floor((100 * display.clientWidth) / display.scrollWidth) / 100);
    if (room < 1) display.style.fontSize = `${display.dataset.size * room}%`;
  };
  const fade = (node) => {
    node.classList.toggle("more-left", node.scrollLeft > 1);
    node.classList.toggle("more-right", node.scrollLeft < node.scrollWidth - node.clientWidth - 1);
  };
  const resized = new ResizeObserver((entries) => entries.forEach(({ target }) => {
    const display = target.matches("div.math") && target.querySelector("mjx-container");
    if (display) fit(display);
    fade(display || target);
  }));
  const watch = (node) => node.addEventListener("scroll", () => fade(node), { passive: true });
  for (const node of all("div.highlight pre, .pst-scrollable-table-container, .cell_output > .output")) {
    watch(node);
    resized.observe(node);
  }
  window.MathJax?.startup?.promise.then(() => {
    for (const display of all("div.math")) resized.observe(display);
    for (const display of all("div.math mjx-container")) watch(display);
  });
});
