"""All cases, in the order of the catalogue."""

from tests.conformance.embedded import EMBEDDED
from tests.conformance.failing import FAILING
from tests.conformance.history import HISTORY
from tests.conformance.parameters import PARAMETERS
from tests.conformance.shapes import SHAPES
from tests.conformance.toolcalls import CORRELATION, PARTS
from tests.conformance.transport import TRANSPORT

CASES = [*TRANSPORT, *SHAPES, *CORRELATION, *PARTS, *EMBEDDED, *PARAMETERS, *HISTORY, *FAILING]
