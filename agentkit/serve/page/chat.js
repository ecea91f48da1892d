"use strict";
const $ = (id) => document.getElementById(id);
const BASE = location.pathname.replace(/[^/]*$/, "");
const STORED = document.body.dataset.sessions === "yes";
const AGENTS = document.body.dataset.agents === "yes";

// The token stands behind # in the address that the server prints; there the browser sends it to nobody.
let token = new URLSearchParams(location.hash.slice(1)).get("token") || sessionStorage.getItem("agentkit-token") || "";
if (token) sessionStorage.setItem("agentkit-token", token);
if (location.hash) history.replaceState(null, "", location.pathname);

class ServerError extends Error {}

async function send(path, { method = "GET", body, signal } = {}) {
  const headers = body === undefined ? {} : { "content-type": "application/json" };
  if (token) headers.authorization = `Bearer ${token}`;
  const options = { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) };
  const response = await fetch(BASE + path, options).catch((error) => {
    if (error.name === "AbortError") throw error;
    throw new ServerError("The server cannot be reached. Is it still running?");
  });
  if (response.ok) return response;
  if (response.status === 401 && (await askForToken())) return send(path, { method, body, signal });
  const failed = await response.json().catch(() => ({}));
  throw new ServerError(failed.error?.message || `The server answered with the status ${response.status}.`);
}

const getJson = async (path, options) => (await send(path, options)).json();

function askForToken() {
  return new Promise((resolve) => {
    const dialog = $("token-dialog");
    dialog.returnValue = "";
    dialog.onclose = () => {
      if (dialog.returnValue !== "ok" || !$("token").value.trim()) return resolve(false);
      token = $("token").value.trim();
      sessionStorage.setItem("agentkit-token", token);
      resolve(true);
    };
    if (!dialog.open) dialog.showModal();
  });
}

async function* chunks(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const rows = (rest + value).split("\n");
    rest = rows.pop();
    for (const row of rows) {
      if (!row.startsWith("data: ") || row === "data: [DONE]") continue;
      const chunk = JSON.parse(row.slice(6));
      if (chunk.error) throw new ServerError(chunk.error.message);
      yield chunk;
    }
  }
}

// Characters that could hide or reorder what a person approves are shown by their number.
const visible = (text) =>
  text.replace(/[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu, (each) =>
    each === "\n" || each === "\t" ? each : [...Array(each.length).keys()].map((at) => `\\u${each.charCodeAt(at).toString(16).padStart(4, "0")}`).join(""));

function pretty(value) {
  if (typeof value !== "string") return visible(JSON.stringify(value, null, 2));
  try {
    return visible(JSON.stringify(JSON.parse(value), null, 2));
  } catch {
    return visible(value);
  }
}

const seconds = (value) => (value < 10 ? `${value.toFixed(1)} s` : `${Math.round(value)} s`);

function button(text, action, className = "", label = "") {
  const made = node("button", className, text);
  made.type = "button";
  if (label) made.setAttribute("aria-label", label);
  made.addEventListener("click", action);
  return made;
}

function fold(className, title, open = false) {
  const made = node("details", className, node("summary", "", title));
  made.open = open;
  return made;
}

// Parts of a message, as the API has them.
function media(part) {
  const address = part.image_url?.url || part.file?.file_data || "";
  if (part.type === "image_url") return picture(address, "an image");
  if (part.type === "input_audio") {
    const made = node("audio");
    made.controls = true;
    made.src = `data:audio/${part.input_audio.format};base64,${part.input_audio.data}`;
    return made;
  }
  const made = node("a", "file", part.file?.filename || "file");
  made.download = part.file?.filename || "file";
  if (address.startsWith("data:")) made.href = address;
  return made;
}

const partsOf = (content) => (typeof content === "string" ? [{ type: "text", text: content }] : content || []);
const textOf = (content) => partsOf(content).filter((each) => each.type === "text").map((each) => each.text).join("\n");

// A call of a tool: as it is written, while it runs, and what came of it.
class CallView {
  constructor(name) {
    this.name = name;
    this.written = "";
    this.icon = node("span", "icon waiting");
    this.preview = node("span", "preview");
    this.time = node("span", "time");
    this.state = node("span", "visually-hidden", "is being written");
    this.given = node("pre", "arguments");
    this.given.tabIndex = 0;
    this.body = node("div", "call-body", this.given);
    this.title = node("b", "", name);
    this.element = node("details", "call", node("summary", "", this.icon, this.title, this.preview, this.time, this.state), this.body);
  }

  write(text) {
    this.written += text;
    this.show(this.written);
  }

  show(given) {
    this.given.textContent = pretty(given);
    this.preview.textContent = visible(typeof given === "string" ? given : JSON.stringify(given)).slice(0, 200);
  }

  start(call) {
    this.icon.className = "icon running";
    this.state.textContent = "is running";
    this.title.textContent = this.name = call.function?.name || call.custom?.name || this.name;
    this.show(call.function?.arguments ?? call.custom?.input ?? this.written);
    this.started = performance.now();
    this.clock = setInterval(() => (this.time.textContent = seconds((performance.now() - this.started) / 1000)), 500);
  }

  progress(event) {
    if (!this.bar) {
      this.bar = node("progress");
      this.bar.setAttribute("aria-label", `progress of ${this.name}`);
      this.note = node("span", "note");
      this.element.after((this.moving = node("div", "progress", this.bar, this.note)));
    }
    if (event.fraction === null) this.bar.removeAttribute("value");
    else this.bar.value = event.fraction;
    if (event.message) this.note.textContent = event.message;
  }

  finish(result, taken) {
    clearInterval(this.clock);
    this.moving?.remove();
    this.icon.className = result.is_error ? "icon failed" : "icon done";
    this.state.textContent = result.is_error ? "has failed" : "is done";
    if (taken !== undefined) this.time.textContent = seconds(taken);
    const shown = node("pre", result.is_error ? "result failed" : "result", pretty(result.content));
    shown.tabIndex = 0;
    this.body.append(node("div", "label", result.is_error ? "Error" : "Result"), shown);
    this.attach(result.files || []);
  }

  attach(files) {
    if (files.length) this.element.after(node("div", "files", ...files.map(media)));
  }

  stop() {
    clearInterval(this.clock);
    this.moving?.remove();
    if (this.icon.classList.contains("running")) {
      this.icon.className = "icon stopped";
      this.state.textContent = "was stopped";
    }
  }
}

// A run: its turns, each with reasoning, text and calls. Nested runs stand below the call that they belong to.
class RunView {
  constructor() {
    this.element = node("div", "run");
    this.calls = new Map();
    this.sources = [];
    this.turn();
  }

  turn() {
    this.current = node("div", "turn");
    this.element.append(this.current);
    this.reset();
  }

  reset() {
    this.words = this.thought = null;
    this.byIndex = new Map();
  }

  discard() {
    this.sources = this.sources.filter((each) => !this.current.contains(each.element));
    this.current.replaceChildren();
    this.reset();
  }

  text(delta) {
    this.thought = null;
    if (!this.words) {
      this.sources.push((this.words = new Markdown()));
      this.current.append(this.words.element);
    }
    this.words.append(delta);
  }

  reasoning(delta) {
    this.words = null;
    if (!this.thought) {
      this.thought = new Markdown("thought");
      const folded = fold("reasoning", "Reasoning");
      folded.append(this.thought.element);
      this.current.append(folded);
    }
    this.thought.append(delta);
  }

  note(text, className = "") {
    this.current.append(node("p", `aside ${className}`, visible(text)));
  }

  call(id, name) {
    this.words = this.thought = null;
    const found = new CallView(name);
    if (id) this.calls.set(id, found);
    this.current.append(found.element);
    return found;
  }

  stop() {
    for (const each of this.calls.values()) each.stop();
    for (const each of this.byIndex.values()) each.stop();
  }
}

const NOTES = {
  Retrying: () => "The request failed and is sent again.",
  RequestAdapted: () => "The server refused the request; it is sent again in another form.",
  LimitWarning: (event) => `Most of a limit is used: ${event.limit ?? ""}`,
  CallRetried: (event) => `${event.tool ?? "A call"} failed and runs again.`,
  ReplyRepaired: (event) => event.what ?? "",
  CallRepaired: (event) => event.what ?? "",
};

// What the agent says and does between two messages of the person.
class AnswerView {
  constructor() {
    this.main = new RunView();
    this.runs = new Map();
    this.waiting = node("div", "typing", node("span"), node("span"), node("span"));
    this.waiting.setAttribute("aria-hidden", "true");
    this.foot = node("div", "foot");
    this.element = node("article", "message assistant", node("h2", "visually-hidden", "Answer"), this.main.element, this.waiting, this.foot);
  }

  // The view of the run that an event comes from; of a nested one, below its call.
  run(origin) {
    if (!origin || !origin.path.length) {
      if (origin) this.runs.set(origin.run_id, this.main);
      return this.main;
    }
    let found = this.runs.get(origin.run_id);
    if (found) return found;
    const cut = origin.run_id.lastIndexOf(":call:");
    const call = this.runs.get(origin.run_id.slice(0, cut))?.calls.get(origin.run_id.slice(cut + 6));
    found = new RunView();
    found.element.classList.add("nested");
    found.element.prepend(node("div", "label", origin.agent ? `Agent ${origin.agent}` : origin.path.join(" › ")));
    (call?.body || this.main.current).append(found.element);
    if (call) call.element.open = true;
    this.runs.set(origin.run_id, found);
    return found;
  }

  event(event) {
    const run = this.run(event.origin);
    switch (event.event) {
      case "TurnStarted":
        return void (run.current.childElementCount && run.turn());
      case "ReasoningDelta":
        return run.reasoning(event.text);
      case "TextDelta":
        return run.text(event.text);
      case "CallDelta": {
        let call = run.byIndex.get(event.index);
        if (!call) run.byIndex.set(event.index, (call = run.call(event.call_id, event.name)));
        return call.write(event.arguments);
      }
      case "CallStarted":
        return (run.calls.get(event.call.id) || run.call(event.call.id, "")).start(event.call);
      case "Progress":
        return run.calls.get(event.call_id)?.progress(event);
      case "CallFinished":
        return (run.calls.get(event.call.id) || run.call(event.call.id, event.call.function?.name)).finish(event.result, event.seconds);
      case "MessageAdded":
        return run.note(`Added: ${textOf(event.message.content)}`);
      case "DeltasDiscarded":
      case "Retrying":
      case "RequestAdapted":
        run.discard();
        if (NOTES[event.event]) run.note(NOTES[event.event](event));
        return undefined;
      case "RunFinished":
        run.stop();
        if (event.origin?.path.length && event.error) run.note(event.error.message, "bad");
        return undefined;
      default:
        if (NOTES[event.event]) run.note(NOTES[event.event](event));
        return undefined;
    }
  }

  end() {
    this.waiting.remove();
    for (const each of [this.main, ...this.runs.values()]) each.stop();
  }

  // The text of the answer, as the model wrote it.
  get text() {
    return this.main.sources.map((each) => each.text.trim()).filter(Boolean).join("\n\n");
  }
}

// A decision about calls that wait: all arguments are shown, and nothing is sent until each call is decided.
function askToDecide(pending, decided) {
  const decisions = new Map();
  const cards = pending.map((call) => {
    const given = node("textarea", "arguments", "");
    given.value = pretty(call.arguments);
    given.readOnly = true;
    given.rows = Math.min(18, given.value.split("\n").length);
    given.setAttribute("aria-label", `arguments of ${call.name}`);
    const why = node("input", "why");
    why.placeholder = call.external ? "Your answer" : "Reason for refusing (optional)";
    why.setAttribute("aria-label", why.placeholder);
    const note = node("p", "bad");
    note.setAttribute("role", "alert");
    const actions = node("div", "actions");
    const card = node("section", "decision", node("h3", "", [...call.path, call.name].join(" › ")),
      node("p", "reason", visible(call.reason || "")), given, why, actions, note);
    card.setAttribute("aria-label", `decide about ${call.name}`);
    const decide = (decision, words) => {
      if (decision.approve && !given.readOnly) {
        try {
          decision.arguments = JSON.parse(given.value);
        } catch (error) {
          note.textContent = `The arguments are not JSON: ${error.message}`;
          return;
        }
      }
      decisions.set(call.id, { id: call.id, ...decision });
      card.classList.add("decided");
      card.replaceChildren(node("b", "", [...call.path, call.name].join(" › ")), ` · ${words}`);
      const next = cards.find((each) => each.querySelector("button"));
      if (next) next.querySelector("button").focus();
      else decided([...decisions.values()]);
    };
    if (call.external) {
      actions.append(
        button("Answer", () => decide({ answer: why.value }, `Answered: ${why.value}`), "primary"),
        button("Refuse", () => decide({ approve: false, reason: why.value }, "Refused")),
      );
    } else {
      actions.append(
        button("Allow", () => decide({ approve: true }, "Allowed"), "primary"),
        button("Always allow", () => decide({ approve: true, always: "tool" }, "Allowed, and later calls of this tool too")),
        button("Edit", (event) => {
          given.readOnly = false;
          event.target.remove();
          given.focus();
        }),
        button("Refuse", () => decide({ approve: false, reason: why.value }, why.value ? `Refused: ${why.value}` : "Refused")),
      );
    }
    return card;
  });
  return cards;
}

// ---- The conversation

const log = $("log");
let current = newConversation();
let running = null; // the AbortController of the answer that is on its way

function newConversation(name = "") {
  return { name, messages: [], length: 0 };
}

function say(text, bad = false) {
  $("status").textContent = text;
  $("status").className = bad ? "bad" : "";
}

const atEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 120;

function follow(work) {
  const follows = atEnd();
  work();
  if (follows) requestAnimationFrame(() => (log.scrollTop = log.scrollHeight));
}

function userView(content, place) {
  const shown = node("div", "bubble", node("div", "words", textOf(content)));
  shown.firstChild.dir = "auto";
  const others = partsOf(content).filter((each) => each.type !== "text");
  if (others.length) shown.append(node("div", "files", ...others.map(media)));
  const edit = button("Edit", () => editMessage(view, content, place), "quiet", "Edit and send again");
  const view = node("article", "message user", node("h2", "visually-hidden", "You"), shown, node("div", "foot", edit));
  return view;
}

function editMessage(view, content, place) {
  if (running) return;
  const text = node("textarea", "edit");
  text.value = textOf(content);
  text.rows = Math.min(12, text.value.split("\n").length + 1);
  text.setAttribute("aria-label", "Edit your message");
  const before = [...view.childNodes];
  const save = async () => {
    const others = partsOf(content).filter((each) => each.type !== "text");
    const changed = others.length ? [{ type: "text", text: text.value }, ...others] : text.value;
    await askFrom(view, place, changed);
  };
  text.addEventListener("keydown", (event) => {
    if (event.key === "Escape") view.replaceChildren(...before);
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      save();
    }
  });
  const actions = node("div", "actions", button("Send", save, "primary"), button("Cancel", () => view.replaceChildren(...before)));
  view.replaceChildren(text, actions);
  text.focus();
}

// Asks anew from a message on: a stored conversation is branched there, so that the old one stays as it is.
async function askFrom(view, place, content) {
  if (STORED) {
    const name = nextName(current.name);
    try {
      if (place) await send(`v1/sessions/${encodeURIComponent(current.name)}/branch`, { method: "POST", body: { name, messages: place } });
    } catch (error) {
      return say(error.message, true);
    }
    current = { name, messages: [], length: place };
  } else current.messages.length = place;
  while (view.nextSibling) view.nextSibling.remove();
  view.remove();
  await ask(content);
  return undefined;
}

// The name of a conversation without what makes it unique.
const shownName = (name) => name.replace(/ ~[0-9a-z]{4}(?= \(\d+\)$|$)/, "");
const nextName = (name) => name.replace(/( \((\d+)\))?$/, (_all, _group, number) => ` (${Number(number || 1) + 1})`);

async function ask(content) {
  const place = STORED ? current.length : current.messages.length;
  const question = userView(content, place);
  if (STORED && !current.name) current.name = `${textOf(content).replace(/\s+/g, " ").trim().slice(0, 48) || "Conversation"} ~${Date.now().toString(36).slice(-4)}`;
  current.messages.push({ role: "user", content });
  follow(() => log.append(question));
  log.scrollTop = log.scrollHeight;
  const body = { model: $("model").value, stream: true, stream_options: { include_usage: true } };
  body.messages = STORED ? [{ role: "user", content }] : current.messages;
  if (AGENTS) body.agentkit = STORED ? { events: true, session: current.name } : { events: true };
  const answer = new AnswerView();
  log.append(answer.element);
  const retry = () => askFrom(question, place, content);
  await read("v1/chat/completions", body, answer, retry);
}

// Reads an answer into its view, and what it then waits for.
async function read(path, body, answer, retry) {
  const controller = (running = new AbortController());
  const began = performance.now();
  let usage = null;
  let end = null;
  let failed = "";
  busy(true);
  say("Answering");
  try {
    const response = await send(path, { method: "POST", body, signal: controller.signal });
    for await (const chunk of chunks(response)) {
      usage = chunk.usage || usage;
      follow(() => {
        const delta = chunk.choices[0]?.delta;
        if (delta?.reasoning_content && !AGENTS) answer.main.reasoning(delta.reasoning_content);
        if (delta?.content) answer.main.text(delta.content);
        if (delta?.refusal) answer.main.text(delta.refusal);
        if (chunk.agentkit?.event) answer.event(chunk.agentkit.event);
        if (chunk.agentkit?.status) end = chunk.agentkit;
      });
    }
  } catch (error) {
    failed = error.name === "AbortError" ? "Stopped." : error.message;
  }
  answer.end();
  running = null;
  busy(false);
  if (failed) answer.main.note(failed, failed === "Stopped." ? "" : "bad");
  if (end?.status === "limited" && end.limit) answer.main.note(`Stopped at ${end.limit}.`);
  const figures = [usage && `${usage.total_tokens.toLocaleString()} tokens`, seconds((performance.now() - began) / 1000)];
  answer.foot.replaceChildren(node("span", "", figures.filter(Boolean).join(" · ")),
    button("Copy", () => navigator.clipboard.writeText(answer.text), "quiet", "Copy the answer"),
    ...(retry ? [button("Regenerate", retry, "quiet", "Ask again")] : []));
  if (!STORED) current.messages.push({ role: "assistant", content: answer.text || failed || "…" });
  if (end?.pending?.length) showPending(answer, end.run_id, end.pending, retry);
  say(failed || (end?.pending?.length ? "Waiting for your decision" : "Done"), Boolean(failed) && failed !== "Stopped.");
  if (STORED) await loadSessions();
  if (!end?.pending?.length) $("prompt").focus();
}

function showPending(answer, runId, pending, retry) {
  const cards = askToDecide(pending, async (decisions) => {
    if (!STORED) current.messages.pop();
    answer.element.append(answer.waiting, answer.foot);
    const body = { decisions, stream: true, stream_options: { include_usage: true }, agentkit: { events: true } };
    answer.main.turn();
    await read(`v1/runs/${encodeURIComponent(runId)}/decisions`, body, answer, retry);
  });
  follow(() => answer.main.current.append(...cards));
  cards[0].querySelector("button").focus();
}

function busy(on) {
  log.setAttribute("aria-busy", String(on));
  $("send").hidden = on;
  $("stop").hidden = !on;
  document.body.classList.toggle("busy", on);
}

// ---- Stored conversations

async function loadSessions() {
  if (!STORED) return;
  const { data } = await getJson("v1/sessions").catch(() => ({ data: [] }));
  const found = data.find((each) => each.id === current.name);
  if (found) current.length = found.messages;
  $("sessions").replaceChildren(...data.map((each) => {
    const open = button("", () => openSession(each.id), each.id === current.name ? "session current" : "session");
    open.append(node("span", "name", shownName(each.id)));
    open.title = `${each.id}: ${each.messages} messages, ${new Date(each.updated * 1000).toLocaleString()}`;
    if (each.id === current.name) open.setAttribute("aria-current", "page");
    if (each.status === "paused") open.append(node("span", "badge", "waits"));
    const remove = button("✕", () => deleteSession(each.id), "quiet", `Delete ${shownName(each.id)}`);
    return node("li", "", open, remove);
  }));
}

async function deleteSession(name) {
  if (!confirm(`Delete the conversation “${shownName(name)}”?`)) return;
  try {
    await send(`v1/sessions/${encodeURIComponent(name)}`, { method: "DELETE" });
  } catch (error) {
    return void say(error.message, true);
  }
  if (name === current.name) startNew();
  await loadSessions();
}

async function openSession(name) {
  if (running) return;
  document.body.classList.remove("menu");
  try {
    const session = await getJson(`v1/sessions/${encodeURIComponent(name)}`);
    current = { name, messages: [], length: session.messages.length };
    showMessages(session);
    await loadSessions();
    say("");
  } catch (error) {
    say(error.message, true);
  }
}

function showMessages(session) {
  log.replaceChildren();
  let answer = null;
  let last = null;
  session.messages.forEach((message, place) => {
    const follows = session.messages[place - 1]?.role === "tool" && textOf(message.content).startsWith("Attached to the result of");
    if (message.role === "user" && !follows) {
      answer?.end();
      answer = null;
      last = { place, content: message.content, view: userView(message.content, place) };
      log.append(last.view);
      return;
    }
    if (!answer) {
      answer = new AnswerView();
      const { place: from, content, view } = last || {};
      if (view) answer.foot.append(button("Regenerate", () => askFrom(view, from, content), "quiet", "Ask again"));
      log.append(answer.element);
    }
    if (message.role === "assistant") {
      answer.main.turn();
      if (message.content) answer.main.text(textOf(message.content));
      for (const call of message.tool_calls || []) {
        const made = answer.main.call(call.id, call.function?.name || call.custom?.name);
        made.show(call.function?.arguments ?? call.custom?.input);
      }
    } else if (message.role === "tool") answer.main.calls.get(message.tool_call_id)?.finish({ content: textOf(message.content), is_error: textOf(message.content).startsWith("Error") });
    else if (follows) answer.main.current.append(node("div", "files", ...partsOf(message.content).filter((each) => each.type !== "text").map(media)));
  });
  answer?.waiting.remove();
  if (session.pending?.length) {
    if (!answer) log.append((answer = new AnswerView()).element);
    answer.waiting.remove();
    showPending(answer, session.run_id, session.pending, null);
  } else answer?.end();
  requestAnimationFrame(() => (log.scrollTop = log.scrollHeight));
}

function startNew() {
  if (running) return;
  current = newConversation();
  log.replaceChildren();
  document.body.classList.remove("menu");
  say("");
  loadSessions();
  $("prompt").focus();
}

// ---- Writing

let attached = [];

function readFile(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(new ServerError(`${file.name} cannot be read.`));
    reader.readAsDataURL(file);
  });
}

async function partOf(file) {
  const address = await readFile(file);
  const base64 = address.slice(address.indexOf(",") + 1);
  if (/^image\/(png|jpeg|gif|webp)$/.test(file.type)) return { type: "image_url", image_url: { url: address } };
  const audio = { "audio/wav": "wav", "audio/x-wav": "wav", "audio/mpeg": "mp3" }[file.type];
  if (audio) return { type: "input_audio", input_audio: { data: base64, format: audio } };
  if (file.size < 400_000) {
    try {
      const text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
      if (!text.includes("\0")) return { type: "text", text: `The file ${file.name}:\n\n${text}` };
    } catch {
      // not text: it is sent as a file
    }
  }
  return { type: "file", file: { filename: file.name, file_data: address } };
}

async function attach(files) {
  for (const file of files) {
    if (file.size > 20_000_000) {
      say(`${file.name} is larger than 20 MB.`, true);
      continue;
    }
    const part = await partOf(file);
    attached.push({ name: file.name, part });
  }
  showAttached();
}

function showAttached() {
  $("attached").replaceChildren(...attached.map((each) => node("li", "",
    ...(each.part.type === "image_url" ? [media(each.part)] : []), node("span", "", each.name),
    button("✕", () => {
      attached = attached.filter((other) => other !== each);
      showAttached();
    }, "quiet", `Remove ${each.name}`))));
}

function submit() {
  const text = $("prompt").value.trim();
  if (running || (!text && !attached.length)) return;
  if (log.querySelector(".decision:not(.decided) button")) return say("Decide about the calls that wait first.", true);
  const parts = attached.map((each) => each.part);
  attached = [];
  showAttached();
  $("prompt").value = "";
  grow();
  ask(parts.length ? [...(text ? [{ type: "text", text }] : []), ...parts] : text);
}

function grow() {
  $("prompt").style.height = "auto";
  $("prompt").style.height = `${Math.min($("prompt").scrollHeight, 240)}px`;
}

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
$("prompt").addEventListener("input", grow);
$("prompt").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    submit();
  }
});
$("prompt").addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) {
    event.preventDefault();
    attach(event.clipboardData.files);
  }
});
$("attach").addEventListener("click", () => $("files").click());
$("files").addEventListener("change", async () => {
  await attach($("files").files);
  $("files").value = "";
});
$("stop").addEventListener("click", () => running?.abort());
$("new").addEventListener("click", startNew);
$("menu").addEventListener("click", () => {
  const open = document.body.classList.toggle("menu");
  $("menu").setAttribute("aria-expanded", String(open));
});
$("theme").addEventListener("click", () => {
  const dark = getComputedStyle(document.documentElement).colorScheme.trim() === "dark" || (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("agentkit-theme", document.documentElement.dataset.theme);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    if (running) running.abort();
    document.body.classList.remove("menu");
  }
  if (event.key.toLowerCase() === "o" && event.shiftKey && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    startNew();
  }
});
for (const kind of ["dragover", "drop"])
  document.addEventListener(kind, (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    if (kind === "drop") attach(event.dataTransfer.files);
  });

const theme = localStorage.getItem("agentkit-theme");
if (theme) document.documentElement.dataset.theme = theme;

(async () => {
  try {
    const { data } = await getJson("v1/models");
    $("model").replaceChildren(...data.map((each) => node("option", "", each.id)));
    $("model").hidden = $("model-label").hidden = data.length < 2;
    $("title").textContent = data.length === 1 ? data[0].id : "agentkit";
    await loadSessions();
  } catch (error) {
    say(error.message, true);
  }
  $("prompt").focus();
})();
