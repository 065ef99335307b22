"""What a reader sees of a chart: the whole run, what lies under the pointer, and the picture that is saved."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page

from server.web.contexts.charts import MOST_METRICS
from tests.browser.kit import open_run, send
from tests.server.house import RUN
from tests.serving import Server

RANGES = """() => [...document.querySelectorAll(".plot")].filter((plot) => plot._fullLayout?.xaxis)
  .map((plot) => plot._fullLayout.xaxis.range.map(Math.round).join(" to "))"""


def test_all_charts_of_a_run_show_the_same_steps_and_a_double_click_shows_them_again(
    server: Server, page: Page, eventually: Callable[..., None]
) -> None:
    open_run(server)
    send(server, 0, {"loss": [2.0 - step / 1_000 for step in range(500)], "time/step": [0.1] * 500})
    send(server, 1, {"grad_norm": [1.0] * 20})
    page.set_viewport_size({"width": 1400, "height": 1600})
    page.goto(f"{server.url}/runs/{RUN}")
    eventually(lambda: page.evaluate(RANGES) == ["-5 to 504"] * 3)
    assert page.locator("[data-chart=grad-norm] .chart-note").inner_text().startswith("measured at 20 of 500 steps")

    def done(gesture: Callable[[float, float], None], zoomed: bool) -> bool:
        """Makes a gesture where the chart is now; one that comes while it is drawn anew, or moves, is lost."""
        box = page.locator("[data-chart=loss] .nsewdrag").first.bounding_box()
        assert box is not None
        gesture(box["x"], box["y"] + 60)
        made = page.evaluate("performance.now()")
        eventually(lambda: ("from=" in page.url) == zoomed or page.evaluate("performance.now()") > made + 700)
        return ("from=" in page.url) == zoomed

    def drag(x: float, y: float) -> None:
        page.mouse.move(x + 200, y)
        page.mouse.down()
        page.mouse.move(x + 400, y, steps=5)
        page.mouse.up()

    eventually(lambda: done(drag, zoomed=True))
    eventually(lambda: done(lambda x, y: page.mouse.dblclick(x + 300, y), zoomed=False))
    eventually(lambda: page.evaluate(RANGES) == ["-5 to 504"] * 3)


def test_what_a_shorter_attempt_replaced_fits_into_the_chart_when_it_is_shown(
    server: Server, page: Page, eventually: Callable[..., None]
) -> None:
    open_run(server)
    send(server, 0, {"loss": [2.0] * 300})
    open_run(server, attempt="second")
    send(server, 0, {"loss": [1.0] * 101}, attempt="second")
    page.goto(f"{server.url}/runs/{RUN}")
    eventually(lambda: page.evaluate(RANGES) == ["-1 to 101"])
    page.get_by_role("button", name="loss · attempt 1, replaced from step 0 on").press("Enter")
    eventually(lambda: page.evaluate(RANGES) == ["-1 to 299"])


def test_the_label_under_the_pointer_names_a_pale_line_in_its_full_colour(
    server: Server, page: Page, eventually: Callable[..., None]
) -> None:
    open_run(server)
    send(server, 0, {"loss": [2.0 - step / 1_000 for step in range(200)]})
    page.goto(f"{server.url}/runs/{RUN}")
    plot = page.locator("[data-chart=loss] .nsewdrag").first
    plot.wait_for()
    box = plot.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 300, box["y"] + 60)
    page.mouse.move(box["x"] + 310, box["y"] + 60)
    name = page.locator("[data-chart=loss] .hovertext text.name")
    name.wait_for()
    of_line = "document.querySelector('[data-chart=loss] .plot').data[0]"
    assert page.evaluate(f"{of_line}.opacity") < 0.5
    assert page.evaluate(f"{of_line}.line.color") == "#0072b2"
    # the label is drawn anew while the pointer moves
    eventually(lambda: name.evaluate("(text) => getComputedStyle(text).fill") == "rgb(0, 114, 178)")


def test_a_cell_of_the_heatmap_says_at_which_step_it_was_measured(
    server: Server, page: Page, eventually: Callable[..., None]
) -> None:
    open_run(server)
    for seq, step in enumerate((0, 89, 297)):
        send(server, seq, {"act/std/fc": [1.0]}, first_step=step)
    page.goto(f"{server.url}/runs/{RUN}/layers")
    cells = page.locator("#chart-layers .nsewdrag").first
    cells.wait_for()
    box = cells.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 50)
    page.mouse.move(box["x"] + box["width"] / 2 + 5, box["y"] + 50)
    eventually(lambda: page.locator(".cell-tip").is_visible())
    assert page.locator(".cell-tip").inner_text().split("\n")[1] == "measured at step 89, next at 297"


def test_the_footer_of_a_chart_is_never_cut(server: Server, page: Page, eventually: Callable[..., None]) -> None:
    for run_id in ("one", "two"):
        open_run(server, run_id)
        send(server, 0, {"loss": [2.0 - step / 9_000 for step in range(6_000)]}, run_id=run_id)
    for width in (420, 1300):
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(f"{server.url}/compare?run=one&run=two")
        note = page.locator("[data-chart=overlay] .chart-note").first
        note.wait_for()
        assert "zoom for more" in note.inner_text()
        assert note.evaluate(
            "(words) => words.scrollWidth <= words.clientWidth && words.scrollHeight <= words.clientHeight"
        )


def test_finding_a_layer_narrows_the_map_as_it_narrows_the_list(
    server: Server, page: Page, eventually: Callable[..., None]
) -> None:
    open_run(server)
    send(server, 0, {f"act/std/blocks.{block}.{part}": [1.0, 2.0] for block in range(40) for part in ("norm", "up")})
    rows = "() => document.querySelector('#chart-layers .plot')?.data[0].y ?? []"
    page.goto(f"{server.url}/runs/{RUN}/layers")
    eventually(lambda: page.evaluate(rows)[:2] == ["blocks.0 ▸ 2", "blocks.1 ▸ 2"])
    page.get_by_label("Find a layer").fill("7 up")
    eventually(lambda: page.evaluate(rows) == [f"blocks.{block}.up" for block in (7, 17, 27, 37)])
    page.get_by_label("Find a layer").fill("no such layer")
    eventually(lambda: page.locator("#chart-layers .chart-says").count())
    assert page.locator("#chart-layers .chart-says").inner_text() == "No layer has these words in its name."
    page.get_by_label("Find a layer").fill("")
    eventually(lambda: len(page.evaluate(rows)) == 40)


SAVED = """() => { Plotly.downloadImage = (figure, options) => { window.saved = { ...figure, ...options } } }"""


def test_a_saved_picture_has_the_run_the_title_and_a_legend(
    server: Server, page: Page, eventually: Callable[..., None]
) -> None:
    """The names in it are text, as they are on the page."""
    open_run(server, name="<b>first</b>")
    open_run(server, "other", name="second")
    for run_id in (RUN, "other"):
        send(server, 0, {"loss": [2.0 - step / 1_000 for step in range(200)], "val/loss": [2.0] * 200}, run_id=run_id)
    page.goto(f"{server.url}/runs/{RUN}")
    eventually(lambda: page.locator("[data-chart=loss] .plot .trace").count() >= 3)
    page.evaluate(SAVED)
    page.get_by_role("button", name="Save Loss as PNG").click(force=True)
    names = "() => saved.data.filter((one) => one.showlegend).map((one) => one.name)"
    assert page.evaluate("saved.layout.title.text") == "<b>&lt;b&gt;first&lt;/b&gt;</b> · Loss"
    assert page.evaluate(names) == ["loss", "val/loss"]
    assert page.evaluate("saved.layout.showlegend")
    assert page.evaluate("saved.filename") == "b-first-b-Loss"
    page.goto(f"{server.url}/compare?run={RUN}&run=other")
    eventually(lambda: page.locator("[data-chart=overlay] .plot .trace").count() >= 4)
    page.evaluate(SAVED)
    page.get_by_role("button", name="Save Loss as PNG").click(force=True)
    assert page.evaluate("saved.layout.title.text") == "Loss"
    assert page.evaluate(names) == ["&lt;b&gt;first&lt;/b&gt;", "second"]


def test_a_metric_that_the_page_left_out_is_found_by_its_name(
    server: Server, page: Page, eventually: Callable[..., None]
) -> None:
    run_id = "many-metrics"
    open_run(server, run_id)
    send(server, 0, {f"sample {number}": [1.0] for number in range(MOST_METRICS + 100)}, run_id=run_id)
    page.goto(f"{server.url}/runs/{run_id}")
    eventually(lambda: page.locator("#metrics [data-narrow-text]").count() == MOST_METRICS)
    assert page.get_by_text("500 metrics of 600 are here.").count() == 1
    page.get_by_placeholder("Find a metric").fill("sample 598")
    eventually(lambda: page.locator("#metrics [data-narrow-text='sample 598']").is_visible())
    assert page.get_by_placeholder("Find a metric").input_value() == "sample 598"
    page.get_by_placeholder("Find a metric").fill("")
    eventually(lambda: page.locator("#metrics [data-narrow-text]:visible").count() == MOST_METRICS)
    with page.expect_request(lambda request: "order=sent" in request.url):
        page.get_by_label("Order").select_option("sent")
