"""Pages and APIs of named hosts, and no other address."""

import gzip
import ipaddress
import json
import socket
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import httpx2
import pytest
from agentkit_tools import Http
from agentkit_tools.web import Web

from agentkit import Agent, CallFinished, Event
from agentkit.errors import ConfigError, ModelRetry, ToolError
from agentkit.messages import ImagePart
from agentkit.testing import ScriptedModel, call, context, lint_tools
from tests.agentkit_tools.site import Seen, Site, counted_connections, running

pytestmark = pytest.mark.anyio
LOOPBACK = ["127.0.0.0/8"]
FORBIDDEN = [  # what a host must not be, however it is written
    *("127.0.0.1", "127.1", "127.0.1", "0", "0.0.0.0", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1"),
    *("017700000001", "127.0.0.1.", "127.255.255.254", "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255"),
    *("192.168.0.1", "192.168.255.255", "169.254.169.254", "169.254.0.1", "2852039166", "0xa9fea9fe", "100.64.0.1"),
    *("100.100.100.200", "100.127.255.255", "192.0.0.192", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1"),
    *("224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "168.63.129.16", "192.88.99.1"),
    *("[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::ffff:169.254.169.254]", "[::127.0.0.1]"),
    *("[64:ff9b::7f00:1]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::1]", "[2002:7f00:1::]", "[2001::1]", "[fe80::1]"),
    *("[fc00::1]", "[fd00:ec2::254]", "[fec0::1]", "[ff02::1]", "[2001:db8::1]", "[0:0:0:0:0:0:0:1]"),
]
TRICKS = [  # what a URL must not be
    *("http://example.test@127.0.0.1/", "http://user:password@public.test/", "http://127.0.0.1:80\\@public.test/"),
    *("http://127.0.0.1#@public.test/", "http://127.0.0.1?@public.test/", "file:///etc/passwd", "ftp://public.test/"),
    *("gopher://127.0.0.1:6379/_x", "http:///etc/passwd", "http://", "", "//127.0.0.1/", "http://[::1", "http://a b/"),
    *("http://public.test:22/", "http://public.test:6379/", "http://\uff11\uff12\uff17.0.0.1/", "http://①②⑦.⓪.⓪.①/"),
    *("http://private.test/", "http://mixed.test/", "http://mapped.test/", "http://nothing.test/", "http://zone.test/"),
    *("http://public.test\r\nx: y/", "http://public.test%00.127.0.0.1/", "http://" + "a" * 300 + ".test/"),
]
NAMES = {
    "private.test": ["10.0.0.1"],
    "mixed.test": ["93.184.216.34", "127.0.0.1"],
    "mapped.test": ["::ffff:127.0.0.1"],
    "zone.test": ["fe80::1%eth0"],
}


async def fake_names(host: str, port: int) -> Sequence[str]:
    """Names as listed; numbers as the system reads them, which needs no network."""
    if host in NAMES:
        return NAMES[host]
    if host.endswith(".test"):
        raise OSError("no such host")
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=0 if ":" in host or host[0].isdigit() else 4)
    return [str(each[4][0]) for each in found]


@pytest.fixture
def site() -> Iterator[Site]:
    with running() as made:
        yield made


def http(site: Site, **options: Any) -> Http:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    options = {"private": LOOPBACK, "resolve": resolve, **options}
    return Http([f"site.test:{site.port}", f"other.test:{site.port}"], **options)


def test_the_corpus_is_as_large_as_it_should_be() -> None:
    assert len(set(FORBIDDEN + TRICKS)) >= 60


def test_a_model_could_not_misread_the_tools() -> None:
    assert lint_tools([Http(["*"])]) == []


@pytest.mark.parametrize("number", range(2))
async def test_no_url_of_the_corpus_makes_a_connection(number: int) -> None:
    open_to_all = Http(["*"], resolve=fake_names, timeout=5)
    urls = [*(f"{scheme}://{host}/x" for host in FORBIDDEN for scheme in ("http", "https")), *TRICKS]
    with counted_connections() as connections:
        for url in urls:
            with pytest.raises(ToolError):
                if number:
                    await open_to_all.http_request(context(None), url)
                else:
                    await open_to_all.fetch_page(url)
    assert connections == []


async def test_a_name_that_changes_its_meaning_is_asked_for_once(site: Site) -> None:
    asked: list[str] = []

    async def rebinding(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.2"]

    site.pages["/"] = (200, {"content-type": "text/plain"}, b"hello")
    with counted_connections() as connections:
        page = await http(site, resolve=rebinding).fetch_page(f"http://site.test:{site.port}/")
    assert page.content == "hello"
    assert asked == ["site.test"]
    assert connections == [("127.0.0.1", site.port)]
    assert site.seen[0].headers["host"] == f"site.test:{site.port}"


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/",
        "http://127.0.0.1:{port}/",
        "https://[::1]/",
        "file:///etc/passwd",
        "http://evil.test/",
    ],
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.turns
async def test_a_redirect_leads_nowhere_else(site: Site, target: str, status: int) -> None:
    location = target.format(port=site.port)
    site.pages["/a"] = (302, {"location": f"http://other.test:{site.port}/b"}, b"")
    site.pages["/b"] = (status, {"location": location}, b"")
    with counted_connections() as connections, pytest.raises(ToolError):
        await http(site).fetch_page(f"http://site.test:{site.port}/a")
    assert connections == [("127.0.0.1", site.port)] * 2
    assert [seen.path for seen in site.seen] == ["/a", "/b"]


async def test_redirects_end(site: Site) -> None:
    site.pages["/"] = (302, {"location": "/"}, b"")
    with pytest.raises(ToolError, match="redirects more than 5 times"):
        await http(site).fetch_page(f"http://site.test:{site.port}/")
    assert len(site.seen) == 6


async def test_secrets_go_to_their_host_alone_and_never_to_the_model(site: Site) -> None:
    def echo(seen: Seen) -> tuple[int, dict[str, str], bytes]:
        return 200, {"content-type": "text/plain", "link": str(seen.headers)}, str(seen.headers).encode()

    site.pages["/echo"] = echo
    site.pages["/away"] = (302, {"location": f"http://other.test:{site.port}/echo"}, b"")
    tools = http(site, secrets={"site.test": {"authorization": "Bearer canary-12345", "x-key": "canary-67890"}})
    base = f"http://site.test:{site.port}"
    own = await tools.http_request(context(None), f"{base}/echo")
    assert site.seen[-1].headers["authorization"] == "Bearer canary-12345"
    assert site.seen[-1].headers["x-key"] == "canary-67890"
    assert "canary" not in own.content
    assert "canary" not in str(own.metadata)
    assert "***" in own.content
    await tools.fetch_page(f"{base}/away")
    assert "canary" not in str(site.seen[-1])
    for name in ("Authorization", "Cookie", "HOST", "Proxy-Authorization", "Content-Length", "Idempotency-Key"):
        with pytest.raises(ModelRetry, match="cannot be set"):
            await tools.http_request(context(None), base, headers={name: "x"})


def test_secrets_are_not_sent_in_the_clear_over_the_internet() -> None:
    web = Web(["*"], secrets={"site.test": "Bearer canary"}, private=["10.0.0.0/8"])
    own, other = ipaddress.ip_address("10.0.0.1"), ipaddress.ip_address("93.184.216.34")
    secret = {"authorization": "Bearer canary"}
    assert web.secret_headers(httpx2.URL("https://Site.test./"), other) == secret
    assert web.secret_headers(httpx2.URL("http://site.test/"), own) == secret
    assert web.secret_headers(httpx2.URL("http://site.test/"), other) == {}
    assert web.secret_headers(httpx2.URL("https://sub.site.test/"), other) == {}


async def test_pages_become_markdown_and_are_read_in_parts(site: Site) -> None:
    pytest.importorskip("markdownify")
    html = (
        "<html><head><title>The title</title><style>p{}</style></head><body><nav>menu</nav><main><h2>Part</h2>"
        "<p>Some <b>bold</b> text, a <a href='/x'>link</a>.</p><script>alert(1)</script><ul><li>one</li></ul>"
    )
    site.pages["/"] = (200, {"content-type": "text/html; charset=utf-8"}, html.encode())
    page = await http(site).fetch_page(f"http://site.test:{site.port}/")
    assert page.content == "# The title\n\n## Part\n\nSome **bold** text, a [link](/x).\n\n* one"
    assert page.metadata == {
        "source": f"web:site.test:{site.port}",
        "url": f"http://site.test:{site.port}/",
        "status": 200,
    }
    part = await http(site).fetch_page(f"http://site.test:{site.port}/", start=2, length=9)
    assert part.content.startswith("The title\n[characters 2 to 11 of ")
    assert part.content.endswith("read on with start=11]")
    with pytest.raises(ModelRetry, match="characters"):
        await http(site).fetch_page(f"http://site.test:{site.port}/", start=9999)


async def test_tags_in_tags_without_end_are_read(site: Site) -> None:
    site.pages["/"] = (200, {"content-type": "text/html"}, b"<div>" * 5_000 + b"deep")
    assert (await http(site).fetch_page(f"http://site.test:{site.port}/")).content == "deep"


async def test_other_content(site: Site) -> None:
    png = b"\x89PNG\r\n\x1a\n" + bytes(20)
    site.pages["/image"] = (200, {"content-type": "image/png"}, png)
    site.pages["/binary"] = (200, {"content-type": "application/zip"}, b"PK\0\0")
    site.pages["/latin"] = (200, {"content-type": "text/plain; charset=latin-1"}, "é".encode("latin-1"))
    site.pages["/odd"] = (200, {"content-type": "text/plain; charset=nonsense"}, b"fine")
    base = f"http://site.test:{site.port}"
    assert isinstance((await http(site).fetch_page(f"{base}/image")).files[0], ImagePart)
    with pytest.raises(ToolError, match="is not text but application/zip"):
        await http(site).fetch_page(f"{base}/binary")
    assert (await http(site).fetch_page(f"{base}/latin")).content == "é"
    assert (await http(site).fetch_page(f"{base}/odd")).content == "fine"
    missing = await http(site).fetch_page(f"{base}/missing")
    assert missing.is_error
    assert missing.content == "HTTP 404\n\nnothing here"


async def test_bodies_are_bounded_before_and_after_decompression(site: Site) -> None:
    bomb = gzip.compress(b"a" * 20_000_000)
    site.pages["/bomb"] = (200, {"content-type": "text/plain", "content-encoding": "gzip"}, bomb)
    site.pages["/long"] = (200, {"content-type": "text/plain"}, b"b" * 200_000)
    site.pages["/broken"] = (200, {"content-type": "text/plain", "content-encoding": "gzip"}, b"no gzip")
    site.pages["/brotli"] = (200, {"content-type": "text/plain", "content-encoding": "br"}, b"x")
    tools, base = http(site, max_bytes=1000), f"http://site.test:{site.port}"
    for path in ("/bomb", "/long"):
        page = await tools.http_request(context(None), base + path)
        assert page.content.endswith("[only the first 1,000 bytes were read]")
        assert len(page.content) < 1200
    for path in ("/broken", "/brotli"):
        with pytest.raises(ToolError, match="cannot be read"):
            await tools.fetch_page(base + path)


async def test_a_server_that_does_not_answer_is_given_up(site: Site) -> None:
    release = threading.Event()

    def wait(seen: Seen) -> tuple[int, dict[str, str], bytes]:
        release.wait(10)
        return 200, {}, b""

    site.pages["/"] = wait
    with pytest.raises(ToolError, match="did not answer within"):
        await http(site, timeout=0.2).fetch_page(f"http://site.test:{site.port}/")
    release.set()
    with pytest.raises(ToolError, match="cannot be reached"):
        await Http(["site.test:1"], private=LOOPBACK, resolve=lambda *_: _loopback()).fetch_page("http://site.test:1/")


async def _loopback() -> Sequence[str]:
    return ["127.0.0.1"]


async def test_in_a_run_reading_is_free_and_changing_waits_and_has_a_key(site: Site) -> None:
    site.pages["/items"] = lambda seen: (201, {"content-type": "application/json"}, seen.body or b"[]")
    url = f"http://site.test:{site.port}/items"
    reading = call("http_request", url=url)
    writing = call("http_request", url=url, method="POST", body=json.dumps({"name": "x"}))
    paused = await Agent(ScriptedModel([reading, writing]), tools=[http(site)]).run("Add it.")
    assert paused.status == "paused"
    assert [seen.method for seen in site.seen] == ["GET"]
    events: list[Event] = []
    free = http(site, requires_approval=False)
    await Agent(ScriptedModel([writing, "Done."]), tools=[free]).run("Add it.", on_event=events.append)
    (finished,) = [each for each in events if isinstance(each, CallFinished)]
    assert finished.result.content == 'HTTP 201\ncontent-type: application/json\n\n{"name": "x"}'
    assert finished.result.metadata["source"] == f"web:site.test:{site.port}"
    assert site.seen[-1].headers["idempotency-key"]
    assert site.seen[-1].headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "options",
    [
        {"allow": []},
        {"allow": "example.com"},
        {"allow": ["https://example.com"]},
        {"allow": ["example.com/path"]},
        {"allow": ["*"], "timeout": 0},
        {"allow": ["*"], "max_bytes": 0},
        {"allow": ["*"], "private": ["10.0.0.0/99"]},
    ],
    ids=str,
)
def test_what_cannot_work_is_refused(options: Any) -> None:
    with pytest.raises(ConfigError):
        Http(**options)
