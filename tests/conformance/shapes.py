"""Q9 to Q19: the shape of replies and chunks."""

from typing import Any

from agentkit import ChatSettings
from agentkit.chat import Usage
from agentkit.errors import ContentFiltered, Refused
from agentkit.events import TurnFinished
from tests.conformance.case import Case, Outcome
from tests.conformance.wire import Json, add, calls, chunk, error, fails, http, in_both, piece, says, sse, told, whole


def beside(*odd: Json) -> list[bytes]:
    """A stream in which odd chunks stand before, between and after the pieces of a call."""
    return [
        sse(
            *odd,
            chunk({"tool_calls": [add('{"a": 2,')]}),
            *odd,
            chunk({"tool_calls": [piece(..., ' "b": 3}', index=0)]}),
            *odd,
            chunk({}, end="tool_calls"),
        )
    ]


def with_usage(*reports: Any, in_choice: bool = False) -> list[bytes]:
    """A streamed call whose chunks carry these usage reports."""
    rows = [chunk({"tool_calls": [add()]}), *(chunk({}) for _ in reports[1:]), chunk({}, end="tool_calls")]
    for row, report in zip(rows[-len(reports) :], reports, strict=True):
        (row["choices"][0] if in_choice else row)["usage"] = report
    return [sse(*rows)]


def used(prompt: int, completion: int, requests: int = 2) -> Any:
    def holds(outcome: Outcome) -> bool:
        replies = (event.reply for event in outcome.events if isinstance(event, TurnFinished))
        usage = sum((reply.usage for reply in replies), Usage())  # as read: the run estimates what no server says
        return (usage.prompt_tokens, usage.completion_tokens, usage.requests) == (prompt, completion, requests)

    return holds


def thought(text: str) -> Any:
    """Whether the first reply of the run had this reasoning."""

    def holds(outcome: Outcome) -> bool:
        assert outcome.result
        return getattr(outcome.result.messages[1], "reasoning", None) == text

    return holds


def details(outcome: Outcome) -> bool:
    """Whether the first reply of the run had the details whole."""
    assert outcome.result
    return list(getattr(outcome.result.messages[1], "reasoning_details", ())) == [DETAIL]


def reasoned(member: str, first: Any, second: Any, full: Any) -> dict[str, Any]:
    """A reply that thinks before it calls, in both modes."""
    return {
        "stream": [
            sse(
                chunk({member: first}),
                chunk({member: second}),
                chunk({"tool_calls": [add()]}),
                chunk({}, end="tool_calls"),
            )
        ],
        "whole": [told(add(), **{member: full})],
    }


def content(text: Any) -> dict[str, Any]:
    """A reply with this content beside a call, in both modes."""
    return {
        "stream": [sse(chunk({"content": text}), chunk({"tool_calls": [add()]}), chunk({}, end="tool_calls"))],
        "whole": [told(add(), content=text)],
    }


def ends(reason: Any) -> dict[str, Any]:
    return {"stream": [calls(add(), end=reason)], "whole": [told(add(), end=reason)]}


DETAIL = {"type": "reasoning.text", "text": "hm", "signature": "s", "index": 0}
AZURE = {
    "choices": [],
    "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {}}],
    "id": "",
    "model": "",
}
FLAGGED = {"error": {"message": "flagged", "code": 403, "metadata": {"reasons": ["violence"], "flagged_input": "..."}}}

SHAPES = [
    # Q9, about choices
    *(
        Case(q=9, name=name, stream=beside(odd))
        for name, odd in (
            ("choices-empty", {"id": "r1", "choices": []}),
            ("choices-null", {"id": "r1", "choices": None}),
            ("choices-missing", {"id": "r1"}),
            ("choices-of-null", {"id": "r1", "choices": [None]}),
            ("azure-filter-results", AZURE),
        )
    ),
    Case(
        q=9,
        name="azure-filter-results-whole",
        whole=[http(whole({"tool_calls": [add()]}, end="tool_calls", prompt_filter_results=[{}]))],
    ),
    # Q10, about delta
    *(
        Case(q=10, name=name, stream=beside(odd))
        for name, odd in (
            ("delta-null", chunk(None)),
            ("delta-missing", {"choices": [{"index": 0}]}),
            ("delta-empty", chunk({})),
            (
                "delta-azure-async-filter",
                {"choices": [{"index": 0, "finish_reason": None, "content_filter_offsets": {"start_offset": 1}}]},
            ),
        )
    ),
    Case(
        q=10,
        name="message-in-a-chunk",
        stream=[sse(whole({"role": "assistant", "content": None, "tool_calls": [add()]}))],
    ),
    Case(q=10, name="delta-in-a-whole-reply", whole=[http(chunk({"tool_calls": [add()]}, end="tool_calls"))]),
    Case(
        q=10,
        name="whole-message-at-the-end",
        final="Just so.",
        stream=[
            sse(
                chunk({"content": "Just "}),
                chunk({"content": "so."}),
                whole({"role": "assistant", "content": "Just so."}),
            )
        ],
    ),
    Case(
        q=10,
        name="whole-calls-at-the-end",
        stream=[
            sse(chunk({"tool_calls": [add()]}), whole({"role": "assistant", "content": None, "tool_calls": [add()]}))
        ],
    ),
    # Q11, about role
    *(
        Case(q=11, name=f"role-{role or 'empty'}", stream=beside(chunk({"role": role})), whole=[told(add(), role=role)])
        for role in ("", "user", "tool", "assistant")
    ),
    Case(
        q=11,
        name="role-null",
        stream=beside(chunk({"role": None, "content": None})),
        whole=[http(whole({"role": None, "tool_calls": [add()]}))],
    ),
    Case(q=11, name="role-missing", stream=[calls(add())], whole=[http(whole({"tool_calls": [add()]}))]),
    # Q12, about members beside the choices
    *(
        Case(
            q=12,
            name=name,
            stream=beside({**chunk({}), **odd}),
            whole=[http({**whole({"tool_calls": [add()]}), **odd})],
        )
        for name, odd in (
            ("null", dict.fromkeys(("id", "object", "created", "model", "system_fingerprint"))),
            ("odd-types", {"id": 7, "object": 1, "created": 1.5, "model": ["m"], "system_fingerprint": {}}),
            ("empty", {"id": "", "object": "", "created": "", "model": ""}),
        )
    ),
    Case(
        q=12,
        name="missing",
        stream=[sse({"choices": chunk({"tool_calls": [add()]}, end="tool_calls")["choices"]})],
        whole=[http({"choices": whole({"tool_calls": [add()]})["choices"]})],
    ),
    # Q13, about content
    Case(q=13, name="null", **content(None)),
    Case(q=13, name="empty", **content("")),
    Case(q=13, name="missing", stream=[calls(add())], whole=[http(whole({"tool_calls": [add()]}))]),
    Case(
        q=13,
        name="parts-beside-a-call",
        **content([{"type": "text", "text": "Let me "}, {"type": "text", "text": "see."}]),
        also=lambda outcome: outcome.message(1)["content"] == "Let me see.",
    ),
    Case(
        q=13,
        name="parts",
        final="Just so.",
        stream=[
            sse(
                chunk({"content": [{"type": "text", "text": "Just "}]}),
                chunk({"content": "so."}),
                chunk({}, end="stop"),
            )
        ],
        whole=[http(whole({"content": [{"type": "text", "text": "Just "}, {"text": "so."}]}))],
    ),
    Case(
        q=13,
        name="one-part",
        final="So.",
        stream=[sse(chunk({"content": {"type": "text", "text": "So."}}), chunk({}, end="stop"))],
        whole=[http(whole({"content": {"type": "text", "text": "So."}}))],
    ),
    Case(
        q=13,
        name="thinking-parts-of-mistral",
        **content(
            [
                {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                {"type": "text", "text": "Let me see."},
            ]
        ),
        also=lambda outcome: thought("hm")(outcome) and outcome.message(1)["content"] == "Let me see.",
    ),
    # Q14, about reasoning
    *(
        Case(
            q=14, name=member.replace("_", "-"), **reasoned(member, "h", "m", "hm"), also=thought("hm"), extra=[member]
        )
        for member in ("reasoning_content", "reasoning", "reasoning_text")
    ),
    Case(
        q=14,
        name="two-spellings-of-the-same",
        also=thought("hm"),
        extra=["reasoning", "reasoning_content"],
        stream=[
            sse(
                chunk({"reasoning": "hm", "reasoning_content": "hm"}),
                chunk({"tool_calls": [add()]}),
                chunk({}, end="tool_calls"),
            )
        ],
        whole=[told(add(), reasoning="hm", reasoning_content="hm")],
    ),
    Case(q=14, name="not-a-text", **reasoned("reasoning", {"a": 1}, 5, ["x"])),
    Case(q=14, name="null-and-empty", **reasoned("reasoning_content", None, "", None)),
    Case(
        q=14,
        name="details-of-openrouter",
        extra=["reasoning_details", "reasoning"],
        **reasoned(
            "reasoning_details",
            [{"type": "reasoning.text", "text": "h", "index": 0}],
            [{"type": "reasoning.text", "text": "m", "signature": "s", "index": 0}],
            [DETAIL],
        ),
        also=details,
    ),
    Case(
        q=14,
        name="think-in-the-text",
        final="Just so.",
        told=["ReplyRepaired.*<think>"],
        also=thought("hm hm"),
        stream=[
            sse(
                *(chunk({"content": each}) for each in ("<th", "ink>\nhm", " hm\n</thi", "nk>\n", "\nJust", " so.")),
                chunk({}, end="stop"),
            )
        ],
        whole=[http(whole({"content": "<think>\nhm hm\n</think>\n\nJust so."}))],
    ),
    Case(
        q=14,
        name="think-before-a-call",
        told=["ReplyRepaired.*<think>"],
        also=thought("hm"),
        **content("<think>hm</think>"),
    ),
    Case(
        q=14,
        name="think-with-a-call-inside-that-is-no-call",
        final="No.",
        told=["ReplyRepaired.*<think>"],
        **in_both(
            lambda mode: [
                says(
                    '<think><tool_call>{"name": "add", "arguments": {"a": 2, "b": 3}}</tool_call></think>No.',
                    stream=mode == "stream",
                )
            ]
        ),
    ),
    Case(
        q=14,
        name="think-later-in-the-text-is-text",
        final="Write <think> like </think> so.",
        stream=[says("Write <think> like </think> so.", stream=True)],
        whole=[says("Write <think> like </think> so.", stream=False)],
    ),
    # Q15, about refusals and filters
    Case(
        q=15,
        name="refusal",
        error=Refused,
        reads="I will not",
        stream=[sse(chunk({"refusal": "I will"}), chunk({"refusal": " not"}), chunk({}, end="stop"))],
        whole=[http(whole({"content": None, "refusal": "I will not"}))],
    ),
    Case(q=15, name="refusal-null", stream=beside(chunk({"refusal": None})), whole=[told(add(), refusal=None)]),
    *(
        Case(
            q=15,
            name=f"withheld-{reason.replace('_', '-').lower()}",
            error=ContentFiltered,
            asks=1,
            stream=[sse(chunk({"content": ""}), chunk({}, end=reason))],
            whole=[http(whole({"content": ""}, end=reason))],
        )
        for reason in ("content_filter", "SAFETY", "guardrail_intervened")
    ),
    Case(
        q=15,
        name="azure-400",
        error=ContentFiltered,
        asks=1,
        **in_both(
            lambda mode: [
                error(
                    "The response was filtered",
                    code="content_filter",
                    innererror={
                        "code": "ResponsibleAIPolicyViolation",
                        "content_filter_result": {"hate": {"filtered": True}},
                    },
                )
            ]
        ),
    ),
    Case(
        q=15,
        name="openrouter-403",
        error=ContentFiltered,
        asks=1,
        **in_both(lambda mode: [fails(403, FLAGGED)]),
    ),
    Case(q=15, name="calls-of-a-filtered-reply-never-run", ran=(), **ends("content_filter")),
    # Q16, about finish_reason
    *(
        Case(q=16, name=f"calls-and-{name}", **ends(reason))
        for name, reason in (
            ("stop", "stop"),
            ("function-call", "function_call"),
            ("eos", "eos"),
            ("end", "end"),
            ("end-turn", "end_turn"),
            ("capitals", "TOOL_CALLS"),
        )
    ),
    Case(q=16, name="null", stream=[calls(add(), end=None)], whole=[told(add(), end=None)]),
    Case(
        q=16,
        name="missing",
        stream=[sse({"choices": [{"delta": {"tool_calls": [add()]}}]})],
        whole=[http({"choices": [{"message": {"tool_calls": [add()]}}]})],
    ),
    Case(
        q=16,
        name="empty-is-no-end",
        stream=[sse({**chunk({"tool_calls": [add()]}, end="")}, done=False), calls(add())],
        told=["Retrying"],
    ),
    Case(
        q=16,
        name="empty-on-the-way",
        stream=[
            sse(
                chunk({"tool_calls": [add('{"a": 2,')]}, end=""),
                chunk({"tool_calls": [piece(..., ' "b": 3}', index=0)]}, end=""),
                chunk({}, end="stop"),
            )
        ],
        whole=[told(add(), end="")],
    ),
    Case(
        q=16,
        name="in-an-early-chunk",
        stream=[
            sse(
                chunk({"tool_calls": [add('{"a": 2,')]}, end="tool_calls"),
                chunk({"tool_calls": [piece(..., ' "b": 3}', index=0)]}, end="tool_calls"),
            )
        ],
    ),
    Case(
        q=16,
        name="tool-calls-without-calls",
        told=["Retrying"],
        stream=[sse(chunk({}, end="tool_calls")), calls(add())],
        whole=[http(whole({"content": ""}, end="tool_calls")), told(add())],
    ),
    Case(
        q=16,
        name="tool-calls-with-text-only",
        final="Just so.",
        **in_both(lambda mode: [says("Just so.", stream=mode == "stream", end="tool_calls")]),
    ),
    Case(
        q=16,
        name="calls-null-or-empty",
        final="Just so.",
        stream=[sse(chunk({"content": "Just so.", "tool_calls": []}), chunk({"tool_calls": None}, end="stop"))],
        whole=[http(whole({"content": "Just so.", "tool_calls": []}))],
    ),
    *(
        Case(q=16, name=f"calls-cut-at-{reason.replace('_', '-')}-never-run", ran=(), **ends(reason))
        for reason in ("length", "max_tokens", "MAX_TOKENS", "model_length")
    ),
    # Q17, about usage
    Case(q=17, name="missing", stream=[calls(add())], whole=[told(add())], also=used(0, 0)),
    Case(
        q=17,
        name="null",
        stream=with_usage(None, None),
        whole=[http(whole({"tool_calls": [add()]}, usage=None))],
        also=used(0, 0),
    ),
    Case(
        q=17,
        name="null-members",
        stream=with_usage({"prompt_tokens": 3, "completion_tokens": None, "prompt_tokens_details": None}),
        whole=[http(whole({"tool_calls": [add()]}, usage={"prompt_tokens": 3, "completion_tokens": None}))],
        also=used(3, 0),
    ),
    Case(
        q=17,
        name="cumulative",
        stream=with_usage(
            {"prompt_tokens": 3, "completion_tokens": 1},
            {"prompt_tokens": 3, "completion_tokens": 2},
            {"prompt_tokens": 3, "completion_tokens": 5},
        ),
        also=used(3, 5),
    ),
    Case(
        q=17,
        name="in-the-choice",
        stream=with_usage({"prompt_tokens": 3, "completion_tokens": 5}, in_choice=True),
        whole=[
            http(
                {
                    "choices": [
                        {
                            **whole({"tool_calls": [add()]})["choices"][0],
                            "usage": {"prompt_tokens": 3, "completion_tokens": 5},
                        }
                    ]
                }
            )
        ],
        also=used(3, 5),
    ),
    Case(
        q=17,
        name="null-after-the-report",
        stream=with_usage({"prompt_tokens": 3, "completion_tokens": 5}, None),
        also=used(3, 5),
    ),
    Case(
        q=17,
        name="last-chunk-without-choices",
        stream=[
            sse(
                chunk({"tool_calls": [add()]}),
                chunk({}, end="tool_calls"),
                {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 5}},
            )
        ],
        also=used(3, 5),
    ),
    *(
        Case(
            q=17,
            name=name,
            stream=with_usage(report),
            whole=[http(whole({"tool_calls": [add()]}, usage=report))],
            also=used(*counts),
        )
        for name, report, counts in (
            ("total-that-does-not-add-up", {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 99}, (3, 5)),
            (
                "negative",
                {"prompt_tokens": 3, "completion_tokens": -5, "prompt_tokens_details": {"text_tokens": -1}},
                (3, 0),
            ),
            (
                "with-a-cost",
                {"prompt_tokens": 3, "completion_tokens": 5, "cost": 0.0001, "cost_details": {"x": None}},
                (3, 5),
            ),
            ("floats", {"prompt_tokens": 3.0, "completion_tokens": 5.0}, (3, 5)),
            ("odd", ["what"], (0, 0)),
        )
    ),
    # Q18, about what is not used is not checked
    Case(
        q=18,
        name="service-tier-and-metadata",
        stream=[
            sse(
                chunk({"tool_calls": [add()], "metadata": 3}, service_tier="warp", metadata=[1]),
                chunk({}, end="tool_calls", service_tier=None),
            )
        ],
        whole=[http(whole({"tool_calls": [add()], "annotations": 7, "audio": None}, service_tier=9, metadata="x"))],
    ),
    *(
        Case(
            q=18,
            name=f"logprobs-{name}",
            settings=ChatSettings(logprobs=True, top_logprobs=2),
            stream=[
                sse(
                    {"choices": [{"index": 0, "delta": {"tool_calls": [add()]}, "logprobs": odd}]},
                    chunk({}, end="stop"),
                )
            ],
            whole=[http({"choices": [{**whole({"tool_calls": [add()]})["choices"][0], "logprobs": odd}]})],
        )
        for name, odd in (
            ("null", None),
            ("of-null", {"content": None, "refusal": None}),
            ("old-style", {"tokens": ["a"], "token_logprobs": [-1.0]}),
            ("odd", [3]),
            ("infinite", {"content": [{"token": "a", "logprob": -9999.0, "bytes": None, "top_logprobs": None}]}),
        )
    ),
    # Q19, about other choices
    Case(
        q=19,
        name="another-index",
        stream=beside(chunk({"content": "other"}, index=1)),
        whole=[
            http({"choices": [*whole({"tool_calls": [add()]})["choices"], {"index": 1, "message": {"content": "x"}}]})
        ],
        told=["ReplyRepaired.*index 1"],
    ),
    Case(
        q=19,
        name="the-same-choice-twice",
        stream=[sse({"choices": chunk({"tool_calls": [add()]})["choices"] * 2}, chunk({}, end="stop"))],
        whole=[http({"choices": whole({"tool_calls": [add()]})["choices"] * 2})],
        told=["ReplyRepaired"],
    ),
    *(
        Case(
            q=19,
            name=f"index-{name}",
            stream=[sse(chunk({"tool_calls": [add()]}, index=odd), chunk({}, end="stop", index=odd))],
            whole=[http({"choices": [{**whole({"tool_calls": [add()]})["choices"][0], "index": odd}]})],
        )
        for name, odd in (("null", None), ("text", "0"), ("one", 1), ("float", 0.0))
    ),
    Case(
        q=19,
        name="two-asked-for",
        final="Just so.",
        settings=ChatSettings(n=2),
        stream=[
            sse(
                chunk({"content": "Just "}),
                chunk({"content": "Not "}, index=1),
                chunk({"content": "so."}),
                chunk({"content": "so."}, index=1),
                chunk({}, end="stop"),
                chunk({}, index=1, end="stop"),
            )
        ],
        whole=[
            http(
                {
                    "choices": [
                        whole({"content": "Just so."})["choices"][0],
                        {"index": 1, "message": {"content": "Not so."}, "finish_reason": "stop"},
                    ]
                }
            )
        ],
    ),
]
