"""The page as HTML: whole, labelled, escaped, and with nothing from elsewhere."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import av
import numpy as np
import pytest
from clips import Tone, make_clip
from fakes import fake

from saliency_cli.reporting.chart import concentration_chart, place_chart, scale_of
from saliency_cli.reporting.page import asset, clock_time, safe_json
from saliency_cli.reporting.report import report, report_all

VOID = {"meta", "link", "img", "input", "br", "hr", "path"}


class Page(HTMLParser):
    """What a page is made of; raises AssertionError for elements that are not closed in their order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, str] = {}  # of elements with an id
        self.names: list[str] = []  # text of each button
        self._open: list[tuple[str, dict[str, str]]] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names), f"an attribute twice in {tag}"
        element = (tag, {name: value or "" for name, value in attrs})
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        for _, attributes in self._open:
            if "id" in attributes:
                self.texts[attributes["id"]] = self.texts.get(attributes["id"], "") + data

    def with_(self, attribute: str) -> list[str]:
        return [attributes[attribute] for _, attributes in self.elements if attribute in attributes]


def check(page: Page) -> None:
    """What holds for every page."""
    ids = page.with_("id")
    assert len(set(ids)) == len(ids)
    assert page.elements[0] == ("html", {"lang": "en"})
    for attribute in ("for", "aria-labelledby", "aria-describedby"):
        for value in page.with_(attribute):
            assert set(value.split()) <= set(ids), f"{attribute}={value}"
    labelled = set(page.with_("for"))
    for tag, attributes in page.elements:
        if tag in ("input", "select"):
            assert attributes["id"] in labelled
        if tag == "img":
            assert "alt" in attributes
        for name in ("src", "href", "data", "poster", "action", "srcset"):
            value = attributes.get(name, "data:")
            assert value.startswith("data:") or not re.match(r"[a-z+]*:|//", value), value
        assert not any(name.startswith("on") for name in attributes)


def test_the_page_of_a_clip(numbered_page: Path) -> None:
    text = numbered_page.read_text(encoding="utf-8")
    page = Page(text)
    check(page)
    assert not re.search(r"https?://|\burl\(|@import", text)
    data = json.loads(page.texts["report-data"])
    assert len(data["times"]) == len(data["concentration"]) == 20
    assert data["times"][:5] == [0, 0.04, 0.08, 0.12, 0.2]
    assert len(base64.b64decode(data["colormaps"]["turbo"])) == 768
    assert base64.b64decode(page.texts["sheet-0"]).startswith(b"\xff\xd8\xff")
    video = numbered_page.with_name("embedded.mp4")
    video.write_bytes(base64.b64decode(page.texts["video-0"]))
    with av.open(str(video)) as file:
        assert [stream.type for stream in file.streams] == ["video", "audio"]
        assert file.streams.video[0].codec_context.name == "h264"
    for word in ("numbers.mp4", "0:01.1", "160 × 120", "with sound", "Mean concentration", "Attention jumps"):
        assert word in text


def test_the_sidecars_contents_are_on_the_page(numbered_page: Path) -> None:
    sidecar = json.loads(numbered_page.with_name("numbers.html.json").read_text(encoding="utf-8"))
    text = numbered_page.read_text(encoding="utf-8")
    assert sidecar["product"] == "report"
    assert (sidecar["frames"], sidecar["summary"]["frames"]) == (20, 20)
    assert sidecar["input"]["sha256"] in text
    assert sidecar["model"]["sha256"] in text


NASTY = "<script>alert(1)<&\"' ${x} $title -->.mp4"


def test_names_are_harmless(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / NASTY.replace("/", ""), frames=2)
    index = report_all([clip], predictor=fake(), output=str(tmp_path / "out"))
    assert index.output is not None
    pages = [Page(path.read_text(encoding="utf-8")) for path in (index.pages[0].output, index.output)]
    for page in pages:
        check(page)
        assert not any("alert" in name for _, attributes in page.elements for name in attributes)
    assert sum(tag == "script" for tag, _ in pages[0].elements) == 4  # data, video, sheet, and ours
    assert "<script>alert" not in index.pages[0].output.read_text(encoding="utf-8")
    link = next(attributes["href"] for tag, attributes in pages[1].elements if tag == "a")
    assert re.fullmatch(r"[A-Za-z0-9%._~-]+", link)


def test_a_name_that_is_not_utf_8(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=2).rename(tmp_path / "caf\udce9.mp4")
    index = report_all([clip], predictor=fake(), output=str(tmp_path / "out"))
    assert index.output is not None
    assert "caf\\udce9.mp4" in index.pages[0].output.read_text(encoding="utf-8")
    assert "caf%E9.report.html" in index.output.read_text(encoding="utf-8")


def test_a_clip_without_sound_says_so(tmp_path: Path) -> None:
    page = report(make_clip(tmp_path / "a.mp4", frames=2), predictor=fake(), output=str(tmp_path / "a.html"))
    text = page.output.read_text(encoding="utf-8")
    assert "no sound" in text
    assert '"sound":false' in text


def test_an_index_counts_its_videos_once(tmp_path: Path) -> None:
    clips = [make_clip(tmp_path / f"{name}.mp4", frames=5) for name in "ab"]
    index = report_all(clips, predictor=fake(), output=str(tmp_path / "out"))
    assert index.output is not None
    text = index.output.read_text(encoding="utf-8")
    assert "<h1>2 videos</h1>" in text
    assert '<p class="facts">0:00.4 in all</p>' in text


@pytest.mark.parametrize(("codec", "told"), [("ac3", True), ("aac", False)])
def test_sound_that_browsers_do_not_play_is_told(tmp_path: Path, codec: str, told: bool) -> None:
    clip = make_clip(tmp_path / "a.mp4", frames=3, sound=Tone(seconds=0.2, rate=48000, codec=codec))
    page = report(clip, predictor=fake(), output=str(tmp_path / "a.html"))
    text = page.output.read_text(encoding="utf-8")
    assert ("The sound is AC-3, which most browsers do not play" in text) is told


def test_the_script_and_the_style_end_no_element() -> None:
    assert "</script" not in asset("page.js").lower()
    assert "<!--" not in asset("page.js")
    assert "</style" not in asset("page.css").lower()
    assert not re.search(r"https?://|\burl\(|@import", asset("page.css") + asset("page.js"))


def test_json_in_a_script_element() -> None:
    text = safe_json({"a": "</script><!-- é"})
    assert "<" not in text
    assert json.loads(text) == {"a": "</script><!-- é"}


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00.0"), (3.24, "0:03.2"), (59.97, "1:00.0"), (723.2, "12:03.2"), (3723.2, "1:02:03.2")]
)
def test_clock_times(seconds: float, text: str) -> None:
    assert clock_time(seconds) == text


def test_charts_are_broken_at_cuts_and_bounded() -> None:
    seconds = np.arange(4000) / 25
    values = np.linspace(0, 0.41, 4000)
    area = concentration_chart(seconds, values, [80.0], 160.0)
    assert area.count('class="cut"') == 1
    assert "M500.0 0" in area
    assert area.count("L") < 1100
    assert scale_of(values) == 0.5
    assert scale_of(np.zeros(2)) == 0.1
    places = place_chart(seconds, values, values, [80.0], 160.0)
    peak = places.split('class="peak" d="')[1].split('"')[0]
    assert peak.count("M") == 2
    one = place_chart(np.array([0.0]), np.array([0.5]), np.array([0.5]), [], 0.04)
    assert 'd="M0.0 50.0 h1"' in one


def test_sound_is_kept_packet_by_packet(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=25, sound=Tone(seconds=1))
    page = report(clip, predictor=fake(), output=str(tmp_path / "page.html"))
    embedded = tmp_path / "embedded.mp4"
    embedded.write_bytes(base64.b64decode(Page(page.output.read_text(encoding="utf-8")).texts["video-0"]))

    def packets(path: Path) -> list[bytes]:
        with av.open(str(path)) as file:
            return [bytes(packet) for packet in file.demux(audio=0) if packet.size]

    assert packets(embedded) == packets(clip)
