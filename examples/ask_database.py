"""Ask a database: the agent looks at the tables, writes the query, and cannot write anything else.

python examples/ask_database.py shop.db "Which customers have not ordered for a year?"
"""

import sys

from agentkit_tools import Calculator, Sql

from agentkit import Agent, CallStarted, Event, Model


def show_query(event: Event) -> None:
    if isinstance(event, CallStarted) and event.call.name == "query_database":
        print("asks:", event.call.arguments)


def main(database: str, question: str, model: str | Model = "openai:gpt-5-mini") -> str:
    agent = Agent(
        model,
        tools=[Sql(database, timeout=20), Calculator()],
        instructions="Answer from the database. Look at the tables before you write a query, and say how you counted.",
    )
    return agent.run_sync(question, on_event=show_query).output


if __name__ == "__main__":
    print(main(sys.argv[1], sys.argv[2]))
