"""Works through a folder of mails: read, extract, decide, draft, ask a person, file away. Kill it whenever you like.

python examples/inbox.py openai:gpt-5-mini mails monday [approve 3.4 | deny 3.4 "too friendly"]
"""

import re
import sys
from email import message_from_string, policy
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from agentkit import Agent, Model, ToolContext, tool
from agentkit.automation import Automation, automation, gather, step
from agentkit.run import call_sync
from agentkit.sessions import SQLiteSessions


class Mail(BaseModel):  # noqa: D101 - its docstring would be sent to the model
    kind: Literal["invoice", "question", "other"]
    summary: str


@step
def list_mails(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.glob("*.eml"))


@step
def read(path: Path) -> tuple[str, str]:
    mail = message_from_string(path.read_text(encoding="utf-8"), policy=policy.default)
    return str(mail["from"]), f"{mail['subject']}\n\n{mail.get_content()}"


@step
def file_away(folder: Path, name: str, place: str) -> str:
    if (folder / name).exists():  # otherwise it was moved before the program died
        (folder / place).mkdir(exist_ok=True)
        (folder / name).rename(folder / place / name)
    return f"{name}: {place}"


@step
@tool(requires_approval=True)
def send(folder: Path, to: str, text: str, context: ToolContext[Any]) -> None:
    """Send a reply; here it is a file, the same one on every attempt."""
    (outbox := folder / "outbox").mkdir(exist_ok=True)
    (outbox / re.sub(r"\W+", "-", context.idempotency_key)).write_text(f"To: {to}\n\n{text}\n", encoding="utf-8")


def open_inbox(model: str | Model) -> Automation[[Path], list[str]]:
    extract = step(Agent(model, name="extract", output_type=Mail, instructions="Say what kind of mail this is."))
    draft = step(Agent(model, name="draft", instructions="Write a short and friendly reply to this mail."))

    @step
    async def handle(folder: Path, name: str) -> str:
        sender, text = await read(folder / name)
        if (mail := (await extract(text)).output).kind != "question":
            return await file_away(folder, name, mail.kind)
        sent = await send(folder=folder, to=sender, text=(await draft(text)).output)
        return await file_away(folder, name, "open" if sent.is_error else "answered")

    @automation
    async def inbox(folder: Path) -> list[str]:
        return await gather(*[handle(folder, each) for each in await list_mails(folder)])

    return inbox


def main(model: str | Model, folder: Path, day: str, decision: str = "", call: str = "", reason: str = "") -> list[str]:
    job = open_inbox(model).job(SQLiteSessions(folder / "inbox.db"), day)
    if decision:
        call_sync(job.approve, call) if decision == "approve" else call_sync(job.deny, call, reason)
    result = call_sync(job.run, folder)
    return [f"waits: {each.id}  {each.name}({dict(each.arguments)})" for each in result.pending] or result.output


if __name__ == "__main__":
    print(*main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:]), sep="\n")
