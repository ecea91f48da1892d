"""A self-contained HTML page that shows runs and loads nothing.

Content from models and tools is escaped, and the page's content security policy allows no script but its own.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from agentkit.events import event_to_dict
from agentkit.run import RunResult
from agentkit.trace.difference import answer_difference, figures, seconds_in_words, step_differences
from agentkit.trace.masking import Mask
from agentkit.trace.timeline import Section, Span, Timeline, timelines

__all__ = ["render_page", "render_result", "render_runs"]

_RUNS = 20  # runs of a file that are shown: the latest ones
_LONGEST = 200_000  # characters of a section
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_ICONS = {"run": "◆", "turn": "●", "call": "▸"}
_MARKS = {"retry": "↻", "repair": "✎", "adaptation": "⇄", "limit": "▲", "pause": "❚❚", "error": "✕", "other": "·"}


def render_page(sources: Sequence[tuple[str, Sequence[Timeline]]], *, live: bool = False) -> str:
    """Return the page.

    Args:
        sources: The runs of each trace, with its name. Of two traces, the last runs are compared.
        live: Whether the page updates itself until the run has ended.
    """
    script = _asset("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"
    policy += "; connect-src 'self'" if live else ""
    title = " and ".join(_text(name) for name, _ in sources if name) or "run"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="referrer" content="no-referrer">
<title>{title} · agentkit</title>
<style>{_asset("page.css")}</style>
</head>
<body{' data-live="yes"' if live else ""}>
<header>
<h1>{title}</h1>
<div class="tools"><input id="search" type="search" placeholder="Search" aria-label="Search">
<output id="found"></output>
<button id="expand" type="button">Expand all</button>
<button id="theme" type="button" aria-label="Dark or light">◐</button></div>
</header>
<main id="main">{render_runs(sources)}</main>
<script>{script}</script>
</body>
</html>
"""


def render_result(result: RunResult[Any]) -> str:
    """Return what a notebook shows for a result: its output, and the page in a sandboxed frame."""
    output = result.output_or_none
    shown = output if isinstance(output, str) else repr(output) if result.has_output else result.status
    answer = f'<div style="white-space:pre-wrap" dir="auto">{_text(shown)}</div>'
    mask = Mask()
    runs = timelines([mask(event_to_dict(event)) for event in result.events])
    if not runs:
        return answer
    page = escape(render_page([("", runs)]))
    known = ", ".join(f"{name} {value}" for name, value in figures(runs[-1]).items())
    return f"""{answer}<details><summary>{_text(known)}</summary>
<iframe sandbox="allow-scripts" srcdoc="{page}" style="width:100%;height:30rem;border:0"></iframe></details>"""


def render_runs(sources: Sequence[tuple[str, Sequence[Timeline]]]) -> str:
    """Return the part of the page that changes while a run runs."""
    if len(sources) == 2 and all(runs for _, runs in sources):
        (name, mine), (other_name, theirs) = sources
        one, other = mine[-1], theirs[-1]
        differences, longest = step_differences(one, other), max(map(_duration, (one, other)))
        sides = "".join(
            f'<section class="side"><h2>{_text(title)}</h2>{_run(run, "open", differences, longest)}</section>'
            for title, run in ((name, one), (other_name, other))
        )
        return f'{_comparison(name, one, other_name, other)}<div class="sides">{sides}</div>'
    runs = [run for _, each in sources for run in each][-_RUNS:]
    return (
        "".join(_run(run, "open" if run is runs[-1] else "", {}, _duration(run)) for run in reversed(runs))
        or '<p class="empty">No run has started yet.</p>'
    )


@cache
def _asset(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _text(text: str) -> str:
    """Escape text for HTML, and make control characters and direction marks visible."""
    shown = _CONTROLS.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)
    return escape(shown)


def _duration(run: Timeline) -> float:
    return max((run.last if run.end is None else run.end) - run.start, 0.001)


def _run(run: Timeline, is_open: str, differences: Mapping[int, str], longest: float) -> str:
    shown = figures(run)
    shown.pop("status")  # the badge says so, and a note says why
    tiles = "".join(f"<li>{_text(name)} <b>{_text(value)}</b></li>" for name, value in shown.items())
    notes = "".join(_note(time - run.start, note.kind, note.text) for time, note in run.notes)
    said = f'<pre dir="auto">{_text(run.answer)}</pre>'
    answer = f'<div class="answer"><h3>answer</h3>{said}</div>' if run.answer else ""
    rows = "".join(_row(each, run, 0, differences, longest) for each in run.children)
    return f"""<details class="run" {is_open} id="r{run.start:.6f}">
<summary><span class="status {_text(run.status)}">{_text(run.status)}</span>
<span class="prompt" dir="auto">{_text(_shortened(run.prompt, 160) or run.name)}</span></summary>
<ul class="figures">{tiles}</ul>
{_sections("asked", run.sections)}
<div class="timeline">{_axis(longest)}{rows}</div>
<ul class="notes">{notes}</ul>
{answer}
</details>"""


def _row(span: Span, run: Timeline, depth: int, differences: Mapping[int, str], longest: float) -> str:
    if span.kind == "run":
        inner = "".join(_row(each, run, depth, differences, longest) for each in span.children)
        return f"{_sections(f'{span.name} was asked', span.sections)}{inner}{_notes(span, run)}"
    end = run.last if span.end is None else span.end
    left, width = _share(span.start - run.start, longest), _share(end - span.start, longest)
    waited = _share(span.first - span.start, max(end - span.start, 1e-6)) if span.first else 0
    first = f"{_text(seconds_in_words(span.first - span.start))} until the first chunk" if span.first else ""
    wait = f'<i class="wait" style="width:{waited:.2f}%" title="{first}"></i>' if waited else ""
    marks = "".join(
        f'<i class="mark {note.kind}" style="left:{_share(time - run.start, longest):.2f}%" '
        f'title="{_text(note.text)}">{_MARKS[note.kind]}</i>'
        for time, note in span.notes
    )
    state = f"{' error' if span.is_error else ''}{' open' if span.end is None else ''}"
    difference = differences.get(id(span), "")
    badge = f'<em class="difference">{difference}</em>' if difference else ""
    side = "before" if left + width > 80 else "after"
    at = 100 - left if side == "before" else left + width
    nested = "".join(_row(each, run, depth + 1, differences, longest) for each in span.children)
    detail = f'<span dir="auto">{_text(span.detail)}</span>'
    agents = "<em>agent</em>" if span.children else ""
    return f"""<details class="row {span.kind}{state}" style="--depth:{depth}" id="{_id(span)}">
<summary><span class="name"><i>{_ICONS[span.kind]}</i><b>{_text(span.name)}</b>{detail}{agents}{badge}
<small>{_text(_usage(span))}</small></span>
<span class="track"><i class="bar" style="left:{left:.2f}%;width:{width:.2f}%">{wait}</i>{marks}
<span class="time {side}" style="{"right" if side == "before" else "left"}:{at:.2f}%">\
{_text(seconds_in_words(end - span.start))}</span></span></summary>
<div class="body">{"".join(map(_section, span.sections))}</div>
{nested}
</details>{_notes(span, run)}"""


def _notes(span: Span, run: Timeline) -> str:
    notes = "".join(_note(time - run.start, note.kind, note.text) for time, note in span.notes)
    return f'<ul class="notes">{notes}</ul>' if notes else ""


def _note(time: float, kind: str, text: str) -> str:
    return (
        f'<li class="{kind}"><i>{_MARKS[kind]}</i><span dir="auto">{_text(text)}</span> '
        f"<small>{kind} at {_text(seconds_in_words(time))}</small></li>"
    )


def _sections(title: str, sections: Sequence[Section]) -> str:
    inner = "".join(map(_section, sections))
    return f'<details class="asked"><summary>{_text(title)}</summary>{inner}</details>' if inner else ""


def _section(section: Section) -> str:
    text = section.text
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}\n... {len(text) - _LONGEST:,} more characters are in the trace"
    images = "".join(f'<img alt="" src="{_text(each)}">' for each in section.images)
    size = f"{len(section.text):,} characters" if len(section.text) > 80 else ""
    return (
        f'<details class="section" {"open" if len(text) <= 2000 else ""}><summary>{_text(section.title)} '
        f'<small>{size}</small></summary><pre dir="auto">{_text(text)}</pre>{images}</details>'
    )


def _usage(span: Span) -> str:
    usage = span.usage
    if not usage:
        return ""
    parts = [f"{usage.get('prompt_tokens', 0):,} in", f"{usage.get('completion_tokens', 0):,} out"]
    parts = parts if usage.get("total_tokens") else ["tokens unknown"]
    return ", ".join(parts) + (f", cost {usage['cost']:.4g}" if usage.get("cost") is not None else "")


def _id(span: Span) -> str:
    return f"s{span.start:.6f}-{hashlib.sha256(f'{span.name}{span.key}'.encode('utf-8', 'replace')).hexdigest()[:8]}"


def _share(part: float, whole: float) -> float:
    return min(max(100 * part / whole, 0.0), 100.0)


def _axis(longest: float) -> str:
    ticks = "".join(
        f'<span style="left:{_share(at, longest):.2f}%">{seconds_in_words(at) if at else "0"}</span>'
        for at in _ticks(longest)
    )
    return f'<div class="axis"><span class="name"></span><span class="track">{ticks}</span></div>'


def _ticks(longest: float) -> Iterator[float]:
    """Yield three to six round numbers of seconds."""
    steps: Iterable[float] = (n * unit for unit in (0.001, 0.01, 0.1, 1, 10) for n in (1, 2, 5))
    steps = [*steps, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400]
    step = next((each for each in steps if longest / each <= 5), longest / 5)
    at = 0.0
    while at <= longest * 0.9:
        yield at
        at += step


def _comparison(name: str, one: Timeline, other_name: str, other: Timeline) -> str:
    mine, theirs = figures(one), figures(other)
    rows = "".join(
        f'<tr class="{"" if mine[each] == theirs[each] else "changed"}"><th>{each}</th><td>{_text(mine[each])}</td>'
        f"<td>{_text(theirs[each])}</td></tr>"
        for each in mine
    )
    kinds = {"- ": "del", "+ ": "ins"}
    lines = "".join(
        f"<{kinds[each[:2]]}>{_text(each)}</{kinds[each[:2]]}>\n" if each[:2] in kinds else f"{_text(each)}\n"
        for each in answer_difference(one, other)
    )
    return f"""<section class="comparison"><h2>Difference</h2>
<table><thead><tr><th></th><th>{_text(name)}</th><th>{_text(other_name)}</th></tr></thead><tbody>{rows}</tbody></table>
<details open><summary>answers</summary><pre class="diff" dir="auto">{lines}</pre></details></section>"""


def _shortened(text: str, most: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[:most]}…"
