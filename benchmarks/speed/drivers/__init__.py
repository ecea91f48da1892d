"""A module for each contender: ``open(base_url, model)`` makes its agent."""
