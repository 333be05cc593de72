"""The page in a real browser, headless Chromium: loaded from a file, without a network.

Skipped where there is no Chromium, unless ``BROWSER_TESTS=required``, as in CI. ``CHROMIUM`` may name one.
"""

from __future__ import annotations

import base64
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from clips import make_clip, read_number
from fakes import fake
from numpy.typing import NDArray

from saliency_cli.reporting import page as paging
from saliency_cli.reporting.report import report, report_all

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1200, "height": 900}
PATIENCE = 60_000  # milliseconds


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser that has only started."""
    program = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        reason = "there is no Chromium on this machine; on Debian: apt-get install chromium"
        if os.environ.get("BROWSER_TESTS") == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=FLAGS, timeout=PATIENCE)
        yield chromium
        chromium.close()


def decoded(png: bytes) -> NDArray[np.uint8]:
    """The pixels of a PNG, (H, W, 4)."""
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    assert picture is not None
    return np.asarray(picture, np.uint8)


def brightest(png: bytes) -> tuple[int, int]:
    """Row and column, of the fake predictor's 6 by 8, that is covered most."""
    cover = decoded(png)[..., 3]
    height, width = cover.shape
    row, column = np.unravel_index(int(cv2.blur(cover.astype(np.float32), (9, 9)).argmax()), cover.shape)
    return int(row) * 6 // height, int(column) * 8 // width


def waited(page: Any, expression: str) -> Any:
    """The value of an expression as soon as it is true. Playwright's own waiting is what the page's policy forbids."""
    end = time.monotonic() + PATIENCE / 1000
    while not (value := page.evaluate(expression)):
        assert time.monotonic() < end, f"{expression} has not become true"
        page.wait_for_timeout(30)
    return value


class Tab:
    """A page, and what it has said and asked for."""

    def __init__(self, browser: Any, path: Path, **settings: Any) -> None:
        self.context = browser.new_context(**{"viewport": DESK, "offline": True, **settings})
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())

    def shown(self) -> int:
        """The frame whose map lies over the video, once there is one."""
        return int(self.wait("document.getElementById('overlay').dataset.frame"))

    def wait(self, expression: str) -> Any:
        """The value of an expression as soon as it is true."""
        return waited(self.page, expression)

    def wait_for_frame(self, number: int) -> None:
        self.wait(f"document.getElementById('overlay').dataset.frame === '{number}'")

    def canvas(self) -> bytes:
        """The pixels of the overlay."""
        return base64.b64decode(self.page.evaluate("document.getElementById('overlay').toDataURL().split(',')[1]"))

    def number_in_picture(self) -> int | None:
        """The number that the video shows."""
        uri = self.page.evaluate(
            """() => {
                const video = document.getElementById("video");
                const canvas = document.createElement("canvas");
                [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
                canvas.getContext("2d").drawImage(video, 0, 0);
                return canvas.toDataURL();
            }"""
        )
        return read_number(decoded(base64.b64decode(uri.split(",")[1]))[..., :3])

    def focused(self) -> str:
        return str(self.page.evaluate("document.activeElement.id || document.activeElement.className"))


@pytest.fixture
def tab(browser: Any, numbered_page: Path) -> Iterator[Tab]:
    opened = Tab(browser, numbered_page)
    yield opened
    opened.context.close()


def test_it_loads_without_a_word_and_without_a_network(tab: Tab, numbered_page: Path) -> None:
    assert tab.shown() == 0
    assert tab.page.title() == "numbers.mp4: where people look"
    assert tab.said == []
    assert [url for url in tab.asked if not url.startswith(("blob:", "data:"))] == [numbered_page.as_uri()]
    assert tab.page.locator("#mute").is_visible()


def test_the_overlay_is_that_of_the_picture_on_the_screen(tab: Tab) -> None:
    tab.shown()
    tab.page.focus("#timeline")
    for number in range(1, 20):
        tab.page.keyboard.press("Shift+ArrowRight")
        tab.wait_for_frame(number)
        assert tab.number_in_picture() == number
    tab.page.keyboard.press("Home")
    tab.wait_for_frame(0)
    assert tab.number_in_picture() == 0
    tab.page.keyboard.press("End")
    tab.wait_for_frame(19)
    assert tab.said == []


def test_attention_lies_where_the_predictor_put_it(tab: Tab) -> None:
    tab.shown()
    tab.page.focus("#timeline")
    tab.page.keyboard.press("End")
    tab.wait_for_frame(19)
    assert brightest(tab.canvas()) == (19 % 6, 19 % 8)


def test_more_maps_than_a_sheet_holds_and_more_video_than_a_part(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "PART", 3000)
    clip = make_clip(tmp_path / "clip.mp4", frames=150, size=(160, 120))
    tab = Tab(browser, report(clip, predictor=fake(), output=str(tmp_path / "clip.html")).output)
    assert "video-2" in (tmp_path / "clip.html").read_text(encoding="utf-8")
    for seconds, number in ((5.0, 125), (0.4, 10), (3.0, 75), (5.96, 149)):
        tab.page.evaluate(f"document.getElementById('video').currentTime = {seconds} + 0.001")
        tab.wait_for_frame(number)
        assert tab.number_in_picture() == number
        assert brightest(tab.canvas()) == (number % 6, number % 8)
    assert tab.said == []
    tab.context.close()


def test_a_picture(browser: Any, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "photo.png"), np.full((90, 160, 3), 90, np.uint8))
    tab = Tab(browser, report(tmp_path / "photo.png", predictor=fake(), output=str(tmp_path / "photo.html")).output)
    assert tab.shown() == 0
    assert tab.said == []
    tab.context.close()


def test_the_slider_the_colours_and_the_box_change_the_canvas(tab: Tab) -> None:
    tab.shown()
    before = tab.canvas()
    tab.page.fill("#opacity", "20")
    fainter = tab.canvas()
    tab.page.select_option("#colours", "gray")
    gray = tab.canvas()
    for canvas, opacity in ((before, 0.7), (fainter, 0.2)):
        assert decoded(canvas)[..., 3].max() == pytest.approx(255 * opacity, abs=6)
    assert gray != fainter
    tab.page.uncheck("#show")
    assert not decoded(tab.canvas()).any()
    tab.page.check("#show")
    assert tab.canvas() == gray


def test_a_click_and_a_drag_on_the_timeline_seek(tab: Tab) -> None:
    tab.shown()
    tab.page.locator("#timeline").scroll_into_view_if_needed()
    box = tab.page.locator("#timeline").bounding_box()
    tab.page.mouse.click(box["x"] + box["width"] * 0.41, box["y"] + 20)
    tab.wait_for_frame(8)  # 1.04 s long in all: 0.426 s is in the frame that begins at 0.4
    assert tab.number_in_picture() == 8
    tab.page.mouse.down()
    tab.page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 40)
    tab.page.mouse.up()
    tab.wait_for_frame(15)
    assert tab.page.get_attribute("#timeline", "aria-valuetext").startswith("0:00.8, concentration 0.")


def test_keys_work_anywhere_and_key_frames_jump(tab: Tab) -> None:
    tab.shown()
    tab.page.keyboard.press("ArrowRight")
    tab.wait_for_frame(19)
    tab.page.keyboard.press("ArrowLeft")
    tab.wait_for_frame(0)
    key = tab.page.locator(".key").first
    key.focus()
    tab.page.keyboard.press("Enter")
    tab.wait_for_frame(int(key.get_attribute("data-frame")))
    assert key.get_attribute("aria-current") == "true"


def test_a_thousand_frames_a_second(browser: Any, tmp_path: Path) -> None:
    """As close together as the tolerance of times: the nearest frame is the one shown, not the next."""
    clip = make_clip(tmp_path / "clip.mkv", frames=12, rate=1000, size=(160, 120))
    tab = Tab(browser, report(clip, predictor=fake(), output=str(tmp_path / "clip.html")).output)
    tab.wait_for_frame(0)
    tab.page.focus("#timeline")
    for number in range(1, 12):
        tab.page.keyboard.press("Shift+ArrowRight")
        tab.wait_for_frame(number)
        assert tab.number_in_picture() == number
    tab.context.close()


def test_from_cut_to_cut(browser: Any, tmp_path: Path) -> None:
    """Shots shorter than half a second, too."""
    (tmp_path / "shots").mkdir()
    ramp = np.tile(np.linspace(120, 250, 160, dtype=np.uint8), (120, 1))
    stripes = np.where(np.arange(120)[:, None] // 10 % 2, 90, 10).astype(np.uint8).repeat(160, axis=1)
    for number in range(24):
        cv2.imwrite(str(tmp_path / "shots" / f"{number:02}.png"), (ramp, stripes, ramp[:, ::-1])[number // 8])
    tab = Tab(browser, report(tmp_path / "shots", predictor=fake(), output=str(tmp_path / "shots.html")).output)
    assert tab.page.evaluate("JSON.parse(document.getElementById('report-data').textContent).cuts.length") == 2
    tab.shown()
    tab.page.focus("#timeline")
    for key, number in (
        ("PageDown", 8), ("PageDown", 16), ("PageUp", 8), ("PageUp", 0), ("End", 23), ("PageUp", 16), ("PageDown", 23),
    ):  # fmt: skip
        tab.page.keyboard.press(key)
        tab.wait_for_frame(number)
    tab.context.close()


def test_a_browser_that_cannot_play_the_video_says_so_once(tab: Tab) -> None:
    tab.shown()
    tab.page.evaluate("document.getElementById('video').src = URL.createObjectURL(new Blob(['no video']))")
    tab.wait("!document.getElementById('state').hidden")
    assert "cannot play the video" in tab.page.text_content("#state")
    tab.page.click("#play")
    tab.page.wait_for_timeout(300)
    assert tab.said == []


def test_it_plays_and_the_overlay_goes_along(tab: Tab) -> None:
    tab.shown()
    tab.page.click("#mute")
    assert tab.page.get_attribute("#mute", "aria-pressed") == "true"
    tab.page.evaluate(
        """() => {
            window.seen = new Set();
            const look = () => {
                window.seen.add(document.getElementById("overlay").dataset.frame);
                requestAnimationFrame(look);
            };
            look();
        }"""
    )
    tab.page.click("#play")
    tab.wait("document.getElementById('video').ended")
    assert tab.page.text_content("#play") == "Play"
    assert tab.page.evaluate("window.seen.size") >= 5
    assert tab.said == []


def test_every_control_is_reached_by_tab_and_seen(tab: Tab) -> None:
    tab.shown()
    reached = []
    for _ in range(8):
        tab.page.keyboard.press("Tab")
        reached.append(tab.focused())
        outline = tab.page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
        assert outline == "3px", reached[-1]
    assert reached == ["play", "mute", "show", "opacity", "colours", "timeline", "key", "key"]


def contrast(page: Any, selector: str) -> float:
    """WCAG's contrast of an element's text and the page's paper."""
    colours = page.evaluate(
        """(selector) => [
            getComputedStyle(document.querySelector(selector)).color,
            getComputedStyle(document.body).backgroundColor,
        ]""",
        selector,
    )
    levels = []
    for colour in colours:
        parts = np.array([float(part) for part in colour[4:-1].split(",")]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        levels.append(float(linear @ (0.2126, 0.7152, 0.0722)))
    return (max(levels) + 0.05) / (min(levels) + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark(browser: Any, numbered_page: Path, scheme: str) -> None:
    tab = Tab(browser, numbered_page, color_scheme=scheme)
    paper = tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, paper[4:-1].split(","))) > 3 * 128) == (scheme == "light")
    for selector in ("h1", ".facts", "td:nth-child(3)", ".legend li", "#timeline-help"):
        assert contrast(tab.page, selector) > 4.5, selector
    tab.context.close()


@pytest.mark.parametrize("width", [320, 390, 768])
def test_a_phone_scrolls_in_one_direction(browser: Any, numbered_page: Path, width: int) -> None:
    tab = Tab(browser, numbered_page, viewport={**PHONE, "width": width}, has_touch=True)
    tab.shown()
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= width
    tab.page.locator("details summary").click()
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= width
    tab.context.close()


def test_a_browser_that_does_not_tell_its_frames(browser: Any, numbered_page: Path) -> None:
    """What is not certain is not shown: the overlay waits until the video stands still."""
    context = browser.new_context(viewport=DESK)
    context.add_init_script("delete HTMLVideoElement.prototype.requestVideoFrameCallback")
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(numbered_page.as_uri())
    waited(page, "document.getElementById('overlay').dataset.frame === '0'")
    page.click("#play")
    waited(page, "!document.getElementById('state').hidden")
    assert page.get_attribute("#overlay", "data-frame") == ""
    waited(page, "document.getElementById('video').ended")
    waited(page, "document.getElementById('overlay').dataset.frame === '19'")
    assert page.is_hidden("#state")
    context.close()


def test_the_index_leads_to_the_pages(browser: Any, tmp_path: Path) -> None:
    clips = [make_clip(tmp_path / f"{name}.mp4", frames=3) for name in ("<b>one", "two #1?")]
    index = report_all(clips, predictor=fake(), output=str(tmp_path / "pages"))
    assert index.output is not None
    tab = Tab(browser, index.output, viewport=PHONE)
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert tab.page.locator(".card h2").all_text_contents() == ["<b>one.mp4", "two #1?.mp4"]
    tab.page.locator(".card a").nth(1).click()
    tab.page.wait_for_load_state()
    assert tab.page.text_content("h1") == "two #1?.mp4"
    assert tab.shown() == 0
    assert tab.said == []
    tab.context.close()
