"""The Chat Completions protocol: a client for any server that speaks it, usable without the rest of agentkit."""
