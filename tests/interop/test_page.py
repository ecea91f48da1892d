"""The chat page in a browser, by clicking through it."""

import base64
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
import uvicorn
from playwright.sync_api import Browser, Page, expect, sync_playwright

from agentkit import Agent, ToolContext, serve, tool
from agentkit.chat import ChatRequest
from agentkit.messages import ImagePart
from agentkit.sessions import SQLiteSessions
from agentkit.testing import Answer, FunctionModel, call

TOKEN = "a-token-for-tests"
PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgAAAAAgABHiG8MwAAAABJRU5ErkJggg==")
MARKDOWN = """## Found

Three *documents* mention **tea**, see [the archive](https://example.com/a) or [a trap](javascript:alert(1)):

1. Green tea
   - steep for `2 min`
2. Black tea

| kind | minutes |
|---|--:|
| green | 2 |

> A quote.

```python
print("<script>")
```

<b onclick=alert(1)>no HTML</b> ![far](https://example.com/x.png)
"""
ATE: list[dict[str, Any]] = []
LEFT = threading.Event()


@tool
async def search(context: ToolContext[Any], words: str) -> str:
    """Search the archive.

    Args:
        words: What to look for.
    """
    context.progress(0.5, "half of it")
    await anyio.sleep(0.3)
    return f"<script>{words}</script>"


@tool
def draw(title: str) -> list[Any]:
    """Draw a chart.

    Args:
        title: Its title.
    """
    return ["a chart", ImagePart.from_bytes(PIXEL)]


@tool(requires_approval=True)
def eat(item: str, count: int) -> str:
    """Eat something.

    Args:
        item: What.
        count: How many.
    """
    ATE.append({"item": item, "count": count})
    return f"ate {count} {item}"


@tool(timeout=None)
async def hang() -> str:
    """Never return."""
    try:
        await anyio.sleep(60)
    finally:
        LEFT.set()
    return ""


def research(request: ChatRequest) -> Answer:
    return "Three documents." if request.messages[-1].role == "tool" else call("search", words="leaves")


def answer(request: ChatRequest) -> Answer:
    last = request.messages[-1]
    asked = last.text if last.role == "user" else ""
    if "research" in asked:
        return [call("ask_researcher", prompt="tea"), call("draw", title="Tea")]
    if "eat" in asked:
        return call("eat", item="cake\u202e", count=2)
    if "hang" in asked:
        return call("hang")
    if last.role == "tool" and "ate" in last.text:
        return f"I {last.text}."
    if last.role == "tool" or asked.startswith("Attached"):
        return MARKDOWN
    parts = [type(part).__name__ for part in last.content] if isinstance(last.content, tuple) else []
    return f"You said: {asked} {' '.join(parts)}".strip()


def agent() -> Agent[Any, Any]:
    researcher = Agent(FunctionModel(research), tools=[search], name="researcher", description="Looks things up.")
    tools = [researcher.as_tool("ask_researcher"), draw, eat, hang]
    return Agent(FunctionModel(answer), tools=tools, name="shop")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture
def address() -> Iterator[Callable[[serve.Server], str]]:
    """Serves an app until the test ends."""
    servers: list[tuple[uvicorn.Server, threading.Thread]] = []

    def started(app: serve.Server) -> str:
        server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        servers.append((server, thread))
        while not server.started:
            thread.join(0.02)
        port = server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}/#token={TOKEN}"

    yield started
    for server, thread in servers:
        server.should_exit = True
        thread.join(10)


@pytest.fixture
def stored(browser: Browser, address: Callable[[serve.Server], str], tmp_path: Path) -> Iterator[Page]:
    app = serve.app(agent(), token=TOKEN, sessions=SQLiteSessions(tmp_path / "chat.db"))
    yield from opened(browser, address(app))


@pytest.fixture
def unstored(browser: Browser, address: Callable[[serve.Server], str]) -> Iterator[Page]:
    yield from opened(browser, address(serve.app(agent(), token=TOKEN)))


def opened(browser: Browser, url: str) -> Iterator[Page]:
    """A page; the test fails if anything on it raises an error, or asks another server for something."""
    page = browser.new_page(viewport={"width": 1000, "height": 800})
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on(
        "request",
        lambda request: (
            problems.append(request.url)
            if "127.0.0.1" not in request.url[:20] and not request.url.startswith("data:")
            else None
        ),
    )
    page.goto(url)
    expect(page.locator("#title")).to_have_text("shop")
    assert "token" not in page.url
    yield page
    page.close()
    assert problems == []


def ask(page: Page, text: str, status: str = "Done") -> None:
    page.fill("#prompt", text)
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_have_text(status)


def test_markdown_calls_nested_agents_and_images_are_shown(stored: Page) -> None:
    ask(stored, "Please research tea")
    answered = stored.locator(".assistant")
    outer = answered.locator(".call", has_text="ask_researcher").first
    expect(outer.locator(".nested .label").first).to_have_text("Agent researcher")
    expect(outer.locator(".nested .call .icon")).to_have_class("icon done")
    outer.locator(".nested .call summary").click()
    expect(outer.locator(".nested .result")).to_have_text("<script>leaves</script>")
    expect(answered.locator(".files img")).to_have_count(1)
    expect(answered.locator("h4")).to_have_text("Found")
    expect(answered.locator("ol > li > ul > li > code")).to_have_text("2 min")
    expect(answered.locator("td.end")).to_have_text("2")
    expect(answered.locator(".code code")).to_have_text('print("<script>")')
    expect(answered.locator(".markdown a")).to_have_count(2)  # the link and the far picture; not the trap
    expect(answered.locator(".markdown b")).to_have_count(0)
    expect(answered.locator(".foot")).to_contain_text("tokens")


def test_a_call_is_allowed_after_its_arguments_were_seen_and_edited(stored: Page) -> None:
    ATE.clear()
    ask(stored, "eat", status="Waiting for your decision")
    shown = stored.locator(".decision textarea")
    assert '"cake\\u202e"' in shown.input_value()
    stored.reload()  # it waits, whoever looks
    badge = stored.locator(".session .badge")
    expect(badge).to_have_text("waits")
    assert badge.evaluate(
        "each => each.getBoundingClientRect().right <= each.parentElement.getBoundingClientRect().right"
    )
    stored.locator(".session").first.click()
    stored.get_by_role("button", name="Edit", exact=True).last.click()
    shown.fill('{"item": "pie", "count": 1}')
    stored.get_by_role("button", name="Allow", exact=True).click()
    expect(stored.locator("#status")).to_have_text("Done")
    expect(stored.locator(".assistant .markdown").last).to_contain_text("ate 1 pie.")
    assert ATE == [{"item": "pie", "count": 1}]


def test_a_call_is_refused_with_a_reason_by_keyboard(unstored: Page) -> None:
    ATE.clear()
    ask(unstored, "eat", status="Waiting for your decision")
    expect(unstored.get_by_role("button", name="Allow", exact=True)).to_be_focused()
    unstored.locator(".decision .why").fill("not yours")
    unstored.get_by_role("button", name="Refuse").press("Enter")
    expect(unstored.locator("#status")).to_have_text("Done")
    expect(unstored.locator(".decided")).to_contain_text("Refused: not yours")
    assert ATE == []


def test_escape_stops_the_run_on_the_server(unstored: Page) -> None:
    LEFT.clear()
    unstored.fill("#prompt", "hang")
    unstored.keyboard.press("Enter")
    expect(unstored.locator(".icon.running")).to_be_visible()
    unstored.keyboard.press("Escape")
    expect(unstored.locator("#status")).to_have_text("Stopped.")
    assert LEFT.wait(10)
    ask(unstored, "hello")
    expect(unstored.locator(".assistant .markdown").last).to_have_text("You said: hello")


def test_a_message_is_edited_and_an_answer_made_again(stored: Page, unstored: Page) -> None:
    for page in (stored, unstored):
        ask(page, "one")
        ask(page, "two")
        page.get_by_role("button", name="Edit and send again").first.click()
        page.locator("textarea.edit").fill("three")
        page.locator("textarea.edit").press("Enter")
        expect(page.locator(".assistant .markdown")).to_have_text(["You said: three"])
        page.get_by_role("button", name="Ask again").click()
        expect(page.locator("#status")).to_have_text("Done")
        expect(page.locator(".assistant .markdown")).to_have_text(["You said: three"])
    expect(stored.locator(".session")).to_have_count(3)  # the first, and two branches of it


def test_conversations_are_kept_opened_and_deleted(stored: Page) -> None:
    ask(stored, "first thing")
    stored.get_by_role("button", name="New conversation").click()
    expect(stored.locator(".message")).to_have_count(0)
    ask(stored, "second thing")
    stored.reload()
    expect(stored.locator(".session")).to_have_count(2)
    expect(stored.locator(".session .name")).to_have_text(["second thing", "first thing"])
    stored.locator(".session", has_text="first thing").click()
    expect(stored.locator(".user .words")).to_have_text("first thing")
    ask(stored, "and more")
    expect(stored.locator(".user .words")).to_have_text(["first thing", "and more"])
    stored.on("dialog", lambda dialog: dialog.accept())
    stored.get_by_role("button", name="Delete second thing").click()
    expect(stored.locator(".session")).to_have_count(1)


def test_pictures_and_files_go_in(stored: Page) -> None:
    stored.set_input_files(
        "#files",
        [
            {"name": "p.png", "mimeType": "image/png", "buffer": PIXEL},
            {"name": "n.txt", "mimeType": "text/plain", "buffer": b"notes"},
        ],
    )
    expect(stored.locator("#attached li")).to_have_count(2)
    ask(stored, "look")
    expect(stored.locator(".user img")).to_have_count(1)
    expect(stored.locator(".assistant .markdown")).to_contain_text("TextPart ImagePart TextPart")


def test_a_wrong_token_is_asked_for_and_a_dead_server_named(
    browser: Browser, address: Callable[[serve.Server], str]
) -> None:
    page = browser.new_page()
    page.goto(address(serve.app(agent(), token=TOKEN)).partition("#")[0])
    page.locator("#token").fill(TOKEN)
    page.locator("#token").press("Enter")
    expect(page.locator("#title")).to_have_text("shop")
    page.context.set_offline(True)
    ask(page, "hello", status="The server cannot be reached. Is it still running?")
    page.close()


def test_it_fits_a_phone_and_keeps_the_chosen_colors(stored: Page) -> None:
    stored.set_viewport_size({"width": 360, "height": 640})
    ask(stored, "Please research tea")
    wide = stored.evaluate_handle("document.documentElement").evaluate("each => each.scrollWidth <= each.clientWidth")
    assert wide
    expect(stored.get_by_role("button", name="New conversation")).not_to_be_visible()
    stored.get_by_role("button", name="Conversations").click()
    expect(stored.get_by_role("button", name="New conversation")).to_be_visible()
    stored.keyboard.press("Escape")
    stored.get_by_role("button", name="Dark or light").click()
    stored.reload()
    expect(stored.locator("html")).to_have_attribute("data-theme", "dark")
