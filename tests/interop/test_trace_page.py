"""The page of a trace in a browser: what was said never runs, and the search, the themes and --follow work."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from agentkit import Agent, tool
from agentkit.testing import Answer, ScriptedModel, call
from agentkit.trace import Trace, read_events, render_page, render_result, timelines
from tests.command import process

HOSTILE = "</script><script>window.hit=1</script><img src=https://example.com/x onerror=window.hit=1><b onclick=1>bold"


@tool
def look(where: str) -> str:
    """Look somewhere."""
    return f"seen {where} {HOSTILE}"


def agent() -> Agent:
    inner = Agent(
        ScriptedModel([[call("look", where="inside")], "Nice."]), tools=[look], name="guide", description="G."
    )
    script: list[Answer] = [[call("Look", where="Oslo"), call("guide", prompt="and there?")], HOSTILE]
    return Agent(ScriptedModel(script), tools=[look, inner.as_tool()], name="ada")


def traced(path: Path) -> None:
    with Trace(path) as trace:
        agent().run_sync(f"Where? {HOSTILE}", on_event=trace)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that fails the test when a script fails or the policy refuses something."""
    made = browser.new_page(color_scheme="light")
    complaints: list[str] = []
    made.on("pageerror", lambda error: complaints.append(str(error)))
    made.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    yield made
    made.close()
    assert complaints == []


def shown(page: Page, tmp_path: Path) -> list[str]:
    """Show the page of a trace; the list gets what it requests."""
    traced(tmp_path / "run.jsonl")
    runs = timelines(read_events(tmp_path / "run.jsonl"))
    (tmp_path / "run.html").write_text(render_page([("run.jsonl", runs)]), encoding="utf-8")
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.goto((tmp_path / "run.html").as_uri())
    return requested


def test_nothing_is_loaded_and_nothing_that_was_said_runs(page: Page, tmp_path: Path) -> None:
    requested = shown(page, tmp_path)
    page.click("#expand")
    expect(page.locator("#expand")).to_have_text("Fold all")
    expect(page.locator("details:not([open])")).to_have_count(0)
    assert page.evaluate("window.hit") is None
    assert page.locator("main img, main b[onclick]").count() == 0
    assert len(requested) == 1


def test_search_leaves_what_holds_the_words_and_opens_it(page: Page, tmp_path: Path) -> None:
    shown(page, tmp_path)
    assert page.locator(".row:visible").count() == 4
    page.fill("#search", "inside")
    expect(page.locator("#found")).to_have_text(re.compile(r"^\d of \d$"))
    expect(page.locator(".row.call:visible .name b").first).to_have_text("guide")
    expect(page.get_by_text("seen inside").first).to_be_visible()
    expect(page.get_by_text('"where": "Oslo"').first).to_be_hidden()
    page.fill("#search", "became look")
    expect(page.locator(".notes li:visible")).to_have_count(1)
    page.fill("#search", "")
    expect(page.locator("#found")).to_have_text("")


def test_a_button_changes_from_light_to_dark_and_a_phone_needs_no_scrolling(page: Page, tmp_path: Path) -> None:
    shown(page, tmp_path)
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    page.click("#theme")
    assert page.evaluate(background) != light
    page.set_viewport_size({"width": 360, "height": 700})
    page.click("#expand")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_page_that_follows_a_run_keeps_what_is_open(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with subprocess.Popen(**process("view", "--follow", str(path)), stdout=subprocess.PIPE) as started:
        try:
            assert started.stdout
            page.goto(started.stdout.readline().strip())
            expect(page.get_by_text("No run has started yet.")).to_be_visible()
            traced(path)
            expect(page.locator(".status")).to_have_text("done")
            page.locator(".row.call summary").first.click()
            traced(path)
            expect(page.locator(".run")).to_have_count(2)
            expect(page.locator(".row[open]")).to_have_count(1)
            assert page.evaluate("window.hit") is None
        finally:
            started.terminate()


def test_a_notebook_shows_a_timeline_in_a_frame_that_nothing_leaves(page: Page) -> None:
    result = agent().run_sync(HOSTILE)
    page.set_content(f"<body>{render_result(result)}</body>")
    page.locator("summary").click()
    frame = page.frame_locator("iframe")
    expect(frame.locator(".row").first).to_be_visible()
    frame.locator("#expand").click()
    expect(frame.locator("#expand")).to_have_text("Fold all")
    assert page.evaluate("window.hit") is None
