// The Vercel AI SDK: generateText, streamText, a tool that it runs.
import assert from "node:assert";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const [HELLO, QUESTION, SUNNY] = process.argv.slice(4);
const provider = createOpenAICompatible({ name: "agentkit", baseURL: process.argv[2], apiKey: process.argv[3] });
const model = provider("agent");
assert.equal((await generateText({ model, prompt: "hi" })).text, HELLO);
let text = "";
for await (const delta of streamText({ model, prompt: "hi" }).textStream) text += delta;
assert.equal(text, HELLO);
const weather = tool({ description: "Tell the weather.", inputSchema: z.object({ city: z.string() }), execute: async () => "sunny" });
const done = await generateText({ model, prompt: QUESTION, tools: { weather }, stopWhen: stepCountIs(3) });
assert(done.text.includes(SUNNY));
