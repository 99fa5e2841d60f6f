
"use strict";
(function () {
  let outer = null;
  try { outer = window.parent === window ? null : window.parent.document; } catch { outer = null; }
  if (outer) {
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
  }

  // Times are written in UTC; the reader's own zone and how long ago it was are added.
  const units = [["year", 31536000], ["month", 2592000], ["day", 86400], ["hour", 3600], ["minute", 60]];
  const ago = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  for (const time of document.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    const seconds = (at - Date.now()) / 1000;
    const [unit, length] = units.find(([, size]) => Math.abs(seconds) >= size) || ["minute", 60];
    const said = document.createElement("span");
    said.className = "dim";
    const here = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    const zone = at.getTimezoneOffset() ? `, ${here} here` : "";
    said.textContent = ` (${ago.format(Math.round(seconds / length), unit)}${zone})`;
    time.title = at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "long" });
    time.append(said);
  }

  const copy = async (text) => {
    try { await navigator.clipboard.writeText(text); return true; } catch { /* not allowed here */ }
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    const is_done = document.execCommand("copy");
    area.remove();
    return is_done;
  };
  for (const shown of document.querySelectorAll("[data-copy], pre > code")) {
    const text = shown.textContent.trim(), button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "copy";
    button.setAttribute("aria-label", `Copy ${text.slice(0, 20)}`);
    button.addEventListener("click", async () => {
      button.textContent = (await copy(text)) ? "copied" : "not allowed";
      setTimeout(() => { button.textContent = "copy"; }, 2000);
    });
    shown.after(button);
  }

  const all = document.querySelector("input[data-all]");
  if (all) all.addEventListener("change", () => {
    for (const box of document.querySelectorAll("input[name=delivery]")) box.checked = all.checked;
  });

  const wait = Number(document.body.dataset.refresh);
  if (wait) setInterval(() => {
    if (!document.hidden) window.location.reload();
  }, wait * 1000);
})();
