"""One run: what is known of it, what comes next, and the loop that does it."""
