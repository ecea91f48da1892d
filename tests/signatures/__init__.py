"""The table of signatures: for each, its schema, its strict schema, and what reaches the function."""

from tests.signatures.callables import CALLABLES
from tests.signatures.classes import CLASSES
from tests.signatures.containers import CONTAINERS
from tests.signatures.newer import NEWER
from tests.signatures.parameters import PARAMETERS
from tests.signatures.references import REFERENCES
from tests.signatures.refused import REFUSED
from tests.signatures.row import Row, tool_of
from tests.signatures.unions import UNIONS
from tests.signatures.values import VALUES

__all__ = ["REFUSED", "ROWS", "Row", "tool_of"]

ROWS: list[Row] = [*VALUES, *CONTAINERS, *CLASSES, *UNIONS, *CALLABLES, *PARAMETERS, *REFERENCES, *NEWER]
