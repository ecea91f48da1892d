"""`Http`: read pages and call APIs of hosts that you name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import anyio.to_thread

from agentkit import tool
from agentkit.errors import ModelRetry, ToolError
from agentkit.messages import ImagePart
from agentkit.tools import Access, Approval, ToolContext, ToolResult, Toolset
from agentkit_tools.files import pdf_text
from agentkit_tools.web import Answer, Resolver, Secrets, Web

__all__ = ["Http", "request_result"]

_SAFE = ("GET", "HEAD", "OPTIONS")
_IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")
_NOT_READ = ["script", "style", "noscript", "template", "svg", "iframe", "nav", "form", "button", "link", "meta"]
_OURS = re.compile(
    r"authorization|proxy-.*|cookie|host|content-length|transfer-encoding|connection|idempotency-key", re.I
)


class Http(Toolset):
    """Tools that read pages and call APIs of the hosts that you name.

    A request that may change something (any but GET, HEAD and OPTIONS) needs approval unless you say otherwise, and
    carries the call's ``Idempotency-Key``. Non-public addresses cannot be reached, whatever a name resolves to.

    Args:
        allow: Hosts: ``"api.example.com"``, ``"*.example.com"``, ``"*"`` for all public ones.
        secrets: Headers by host that no model sees: ``{"api.example.com": "Bearer ..."}``.
        private: Non-public networks that may be reached, such as ``"10.1.0.0/16"``.
        timeout: Seconds for one request.
        max_bytes: Most bytes of a response.
        requires_approval: For requests that may change something; see `ToolOptions`.
        resolve: Resolves host names instead of the system.

    Raises:
        ConfigError: A host, a network or a limit is invalid.
    """

    def __init__(
        self,
        allow: Sequence[str],
        *,
        secrets: Secrets | None = None,
        private: Sequence[str] = (),
        timeout: float = 30,
        max_bytes: int = 5 * 1024 * 1024,
        requires_approval: Approval = True,
        resolve: Resolver | None = None,
    ) -> None:
        self._web = Web(allow, secrets=secrets, private=private, timeout=timeout, max_bytes=max_bytes, resolve=resolve)
        self._approval = requires_approval
        access: list[Access] = ["untrusted", "outside"]
        if secrets or private:  # reads private data: with your key, or inside your network
            access.append("private")
        super().__init__(
            tool(self.fetch_page, read_only=True, timeout=timeout + 30, access=access),
            tool(self.http_request, strict=False, requires_approval=self._asks, timeout=timeout + 5, access=access),
        )

    def _asks(self, context: ToolContext[Any], arguments: dict[str, Any]) -> Any:
        """Return True if a request needs approval: one that may change something does, unless configured otherwise."""
        if arguments["method"] in _SAFE:
            return False
        return self._approval(context, arguments) if callable(self._approval) else self._approval

    async def fetch_page(
        self,
        url: Annotated[str, "The whole URL, beginning with https://."],
        start: Annotated[int, "The character to begin at, to read on in a long page."] = 0,
        length: Annotated[int, "How many characters to read."] = 20_000,
    ) -> ToolResult:
        """Read a web page as Markdown, a PDF as text, or an image."""
        if start < 0 or length < 1:
            raise ModelRetry("start counts from 0, and length from 1")
        answer = await self._web.send("GET", url, headers={"accept": "text/html, text/*;q=0.9, */*;q=0.5"})
        if answer.kind in _IMAGES and answer.status < 400:
            return _result(answer, f"[the image {answer.url}]", files=[ImagePart.from_bytes(answer.body)])
        text = await anyio.to_thread.run_sync(_text_of, answer)
        if start >= len(text) > 0:
            raise ModelRetry(f"the page has {len(text):,} characters")
        end = min(len(text), start + length)
        shown = text[start:end]
        if (start, end) != (0, len(text)):
            more = f"; read on with start={end}" if end < len(text) else ""
            shown += f"\n[characters {start:,} to {end:,} of {len(text):,}{more}]"
        return _result(answer, shown)

    async def http_request(
        self,
        context: ToolContext[Any],
        url: Annotated[str, "The whole URL with its query, beginning with https://."],
        method: Annotated[
            Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"], "The HTTP method."
        ] = "GET",
        body: Annotated[str, "The body as it is sent: JSON, for most APIs."] = "",
        headers: Annotated[Mapping[str, str] | None, "More headers. Keys and tokens are added by themselves."] = None,
    ) -> ToolResult:
        """Call an HTTP API. Gives the status, the headers that matter and the body."""
        for name in headers or {}:
            if _OURS.fullmatch(name):
                raise ModelRetry(f"the header {name!r} cannot be set; credentials are added automatically")
        sent = {"accept": "application/json, */*;q=0.5", **(headers or {})}
        if body:
            sent.setdefault("content-type", "application/json")
        if method not in _SAFE:
            sent["idempotency-key"] = context.idempotency_key
        answer = await self._web.send(method, url, headers=sent, content=body.encode())
        return await request_result(answer)


_SHOWN = ("content-type", "location", "link", "retry-after", "x-ratelimit-remaining", "x-total-count")


async def request_result(answer: Answer) -> ToolResult:
    """Return the result of an API call: the status, the important headers and the body.

    Raises:
        ToolError: The body is not text.
    """
    text = await anyio.to_thread.run_sync(_text_of, answer)
    shown = [f"{name}: {answer.headers[name]}" for name in _SHOWN if name in answer.headers]
    return _result(answer, "\n".join([f"HTTP {answer.status}", *shown, "", text]))


def _text_of(answer: Answer) -> str:
    """Return the body as text for a model: HTML as Markdown, PDFs as text.

    Raises:
        ToolError: It is not text.
    """
    if answer.body.startswith(b"%PDF-"):
        text = pdf_text(answer.url, answer.body)
    elif answer.kind in ("text/html", "application/xhtml+xml"):
        text = _markdown(answer.text)
    elif b"\0" in answer.body[:8192]:
        raise ToolError(f"{answer.url} is not text but {answer.kind or 'of unknown type'}, {len(answer.body):,} bytes")
    else:
        text = answer.text
    return text + (f"\n[only the first {len(answer.body):,} bytes were read]" if answer.truncated else "")


def _markdown(html: str) -> str:
    try:
        from bs4 import BeautifulSoup  # noqa: PLC0415 - an extra: an API needs no HTML
        from markdownify import MarkdownConverter  # noqa: PLC0415 - see above
    except ModuleNotFoundError:
        raise ToolError("the page is HTML, and reading HTML is not installed here (the extra agentkit[http])") from None
    soup = BeautifulSoup(html, "html.parser")
    for tag in soup(_NOT_READ):
        tag.decompose()
    body = soup.find("main") or soup.find("article") or soup.body or soup
    title = f"# {soup.title.get_text(strip=True)}\n\n" if soup.title and not body.find("h1") else ""
    try:
        text: str = MarkdownConverter(heading_style="ATX", strip=["img"]).convert_soup(body)
    except RecursionError:  # endlessly nested tags
        text = body.get_text("\n", strip=True)
    return title + re.sub(r"\n{3,}", "\n\n", text).strip()


def _result(answer: Answer, content: str, files: Sequence[ImagePart] = ()) -> ToolResult:
    if answer.status >= 400 and not content.startswith("HTTP "):
        content = f"HTTP {answer.status}\n\n{content}"
    host = answer.url.partition("://")[2].partition("/")[0]
    metadata = {"source": f"web:{host}", "url": answer.url, "status": answer.status}
    return ToolResult(content, answer.text if not files else None, answer.status >= 400, files, metadata)
