// On pages with widgets, between RequireJS and html-manager.
(() => {
  // anywidget, and the folder of html-manager's icon fonts, lie beside the book's scripts, however deep the page.
  const vendor = new URL("vendor/", document.currentScript.src).href;
  require.config({
    paths: {
      anywidget: `${vendor}anywidget`,
      "@jupyter-widgets/html-manager": `${vendor}html-manager/html-manager`,
      "@jupyter-widgets/html-manager/dist": `${vendor}html-manager`,
    },
  });
  // A slider of ipywidgets comes without a name, and says the place of a value instead of the value; the frames behind it
  // change in silence.
  const complete = () => {
    for (const handle of document.querySelectorAll(".widget-slider .noUi-handle")) {
      const slider = handle.closest(".widget-slider");
      const [label, value] = [".widget-label", ".widget-readout"].map((part) => slider.querySelector(part)?.textContent);
      if (label) handle.setAttribute("aria-label", label);
      if (value && handle.getAttribute("aria-valuetext") !== value) handle.setAttribute("aria-valuetext", value);
    }
    for (const frames of document.querySelectorAll(".lt-frames > :last-child")) frames.setAttribute("aria-live", "polite");
  };
  const changes = { subtree: true, childList: true, attributes: true, attributeFilter: ["aria-valuetext"] };
  new MutationObserver(complete).observe(document.documentElement, changes);
  // ipywidgets typesets labels by MathJax 2's queue; the pages have MathJax 3.
  document.addEventListener("DOMContentLoaded", () => {
    if (!window.MathJax?.startup) return;
    let last = MathJax.startup.promise;
    MathJax.Hub = { Queue: ([, , element]) => { last = last.then(() => MathJax.typesetPromise([element])); } };
  });
})();
