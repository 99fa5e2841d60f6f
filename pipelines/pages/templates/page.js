
"use strict";
(function () {
  if (window.parent === window) return;
  let outer;
  try { outer = window.parent.document; } catch { return; }
  const follow = () => {
    document.documentElement.dataset.theme =
      outer.documentElement.classList.contains("dark") ? "dark" : "light";
  };
  follow();
  new MutationObserver(follow).observe(outer.documentElement, { attributeFilter: ["class"] });
  // The frame may not leave for Airflow by itself: its sandbox has no top navigation.
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-airflow]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const twin = outer.createElement("a");
    twin.href = link.href;
    outer.body.append(twin);
    twin.click();
    twin.remove();
  });
})();
