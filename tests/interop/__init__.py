"""agentkit with programs that nobody here wrote: ``make interop`` installs them into build/ and runs these tests."""
