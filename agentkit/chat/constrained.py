"""x"""

from agentkit.chat.events import Emit
from agentkit.chat.reply import Model, Reply
from agentkit.chat.request import ChatRequest


class ConstrainedTools:
    """x"""

    def __init__(self, inner: Model) -> None:
        self.inner = inner

    async def reply(self, request: ChatRequest, emit: Emit) -> Reply:
        """X"""
        return await self.inner.reply(request, emit)
