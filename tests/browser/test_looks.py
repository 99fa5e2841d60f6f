"""Every page in light and dark, on a telephone, and without a mouse."""

from __future__ import annotations

from urllib.parse import quote

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.long]

PAGES = ["/incidents", "held", "missing", "/runbooks/held-delivery", "/runbooks", "/champion",
         "/decisions", "decision", "card", "form", "/sources", "/sources/web",
         "/compare", "/models", "/monitoring", "run"]  # fmt: skip
NARROW = {"width": 360, "height": 740}

# The lowest contrast of any text of the page with what is behind it (WCAG 2.2, 1.4.3).
LOWEST_CONTRAST = """() => {
  const parse = (color) => {
    const canvas = new OffscreenCanvas(1, 1).getContext("2d");
    canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const luminance = ([r, g, b]) => {
    const [R, G, B] = [r, g, b].map((v) => v / 255).map(
      (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * R + 0.7152 * G + 0.0722 * B;
  };
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const color = getComputedStyle(one).backgroundColor;
      if (!/rgba\\(.*, 0\\)/.test(color)) return parse(color);
    }
    return [255, 255, 255, 255];
  };
  let lowest = { ratio: 21, text: "" };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim();
    if (!text || ["SCRIPT", "STYLE", "TITLE"].includes(element.tagName)) continue;
    if (element.closest("svg")) continue;
    const [a, b] = [luminance(parse(getComputedStyle(element).color)), luminance(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < lowest.ratio) lowest = { ratio, text: text.slice(0, 40) };
  }
  return lowest;
}"""

OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"

# The tables that are wider than their place without showing it: a box that scrolls has a shadow at
# each side where columns are hidden.
CUT_OFF = """() => {
  const is_cut = (table) => {
    const box = table.closest(".scroll") ?? table.parentElement;
    if (table.scrollWidth <= box.clientWidth) return false;
    const { overflowX, backgroundImage } = getComputedStyle(box);
    return overflowX !== "auto" || !/gradient.*gradient/.test(backgroundImage);
  };
  return [...document.querySelectorAll("table")].filter(is_cut).map(
    (table) => table.innerText.slice(0, 60));
}"""

# What has the focus: its place among all that can be reached, and whether one can see it.
# In a field for a date each part is a stop of its own, which the browser itself highlights.
FOCUSED = """() => {
  const one = document.activeElement, style = getComputedStyle(one);
  const all = [...document.querySelectorAll(
    'a[href], button, input:not([type="hidden"]), select, textarea, summary, .scroll')].filter(
    (element) => element.checkVisibility());
  const is_outlined = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
  return [all.indexOf(one), all.length, is_outlined || /^date/.test(one.type)];
}"""


@pytest.fixture(params=PAGES)
def path(request, world):
    if request.param == "run":
        run_id = request.getfixturevalue("ingest_run")()
        return f"/runs/reviews_ingest/{quote(run_id, safe='')}"
    night, source = world.missing
    named = {
        "held": f"/incidents/{world.worse}",
        "missing": f"/incidents/missing/{night}/{source}",
        "decision": f"/decisions/{world.decision}",
        "card": f"/decisions/{world.decision}/card",
        "form": f"/forms/reviews_replay?delivery={world.held}&action=release",
    }
    return named.get(request.param, request.param)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_read_in_light_and_dark(visit, path, scheme):
    page = visit("viewer", color_scheme=scheme).open(path)

    lowest = page.evaluate(LOWEST_CONTRAST)

    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    assert lowest["ratio"] >= 4.5, lowest


def test_no_page_scrolls_sideways_on_a_telephone(visit, path):
    page = visit("operator", viewport=NARROW).open(path)

    assert page.evaluate(OVERFLOW) == 0


def test_every_link_and_button_is_reached_by_tab_and_shows_it(visit, path):
    page = visit("operator").open(path)
    count = page.evaluate(FOCUSED)[1]

    reached: dict[int, bool] = {}
    for _ in range(count + 8):
        page.keyboard.press("Tab")
        place, _, is_visible = page.evaluate(FOCUSED)
        reached[place] = is_visible
        if place == count - 1:
            break

    assert reached == dict.fromkeys(range(count), True)


def test_a_page_asks_nobody_else_and_breaks_none_of_its_own_rules(visit, path):
    visitor = visit("viewer")
    visitor.open(path)

    assert visitor.seen == type(visitor.seen)()


def test_what_a_table_hides_at_its_sides_is_seen_to_go_on(visit, path):
    page = visit("operator").open(path)

    for width in (1280, 800):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate(CUT_OFF) == []
        assert page.evaluate(OVERFLOW) == 0
