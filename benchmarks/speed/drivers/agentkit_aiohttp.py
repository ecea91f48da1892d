"""agentkit, on aiohttp."""

import os

from drivers.agentkit_httpx2 import Driver
from drivers.agentkit_httpx2 import open as open_driver

os.environ["AGENTKIT_HTTP"] = "aiohttp"


def open(base_url: str, model: str) -> Driver:  # noqa: A001 - what a driver is asked for
    return open_driver(base_url, model)
