"""Ready-made tools for agentkit: files, http, shell, python, clock, calculator, search and sql will stand here."""
