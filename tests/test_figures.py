"""The core stays as easy to read as it is: no figure grows over its budget."""

from tests.figures import BUDGETS, figures, report, trace_call


def test_no_figure_is_over_its_budget() -> None:
    over = {name: value for name, value in figures().items() if value > BUDGETS[name].today}
    assert over == {}, f"simplify, or raise the budget in tests/figures.py for a good reason:\n{report()}"


def test_the_trace_sees_the_call_from_the_loop_to_the_function() -> None:
    trace_call()  # what is cached is cached afterwards
    files, hops = trace_call()
    assert {"run/loop.py", "run/calls.py", "tools/tool.py", "tools/execute.py"} <= files
    assert {each for hop in hops for each in hop} <= files
    assert trace_call()[0] == files
