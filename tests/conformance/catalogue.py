"""What the numbers of the cases mean: what servers do, which do it, and what agentkit makes of it."""

# ruff: noqa: E501 - each row is a row of the table in docs/servers.md

from typing import NamedTuple


class Row(NamedTuple):
    """One row of the table in ``docs/servers.md``."""

    q: int
    what: str
    who: str
    does: str


SECTIONS: dict[str, int] = {  # title -> its first number
    "The stream": 1,
    "The shape of replies": 9,
    "Tool calls": 20,
    "Requests": 31,
    "Errors and retries": 47,
}

CATALOGUE = [
    Row(1, "line ends of all three kinds, data on several lines, a byte order mark, UTF-8 split anywhere, unknown fields", "all, through proxies", "decodes bytes as the HTML standard says"),
    Row(2, "comments and empty events to keep the connection open", "OpenRouter, vLLM behind proxies", "ignores them; they count as signs of life, not as events"),
    Row(3, "`[DONE]` missing, not terminated, or followed by more", "gateways, Ollama", "a reply is whole after `[DONE]` or a `finish_reason`; what follows `[DONE]` is ignored"),
    Row(4, "an error in a response with status 200: as an event, an object, a string, in a choice, as `finish_reason`", "OpenRouter, vLLM, SGLang, Exo", "the typed error for its code; the partial reply is in `error.partial`; no call runs"),
    Row(5, "JSON where a stream was requested, or the other way round; wrong content types", "gateways", "tells them apart by their first bytes"),
    Row(6, "a chunk that is not JSON", "gateways", "in text it is skipped and reported; in a reply with calls, or as the last chunk, the reply counts as incomplete and is requested again"),
    Row(7, "status 200 with HTML, plain text, nothing, or JSON that is not a completion", "proxies, wrong addresses", "`InvalidReply` with the start of the response"),
    Row(8, "silence before the first byte, within a stream, or a reply without end", "all, under load", "three deadlines: `first_byte`, `idle`, `total`"),
    Row(9, "`choices` empty, null or missing in some chunks", "Azure, OpenRouter, usage chunks of every server", "ignores them"),
    Row(10, "`delta` null or missing, `message` in a chunk, the whole message again at the end", "Azure, gateways", "reads either; counts nothing twice"),
    Row(11, "`role` missing, empty, repeated or wrong", "many", "ignores it: a reply is the assistant's"),
    Row(12, "`id`, `object`, `created`, `model` missing, null or of another type", "many", "ignores what is not used"),
    Row(13, "content null, missing, empty, or a list of parts", "Mistral, NIM, Albert", "joins text parts, reads thinking parts as reasoning, sends content back as plain text"),
    Row(14, "reasoning under three names, as objects, or in `<think>` in the text", "DeepSeek, vLLM, Ollama, OpenRouter, Moonshot, llama.cpp", "one `reasoning`; `<think>` only at the very beginning of the text, and only if it is closed"),
    Row(15, "refusals and filters as status 400, 403, `refusal`, or a `finish_reason` of their own", "OpenAI, Azure, OpenRouter, Gemini, Bedrock gateways", "`Refused` or `ContentFiltered`; calls of a filtered reply never run"),
    Row(16, "`finish_reason` null, empty, never sent, `stop` with calls, `tool_calls` without calls, words of their own", "vLLM, Gemini, Ollama, Mistral", "the calls themselves count, not the word; words for a truncation at the limit mean `length`, and then no call runs"),
    Row(17, "usage missing, null, in every chunk, in the choice, negative, not adding up", "vLLM, Moonshot, Groq, OpenRouter", "the last report counts; every request is counted"),
    Row(18, "unknown service tiers, odd metadata, logprobs in another form", "many", "members that are not used are not checked"),
    Row(19, "choices that were not requested, the same one twice, odd indexes", "gateways", "takes the first, or the only one, and reports that others were ignored"),
    Row(20, "fragments of calls without `index`", "Gemini, Grok gateways", "matches them by id; otherwise a name begins a call, and other fragments belong to the latest"),
    Row(21, "one `index` for several calls; several objects in one `arguments`", "Gemini adapters, new-api", "a new id, or a name after complete arguments, begins a call; objects run together are separated, and this is reported"),
    Row(22, "indexes from 1, with gaps, descending, as strings, interleaved", "Anthropic fallbacks, vLLM", "treats an index as a name, not a position"),
    Row(23, "ids missing, empty, equal, numbers, new in every fragment, 400 characters", "Gemini, LiteLLM, Mistral, gateways to Responses", "ids that some server would refuse are replaced by nine letters and digits, and reported"),
    Row(24, "names repeated, late, in fragments, growing, missing, with prefixes", "vLLM, Gemini, gpt-oss", "never joins a repeated name; a near name means the one tool that it can mean; for other names the model reads the nearest"),
    Row(25, "arguments as an object, null, empty, encoded twice, sent again, fenced, as Python, wrapped", "all, mostly with small models", "repairs unambiguous mistakes and reports them; the rest goes back to the model"),
    Row(26, "`type` missing, `function_call`, calls of custom tools that were not offered, calls without `function`", "old servers, gateways", "reads the first two and the last; `InvalidReply` for the third"),
    Row(27, "signatures in `extra_content`, sometimes in a chunk of their own", "Gemini", "sends them back unchanged"),
    Row(28, "calls in the text of the answer", "vLLM, llama.cpp, Ollama, LM Studio without a parser", "reads Hermes, Qwen, GLM, Mistral, Llama, DeepSeek (also DSML), Kimi and Harmony, if tools were offered, the server has no parser (its profile says so, or it is self-hosted), and the answer after its reasoning consists of calls of offered tools alone; otherwise it stays text"),
    Row(29, "400 `tool_use_failed` with what the model wrote", "Groq", "reads it as the model's turn; if that fails, requests it again"),
    Row(30, "a stream that ends in the middle, arguments truncated at the token limit", "all", "never runs a call from it: requests it again if no text was shown yet; a truncated call gets a result that says so"),
    Row(31, "either name of the token limit is refused", "OpenAI; DeepSeek, OpenRouter and others", "learns the other name from the refusal"),
    Row(32, "`developer` or `system` refused, or more than one system message", "vLLM, o1-mini, Mistral", "learns to send `system`, `user`, or one message"),
    Row(33, "forms of `tool_choice` refused", "DeepInfra, old vLLM, DeepSeek while thinking", "from named to `required` with that tool only, to `auto` with an instruction"),
    Row(34, "`parallel_tool_calls` refused", "o-series, Ollama through LiteLLM", "learns to leave it out; never sends it without tools"),
    Row(35, "`tools: []` refused, or tools required with old calls", "OpenAI; Anthropic behind LiteLLM", "never sends an empty list; learns to send a tool that is never to be called"),
    Row(36, "`strict` refused", "Ollama, Cerebras", "learns to send plain schemas"),
    Row(37, "`$ref` and other keywords in schemas refused", "Gemini, Z.ai, Mistral", "schemas of tools are written out, with plain keywords"),
    Row(38, "`response_format` refused", "DeepSeek, Ollama", "from `json_schema` to `json_object` to words"),
    Row(39, "sampling parameters refused", "reasoning models", "learns to leave them out, one by one"),
    Row(40, "`stream_options`, `store`, `seed` and others refused; server-specific members", "many; Qwen, Z.ai, Moonshot", "learns to leave them out; `extra_body` is sent unchanged"),
    Row(41, "null or empty content refused, empty results, empty messages", "Bedrock gateways, old vLLM, Cohere", "never sends empty parts, results or messages; learns which empty form the server wants next to calls"),
    Row(42, "earlier reasoning must come back, or must not", "DeepSeek; all others", "learns it from the refusal; sends it to no other server"),
    Row(43, "calls without results and results out of order refused", "all", "sends results in the order of the calls, whichever finished first"),
    Row(44, "halves of characters and NUL refused, or sent", "OpenAI; JavaScript gateways", "joins halves across chunks; unpaired halves, and NUL, become U+FFFD"),
    Row(45, "no key required", "local servers", "sends none; another provider's key is never used"),
    Row(46, "no member says that a call failed", "all", "the result begins with `Error:`"),
    Row(47, "fourteen forms of error bodies", "all", "the server's words, code and request id in a typed error"),
    Row(48, "seven ways to say when to retry", "all", "obeys them up to a limit; never retries an exhausted quota"),
    Row(49, "ten ways to say that the context is too long", "all", "`ContextTooLong`, with the numbers if the server gives them"),
    Row(50, "transient failures", "all", "retries and reports it, never after text was shown"),
]  # fmt: skip
