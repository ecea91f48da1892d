"""The environments that the drivers run in, one each, so that no framework's dependencies meet another's.

make bench-frameworks      # or: python benchmarks/speed/environments.py [NAME ...]
"""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
ENVIRONMENTS = ROOT / "build" / "bench"


@dataclass(frozen=True)
class Contender:
    """Who is measured.

    Attributes:
        name: The name in tables.
        driver: The module of its driver.
        imports: What a program that uses it imports first.
        requires: What is installed into its environment, as for pip.
        group: ``by hand``, ``agentkit`` or ``framework``.
    """

    name: str
    driver: str
    imports: str
    requires: tuple[str, ...]
    group: str = "framework"

    @property
    def place(self) -> Path:
        """The environment's folder."""
        return ENVIRONMENTS / self.name.replace(" ", "-")

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.place / "bin" / "python"

    def make(self) -> None:
        """Make the environment anew, with the newest versions."""
        uv = Path(sys.executable).with_name("uv")
        print(f"installing {self.name}: {' '.join(self.requires)}", flush=True)
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, self.place], check=True)
        install: list[str | Path] = [uv, "pip", "install", "--quiet", "--python", self.python, *self.requires]
        subprocess.run(install, check=True, cwd=ROOT)

    def installed(self) -> tuple[int, float, str]:
        """Distributions, megabytes, and the version of what was asked for."""
        packages = next(self.place.glob("lib/python*/site-packages"))
        distributions = list(packages.glob("*.dist-info"))
        files = (each for each in packages.rglob("*") if each.is_file() and each.suffix != ".pyc")
        size = sum(each.stat().st_size for each in files) / 1e6
        wanted = re.split(r"[\[<>=]", self.requires[0])[0].replace("-", "_")
        version = next((each.name.split("-")[1] for each in distributions if each.name.startswith(f"{wanted}-")), "")
        return len(distributions), size, version.removesuffix(".dist")


# agentkit itself is imported from the checkout, so its environment has only what it needs.
CONTENDERS = (
    Contender("httpx2 by hand", "httpx2_loop", "httpx2", ("httpx2",), "by hand"),
    Contender("aiohttp by hand", "aiohttp_loop", "aiohttp", ("aiohttp",), "by hand"),
    Contender("agentkit", "agentkit_httpx2", "agentkit", ("--requirements", "pyproject.toml"), "agentkit"),
    Contender(
        "agentkit aiohttp",
        "agentkit_aiohttp",
        "agentkit, aiohttp",
        ("--requirements", "pyproject.toml", "--extra", "fast"),
        "agentkit",
    ),
    Contender("pydantic-ai", "pydanticai", "pydantic_ai", ("pydantic-ai-slim[openai]",)),
    Contender("openai-agents", "openaiagents", "agents", ("openai-agents",)),
    Contender("langchain", "langgraph", "langchain.agents, langchain_openai", ("langchain", "langchain-openai")),
    Contender("agent-framework", "agentframework", "agent_framework_openai", ("agent-framework-openai",)),
    Contender("agno", "agnoagent", "agno.agent, agno.models.openai", ("agno", "openai")),
    Contender("mirascope", "mirascopellm", "mirascope.llm", ("mirascope[openai]",)),
)


if __name__ == "__main__":
    for each in CONTENDERS:
        if not sys.argv[1:] or each.name in sys.argv[1:]:
            each.make()
