// Excerpts beside search results are fetched from the pages, which a browser refuses to a page opened from a file.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

// What the theme's markup leaves out for keyboards and screen readers.
document.addEventListener("DOMContentLoaded", () => {
  // A button's name contains the text that it shows: "Search Ctrl+K".
  for (const button of document.querySelectorAll(".search-button-field")) button.removeAttribute("aria-label");

  // The pictures on the colour mode button say nothing; the button's label does. Font Awesome may have drawn them yet.
  for (const icon of document.querySelectorAll(".theme-switch")) {
    icon.removeAttribute("title");
    icon.removeAttribute("aria-labelledby");
    icon.querySelector("title")?.remove();
    icon.setAttribute("aria-hidden", "true");
  }

  // Children of role="list" are list items.
  for (const entry of document.querySelectorAll(".citation-list > [role]")) entry.setAttribute("role", "listitem");

  // A display that scrolls sideways can be reached, and then scrolled, by keyboard. The theme does so for code and tables.
  const reachable = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
      else target.removeAttribute("tabindex");
    }
  });
  for (const display of document.querySelectorAll("div.math")) reachable.observe(display);
});
