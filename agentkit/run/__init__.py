"""One run of an agent: its state, limits, approvals, journal and middleware."""

from agentkit.chat.background import BackgroundTask
from agentkit.run.approvals import (
    ApprovalRequest,
    Decision,
    PendingCall,
    StandingDecision,
    approval_reason,
)
from agentkit.run.artifacts import is_attachment
from agentkit.run.blocking import SyncRunStream, call_sync
from agentkit.run.handoffs import Handoff, Keep
from agentkit.run.inputs import History, Prompt
from agentkit.run.limits import Limits, Price
from agentkit.run.middleware import Middleware, around_model, around_run, around_tool
from agentkit.run.output import Output, OutputSchema, OutputType, TextOutput, TypedOutput, Way, WithCalls
from agentkit.run.run import (
    Journal,
    ModelTurn,
    NextModel,
    NextRun,
    NextTool,
    PlainJournal,
    Run,
    Slot,
    SlotKind,
    ToolRequest,
    nested_run,
)
from agentkit.run.session_run import Session, SessionSnapshot, SessionUpdate
from agentkit.run.spec import OutputValidator
from agentkit.run.state import RunResult, RunState
from agentkit.run.step import AskModel, Finish, Pause, RunCalls, next_step
from agentkit.run.stream import RunStream
from agentkit.run.transcript import begins_exchange

__all__ = [
    "ApprovalRequest",
    "AskModel",
    "BackgroundTask",
    "Decision",
    "Finish",
    "Handoff",
    "History",
    "Journal",
    "Keep",
    "Limits",
    "Middleware",
    "ModelTurn",
    "NextModel",
    "NextRun",
    "NextTool",
    "Output",
    "OutputSchema",
    "OutputType",
    "OutputValidator",
    "Pause",
    "PendingCall",
    "PlainJournal",
    "Price",
    "Prompt",
    "Run",
    "RunCalls",
    "RunResult",
    "RunState",
    "RunStream",
    "Session",
    "SessionSnapshot",
    "SessionUpdate",
    "Slot",
    "SlotKind",
    "StandingDecision",
    "SyncRunStream",
    "TextOutput",
    "ToolRequest",
    "TypedOutput",
    "Way",
    "WithCalls",
    "approval_reason",
    "around_model",
    "around_run",
    "around_tool",
    "begins_exchange",
    "call_sync",
    "is_attachment",
    "nested_run",
    "next_step",
]
