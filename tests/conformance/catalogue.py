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
    Row(1, "line ends of all three kinds, data on several lines, a byte order mark, UTF-8 cut anywhere, fields nobody knows", "all, through proxies", "decodes bytes as the HTML standard says"),
    Row(2, "comments and empty events to keep the connection open", "OpenRouter, vLLM behind proxies", "ignores them; they end a silence, but are no event"),
    Row(3, "`[DONE]` missing, not terminated, or followed by more", "gateways, Ollama", "a reply is whole after `[DONE]` or a `finish_reason`; what follows `[DONE]` is ignored"),
    Row(4, "an error inside an answer of status 200: an event, an object, a string, in a choice, as `finish_reason`", "OpenRouter, vLLM, SGLang, Exo", "the typed error its code stands for; what had arrived is in `error.partial`; no call runs"),
    Row(5, "JSON where a stream was asked for, or the other way round; wrong content types", "gateways", "tells them apart by their first bytes"),
    Row(6, "a chunk that is not JSON", "gateways", "in text it is left out and reported; in a reply with calls, or as the last chunk, the reply counts as incomplete and is asked for again"),
    Row(7, "status 200 with HTML, plain text, nothing, or JSON that is no completion", "proxies, wrong addresses", "`InvalidReply` with the beginning of what came"),
    Row(8, "silence before the first byte, within a stream, or a reply without end", "all, under load", "three deadlines: `first_byte`, `idle`, `total`"),
    Row(9, "`choices` empty, null or missing in some chunks", "Azure, OpenRouter, usage chunks of all", "ignores them"),
    Row(10, "`delta` null or missing, `message` in a chunk, the whole message again at the end", "Azure, gateways", "reads either; takes nothing twice"),
    Row(11, "`role` missing, empty, repeated or wrong", "many", "ignores it: a reply is the assistant's"),
    Row(12, "`id`, `object`, `created`, `model` missing, null or of another type", "many", "ignores what is not used"),
    Row(13, "content null, missing, empty, or a list of parts", "Mistral, NIM, Albert", "joins text parts, reads thinking parts as reasoning, sends content back as plain text"),
    Row(14, "reasoning under three names, as objects, or in `<think>` in the text", "DeepSeek, vLLM, Ollama, OpenRouter, Moonshot, llama.cpp", "one `reasoning`; `<think>` only at the very beginning of a text and only with its end"),
    Row(15, "refusals and filters as status 400, 403, `refusal`, or a `finish_reason` of their own", "OpenAI, Azure, OpenRouter, Gemini, Bedrock gateways", "`Refused` or `ContentFiltered`; calls of a filtered reply never run"),
    Row(16, "`finish_reason` null, empty, never sent, `stop` with calls, `tool_calls` without calls, words of their own", "vLLM, Gemini, Ollama, Mistral", "calls are what is there, not what the word says; words for a cut at the limit are `length`, and then no call runs"),
    Row(17, "usage missing, null, in every chunk, in the choice, negative, not adding up", "vLLM, Moonshot, Groq, OpenRouter", "the last report holds; every request is counted"),
    Row(18, "unknown service tiers, odd metadata, logprobs of another form", "many", "what is not used is not checked"),
    Row(19, "other choices than were asked for, the same one twice, odd indexes", "gateways", "takes the first, or the only one, and tells that others were ignored"),
    Row(20, "fragments of calls without `index`", "Gemini, Grok gateways", "matches them by id, else a name begins a call, else they belong to the latest"),
    Row(21, "one `index` for several calls; several objects in one `arguments`", "Gemini adapters, new-api", "a new id, or a name after complete arguments, begins a call; objects that ran together are separated and reported"),
    Row(22, "indexes from 1, with gaps, falling, as texts, interleaved", "Anthropic fallbacks, vLLM", "an index is a name, not a place"),
    Row(23, "ids missing, empty, equal, numbers, new in every fragment, 400 characters", "Gemini, LiteLLM, Mistral, gateways to Responses", "ids that some server would refuse are replaced by nine letters and digits, and reported"),
    Row(24, "names repeated, late, in fragments, growing, missing, with prefixes", "vLLM, Gemini, gpt-oss", "never joins a repeated name; a near name is the one tool that it can mean; for others the model reads the nearest"),
    Row(25, "arguments as an object, null, empty, encoded twice, sent again, fenced, as Python, wrapped", "all, with small models most", "repairs what has one meaning only and tells it; the rest goes back to the model"),
    Row(26, "`type` missing, `function_call`, calls of custom tools nobody offered, calls without `function`", "old servers, gateways", "reads the first two and the last; `InvalidReply` for the third"),
    Row(27, "signatures in `extra_content`, also in a chunk of their own", "Gemini", "sends them back unchanged"),
    Row(28, "calls in the text of the answer", "vLLM, llama.cpp, Ollama, LM Studio without a parser", "reads Hermes, Qwen, GLM, Mistral, Llama, DeepSeek (also DSML), Kimi and Harmony, if tools were offered, the server has no parser (its profile says so, or it is self-hosted), and the answer after its reasoning consists of calls of offered tools alone; otherwise it stays text"),
    Row(29, "400 `tool_use_failed` with what the model wrote", "Groq", "reads it as the model's turn; if that fails, asks again"),
    Row(30, "a stream that ends in the middle, arguments cut at the token limit", "all", "never runs a call of it: asks again as long as no text was shown; a cut call gets a result that says so"),
    Row(31, "either name of the token limit is refused", "OpenAI; DeepSeek, OpenRouter and others", "learns the other name from the refusal"),
    Row(32, "`developer` or `system` refused, or more than one system message", "vLLM, o1-mini, Mistral", "learns to send `system`, `user`, or one message"),
    Row(33, "forms of `tool_choice` refused", "DeepInfra, old vLLM, DeepSeek while thinking", "from named to `required` with that tool only, to `auto` with an instruction"),
    Row(34, "`parallel_tool_calls` refused", "o-series, Ollama through LiteLLM", "learns to leave it out; never sends it without tools"),
    Row(35, "`tools: []` refused, or tools required with old calls", "OpenAI; Anthropic behind LiteLLM", "never sends an empty list; learns to send one that is never to be called"),
    Row(36, "`strict` refused", "Ollama, Cerebras", "learns to send plain schemas"),
    Row(37, "`$ref` and other keywords in schemas refused", "Gemini, Z.ai, Mistral", "schemas of tools are written out, with plain keywords"),
    Row(38, "`response_format` refused", "DeepSeek, Ollama", "from `json_schema` to `json_object` to words"),
    Row(39, "sampling parameters refused", "reasoning models", "learns to leave them out, one by one"),
    Row(40, "`stream_options`, `store`, `seed` and others refused; bodies of their own", "many; Qwen, Z.ai, Moonshot", "learns to leave them out; `extra_body` is sent as it is"),
    Row(41, "null or empty content refused, empty results, messages that say nothing", "Bedrock gateways, old vLLM, Cohere", "never sends empty parts, results or messages; learns which kind of nothing is wanted next to calls"),
    Row(42, "earlier reasoning must come back, or must not", "DeepSeek; all others", "learns it from the refusal; sends it to nobody else"),
    Row(43, "calls without results and results out of order refused", "all", "results in the order of the calls, whatever finished first"),
    Row(44, "halves of characters and NUL refused, or sent", "OpenAI; JavaScript gateways", "joins halves over chunks; what stays half, and NUL, becomes U+FFFD"),
    Row(45, "no key wanted", "local servers", "sends none; no key of another endpoint is ever used"),
    Row(46, "there is no member that says that a call failed", "all", "the result begins with `Error:`"),
    Row(47, "fourteen forms of error bodies", "all", "the server's words, code and request id in a typed error"),
    Row(48, "seven ways to say when to come back", "all", "keeps to them up to a limit; never asks again for quota"),
    Row(49, "ten ways to say that the context is too long", "all", "`ContextTooLong`, with the numbers where they were said"),
    Row(50, "failures that pass", "all", "asks again, tells it, and never after text was shown"),
]  # fmt: skip
