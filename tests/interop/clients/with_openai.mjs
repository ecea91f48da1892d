// The official client for Node: create, stream, parse, and its helper that runs tools.
import assert from "node:assert";
import OpenAI from "openai";

const [HELLO, QUESTION, SUNNY] = process.argv.slice(4);
const client = new OpenAI({ baseURL: process.argv[2], apiKey: process.argv[3] });
const ask = { model: "agent", messages: [{ role: "user", content: "hi" }] };
assert.equal((await client.chat.completions.create(ask)).choices[0].message.content, HELLO);
let text = "";
for await (const chunk of await client.chat.completions.create({ ...ask, stream: true })) text += chunk.choices[0]?.delta.content ?? "";
assert.equal(text, HELLO);
const asked = { model: "agent", messages: [{ role: "user", content: QUESTION }] };
const schema = { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false };
const place = await client.chat.completions.parse({ ...asked, response_format: { type: "json_schema", json_schema: { name: "place", schema, strict: true } } });
assert.deepEqual(JSON.parse(place.choices[0].message.content), { city: "Paris" });
for (const stream of [false, true]) {
  const weather = { type: "function", function: { name: "weather", parameters: schema, function: () => "sunny", parse: JSON.parse } };
  const runner = client.chat.completions.runTools({ ...asked, stream, tools: [weather] });
  assert((await runner.finalContent()).includes(SUNNY));
}
