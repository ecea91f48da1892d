"""Whether the suite looks for new trouble (`make explore`) or only holds what is known to hold (`make test`)."""

import os

EXPLORE = os.environ.get("HYPOTHESIS_PROFILE") == "explore"
