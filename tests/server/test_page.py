"""The page in a headless Chromium: it types, hears, reads along, cancels, sees errors. Its
screenshots can be looked at: PAGE_SCREENSHOTS names a folder for them. Those of the embedded voice
are in docs/."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from pocket_tts_jax.server.settings import ServerSettings
from pocket_tts_jax.tts_model import TTSModel
from tests.patience import PATIENCE
from tests.server.running import Running, running

playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
TEXT = "The train was late again, so we walked home. Nobody minded that at all. "
WATCH = """() => {
  const { start } = AudioBufferSourceNode.prototype;
  const watched = (window.watched = { lit: [], first: null });
  AudioBufferSourceNode.prototype.start = function (at) {
    watched.context = this.context;
    watched.first ??= at;
    start.call(this, at);
  };
  new MutationObserver((changes) => {
    for (const { target } of changes) {
      if (target.className !== "lit") continue;
      watched.lit.push([target.textContent, watched.context.currentTime - watched.first]);
    }
  }).observe(document.querySelector("#reading"), { subtree: true, attributeFilter: ["class"] });
}"""
"""Notes each word that is lit, and how many seconds of the speech its context has played then."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=CHROMIUM,
            timeout=1000 * PATIENCE,
            args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"],
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def place() -> Iterator[Running]:
    with running(ServerSettings(port=0, max_text=2000, aliases={"narrator": "joe"})) as server:
        yield server


def new_page(browser: Any, **options: Any) -> Any:
    page = browser.new_page(**options)
    page.set_default_timeout(1000 * PATIENCE)
    return page


def open_page(browser: Any, server: Running, **options: Any) -> Any:
    """The page, ready; what it asks of other servers, and its errors, fail the test."""
    page = new_page(browser, **options)
    page.problems = []
    page.on("console", lambda m: page.problems.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on(
        "request",
        lambda request: (
            None
            if request.url.startswith((server.address, "blob:", "data:"))
            else page.problems.append(request.url)
        ),
    )
    page.goto(server.address)
    page.wait_for_function("() => document.querySelector('#status').textContent === 'Ready'")
    return page


def picture(page: Any, name: str, tmp_path: Path) -> None:
    folder = Path(os.environ.get("PAGE_SCREENSHOTS", tmp_path))
    page.screenshot(path=folder / f"{name}.png", full_page=True)
    assert (folder / f"{name}.png").stat().st_size > 10_000


def state(page: Any) -> str:
    return page.evaluate("document.body.dataset.state")


def wait_for_state(page: Any, *names: str) -> None:
    page.wait_for_function("names => names.includes(document.body.dataset.state)", arg=list(names))


def test_it_speaks(browser: Any, place: Running, tmp_path: Path):
    place.engine.delay = 0.02
    try:
        page = open_page(browser, place, viewport={"width": 1000, "height": 760})
        assert "embedded" in page.text_content("#facts")
        assert page.locator("#voice option").all_text_contents() == [
            "joe",
            "mia",
            "otto",
            "una",
            "narrator",
        ]
        assert not page.is_visible("#key-field") and not page.is_visible("#recording-field")
        page.fill("#text", TEXT * 3)
        page.click("#speak")
        wait_for_state(page, "speaking")
        page.wait_for_function("() => document.querySelector('#length').textContent > '1.5 s'")
        picture(page, "speaking", tmp_path)
        wait_for_state(page, "playing", "done")
        # The first samples were heard before the last ones were made.
        assert float(page.evaluate("document.body.dataset.playedWhenMade")) > 0
        assert page.text_content("#first").endswith(" ms")
        assert float(page.text_content("#factor").removesuffix(" ×")) > 0
        with page.expect_download() as download:
            page.click("#download")
        import soundfile

        samples, rate = soundfile.read(download.value.path())
        shown = float(page.text_content("#length").removesuffix(" s"))
        assert rate == 24000 and samples.size / rate == pytest.approx(shown, abs=0.06)
        assert page.problems == []
    finally:
        place.engine.delay = 0.0


def words_of(place: Running, text: str, speed: float) -> list[dict[str, Any]]:
    """What the server tells of the words; with the stub it depends on the text alone."""
    body = {"input": text, "speed": speed, "response_format": "pcm", "early_start": True}
    body |= {"stream_format": "sse", "timestamps": True}
    answer = httpx.post(f"{place.address}/v1/audio/speech", json=body, timeout=PATIENCE).text
    events = [json.loads(block.removeprefix("data: ")) for block in answer.strip().split("\n\n")]
    return [event for event in events if event["type"] == "speech.word"]


@pytest.mark.parametrize("speed", [1.0, 0.8])
def test_words_are_lit_while_they_are_heard(browser: Any, place: Running, speed: float):
    text = "😀 “The 12 trains,” " + TEXT.strip()
    words = words_of(place, text, speed)
    assert [word["text"] for word in words][:3] == ["The", "12", "trains"]
    page = open_page(browser, place)
    page.evaluate(WATCH)
    page.fill("#text", text)
    page.fill("#speed", str(speed))
    page.click("#speak")
    page.wait_for_selector("#reading .lit")
    wait_for_state(page, "done")
    lit = page.evaluate("window.watched.lit")
    times = iter(words)
    for shown, heard in lit:  # a slow machine may leave words out, but never light a wrong one
        word = next(word for word in times if word["text"] == shown)
        assert word["start"] - 0.01 <= heard <= word["end"] + 0.1, (word, heard)
    assert len(lit) >= 3
    assert page.text_content("#reading") == text
    assert page.locator("#reading .lit").count() == 0
    heard = page.locator("#reading span.heard").all_text_contents()
    assert "".join(heard) == text.removesuffix(".")
    assert page.problems == []


def test_a_stop_leaves_no_word_lit(browser: Any, place: Running):
    page = open_page(browser, place)
    page.fill("#text", TEXT * 10)
    page.click("#speak")
    page.wait_for_selector("#reading .lit")
    page.keyboard.press("Escape")
    wait_for_state(page, "stopped")
    assert page.locator("#reading .lit").count() == 0
    assert page.text_content("#reading") == TEXT * 10
    assert 0 < page.locator("#reading .heard").count() < page.locator("#reading span").count()


def halt_on_a_word(page: Any) -> None:
    """Halts the sound while a word is lit. Halting takes a moment, in which the word may end."""
    for _ in range(20):
        page.wait_for_selector("#reading .lit")
        page.evaluate("window.watched.context.suspend()")
        page.wait_for_timeout(200)
        if page.locator("#reading .lit").count() == 1:
            return
        page.evaluate("window.watched.context.resume()")
    pytest.fail("No word stayed lit in 20 tries.")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("server-page", {"viewport": {"width": 1000, "height": 780}}),
        ("server-page-dark", {"viewport": {"width": 1000, "height": 780}, "color_scheme": "dark"}),
        ("server-page-phone", {"viewport": {"width": 360, "height": 740}, "is_mobile": True}),
    ],
)
def test_the_embedded_voice(browser: Any, tmp_path: Path, name: str, options: dict[str, Any]):
    text = (
        "The train was late again, so we walked home along the river. "
        "Nobody minded that at all. It was a warm evening, and twelve of us sang."
    )
    with running(ServerSettings(port=0), model=TTSModel.load_model()) as server:
        page = open_page(browser, server, **options)
        page.evaluate(WATCH)
        page.fill("#text", text)
        page.click("#speak")
        page.wait_for_function("() => document.querySelectorAll('#reading .heard').length > 20")
        halt_on_a_word(page)
        picture(page, name, tmp_path)
        assert page.locator("#reading .lit").count() == 1
        assert page.evaluate("document.documentElement.scrollWidth") <= options["viewport"]["width"]
        page.keyboard.press("Escape")
        assert page.problems == []


def test_it_plays_to_the_end(browser: Any, place: Running, tmp_path: Path):
    page = open_page(browser, place, color_scheme="dark", viewport={"width": 1000, "height": 760})
    page.fill("#text", "Yes, of course.")
    page.click("#speak")
    wait_for_state(page, "done")
    assert page.text_content("#status") == "Done" and page.is_disabled("#stop")
    picture(page, "dark", tmp_path)
    assert page.problems == []


def test_keys_speak_and_stop(browser: Any, place: Running):
    place.engine.delay, before = 0.02, place.engine.steps
    try:
        page = open_page(browser, place)
        page.fill("#text", TEXT * 20)
        page.press("#text", "Control+Enter")
        wait_for_state(page, "speaking")
        page.keyboard.press("Escape")
        wait_for_state(page, "stopped")
        place.wait_until_idle()
        steps = place.engine.steps
        place.wait_until_idle()
        assert place.engine.steps == steps < before + place.steps_of(TEXT * 20) / 2
        order = []
        page.focus("#text")
        for _ in range(4):
            page.keyboard.press("Tab")
            order.append(page.evaluate("document.activeElement.id"))
        assert order == ["voice", "speed", "speak", "download"] or order[:3] == [
            "voice",
            "speed",
            "speak",
        ]
        assert page.problems == []
    finally:
        place.engine.delay = 0.0


def test_speed_and_voice_are_sent(browser: Any, place: Running):
    page = open_page(browser, place)
    page.select_option("#voice", "narrator")
    page.fill("#speed", "2")
    assert page.text_content("#speed-value") == "2.0 ×"
    with page.expect_request("**/v1/audio/speech") as request:
        page.click("#speak")
    body = request.value.post_data_json
    assert (body["voice"], body["speed"]) == ("narrator", 2)
    wait_for_state(page, "playing", "done")


def test_errors_are_seen(browser: Any, place: Running, tmp_path: Path):
    page = open_page(browser, place, viewport={"width": 1000, "height": 760})
    page.fill("#text", "日本")
    page.click("#speak")
    wait_for_state(page, "error")
    assert "nothing to speak" in page.text_content("#error") and page.is_visible("#error")
    picture(page, "error", tmp_path)
    page.fill("#text", "x" * 2001)
    page.click("#speak")
    assert page.evaluate("document.querySelector('#text').validity.customError")
    page.fill("#text", "Yes, of course.")
    page.click("#speak")
    wait_for_state(page, "playing", "done")
    assert not page.is_visible("#error")


def test_it_asks_for_the_key(browser: Any):
    with running(ServerSettings(port=0, api_key="secret")) as server:
        page = new_page(browser)
        page.goto(server.address)
        page.wait_for_selector("#key-field:visible")
        page.fill("#key", "secret")
        page.press("#key", "Tab")
        page.wait_for_function("() => document.querySelector('#status').textContent === 'Ready'")
        page.click("#speak")
        wait_for_state(page, "playing", "done")


def test_phone(browser: Any, place: Running, tmp_path: Path):
    page = open_page(
        browser,
        place,
        viewport={"width": 360, "height": 740},
        device_scale_factor=2,
        is_mobile=True,
        has_touch=True,
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for control in ("#speak", "#stop", "#voice", "#speed"):
        assert page.locator(control).bounding_box()["height"] >= 44
    page.tap("#speak")
    wait_for_state(page, "playing", "done")
    picture(page, "phone", tmp_path)
    assert page.problems == []


def test_documentation(browser: Any, place: Running, tmp_path: Path):
    page = new_page(browser, viewport={"width": 1000, "height": 760})
    page.goto(f"{place.address}/docs")
    page.wait_for_function("() => document.querySelectorAll('section').length > 5")
    text = page.text_content("main")
    assert "/v1/audio/speech" in text and "response_format" in text and "/v1/audio/stream" in text
    picture(page, "docs", tmp_path)
