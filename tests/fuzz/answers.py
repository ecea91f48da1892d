"""The bodies of all that servers say in the conformance suite."""

from tests.conformance.cases import CASES

ANSWERS = sorted(
    {
        (answer if isinstance(answer, bytes) else b"".join(answer)).partition(b"\r\n\r\n")[2]
        for case in CASES
        for script in (case.stream, case.whole)
        for answer in script or ()
    }
)
