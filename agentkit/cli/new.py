"""``agentkit new``: a starter project with an agent, a tool and a test that passes at once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from agentkit.cli.errors import handle_errors
from agentkit.cli.options import DebugOption
from agentkit.cli.terminal_text import one_line
from agentkit.errors import ConfigError

__all__ = ["new"]

_AGENT = '''"""An agent with a tool. Talk with it: agentkit chat agent.py:agent"""

from agentkit import Agent, ModelRetry, tool

MENU = {"espresso": 2.5, "cappuccino": 3.8, "croissant": 2.9}


@tool
def price(item: str) -> float:
    """Look up the price of an item on the menu, in euros.

    Args:
        item: The name of the item, such as "espresso".
    """
    if item not in MENU:
        raise ModelRetry(f"there is no {item!r}; there are {', '.join(MENU)}")
    return MENU[item]


agent = Agent("MODEL", tools=[price], instructions="You answer questions about the menu of a café.", name="cafe")
'''

_TEST = '''"""The agent without a network: a script takes the place of the model."""

from agent import agent
from agentkit.testing import ScriptedModel, call


def test_the_agent_looks_up_prices():
    model = ScriptedModel([[call("price", item="espresso")], "An espresso is 2.50 euros."])
    result = agent.run_sync("What is an espresso?", model=model)
    assert result.output == "An espresso is 2.50 euros."
    assert [message.text for message in result.messages if message.role == "tool"] == ["2.5"]


def test_the_model_reads_an_error_for_an_unknown_item():
    model = ScriptedModel([[call("price", item="pizza")], "There is no pizza."])
    result = agent.run_sync("What is a pizza?", model=model)
    assert "there is no 'pizza'; there are espresso" in result.messages[2].text
'''

_README = """# NAME

    agentkit chat agent.py:agent              # talk with it
    agentkit run agent.py:agent "An espresso?"  # one question; reads pipes too
    python -m pytest                          # test it, without a network

The model is named in `agent.py`; `--model` overrides it for one command. `agentkit models` lists the providers and says
which of their keys are set.
"""


def new(
    directory: Annotated[str, typer.Argument(metavar="DIRECTORY", help="The directory to create.")],
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            help="The model of the agent; by default AGENTKIT_MODEL.",
        ),
    ] = "",
    debug: DebugOption = False,
) -> None:
    """Create a starter project: an agent with a tool, a test that passes at once, and a README.

    \b
    agentkit new cafe
    cd cafe && python -m pytest
    """  # noqa: D301 - \b is the character that keeps the lines of the example
    with handle_errors(debug=debug):
        place = Path(directory)
        model = model or os.environ.get("AGENTKIT_MODEL", "").strip() or "openai:gpt-5-mini"
        if not model.isprintable() or {'"', "\\"} & set(model):
            raise ConfigError(f"{model!r} is not the name of a model")
        files = {
            "agent.py": _AGENT.replace("MODEL", model),
            "test_agent.py": _TEST,
            "README.md": _README.replace("NAME", one_line(place.resolve().name)),
        }
        try:
            place.mkdir(parents=True, exist_ok=True)
            if there := sorted(name for name in files if (place / name).exists()):
                raise ConfigError(f"{directory!r} already has {', '.join(there)}: nothing was written")
            for name, text in files.items():
                (place / name).write_text(text, encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{directory!r} cannot be created: {error.strerror}") from None
        typer.echo(one_line(f"made {directory}: agent.py (with the model {model}), test_agent.py, README.md"), err=True)
        typer.echo(one_line(f"try it: cd {directory} && agentkit chat agent.py:agent"), err=True)
        typer.echo("without a key, add --model local, which is the embedded model", err=True)
