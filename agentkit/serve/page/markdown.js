// Markdown as DOM nodes. Nothing is ever parsed as HTML, and nothing is loaded: links are followed by clicking only.

const INLINE = new RegExp(
  [
    "(?<code>`+)(?<codeText>[^]*?[^`])\\k<code>(?!`)",
    "!\\[(?<alt>[^\\]\\n]*)\\]\\((?<image>[^)\\s]+)\\)",
    "\\[(?<label>[^\\]\\n]+)\\]\\((?<href>[^)\\s]+)(?:\\s+\"[^\"\\n]*\")?\\)",
    "(?<strong>\\*\\*|__)(?=\\S)(?<strongText>[^]*?\\S)\\k<strong>",
    "(?<![\\w*])(?<em>[*_])(?=[^\\s*_])(?<emText>[^]*?[^\\s*_])\\k<em>(?!\\w)",
    "~~(?=\\S)(?<strike>[^]*?\\S)~~",
    "(?<url>https?://[^\\s<>\"')\\]]+[^\\s<>\"')\\].,;:!?])",
    "\\\\(?<escaped>[!-/:-@[-`{-~])",
  ].join("|"),
  "g",
);

function node(name, className, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

function link(address, ...children) {
  if (!/^(https?:|mailto:)/i.test(address)) return node("span", "", ...children, ` (${address})`);
  const made = node("a", "", ...children);
  made.href = address;
  made.target = "_blank";
  made.rel = "noopener noreferrer";
  return made;
}

function picture(address, alt) {
  if (!/^data:image\/(png|jpeg|gif|webp);base64,/i.test(address)) return link(address, alt || "image");
  const made = node("img");
  made.src = address;
  made.alt = alt;
  return made;
}

function inline(text, depth = 0) {
  const nodes = [];
  let at = 0;
  if (depth > 8) return [text];
  for (const match of text.matchAll(INLINE)) {
    if (match.index < at) continue;
    if (match.index > at) nodes.push(text.slice(at, match.index));
    const found = match.groups;
    if (found.code) nodes.push(node("code", "", found.codeText.replace(/^ (.+) $/, "$1")));
    else if (found.image) nodes.push(picture(found.image, found.alt));
    else if (found.href) nodes.push(link(found.href, ...inline(found.label, depth + 1)));
    else if (found.strong) nodes.push(node("strong", "", ...inline(found.strongText, depth + 1)));
    else if (found.em) nodes.push(node("em", "", ...inline(found.emText, depth + 1)));
    else if (found.strike) nodes.push(node("s", "", ...inline(found.strike, depth + 1)));
    else if (found.url) nodes.push(link(found.url, found.url));
    else nodes.push(found.escaped);
    at = match.index + match[0].length;
  }
  if (at < text.length) nodes.push(text.slice(at));
  return nodes;
}

function lines(text) {
  return text.split("\n").flatMap((line, number) => (number ? [node("br"), ...inline(line)] : inline(line)));
}

function codeBlock(language, code) {
  const copy = node("button", "copy", "Copy");
  copy.type = "button";
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(code);
    copy.textContent = "Copied";
    setTimeout(() => (copy.textContent = "Copy"), 1500);
  });
  const pre = node("pre", "", node("code", "", code));
  pre.tabIndex = 0;
  return node("div", "code", node("div", "code-head", node("span", "", language), copy), pre);
}

const cells = (row) => row.replace(/^\s*\|?|\|?\s*$/g, "").split(/(?<!\\)\|/).map((each) => each.trim());

function table(rows) {
  const [head, marks, ...body] = rows;
  const sides = cells(marks).map((each) => (each.endsWith(":") ? (each.startsWith(":") ? "center" : "end") : ""));
  const row = (name, text) =>
    node("tr", "", ...cells(text).map((each, place) => node(name, sides[place] || "", ...inline(each))));
  const made = node("table", "", node("thead", "", row("th", head)), node("tbody", "", ...body.map((r) => row("td", r))));
  return node("div", "table", made);
}

const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;

function list(rows) {
  const [, , mark] = rows[0].match(ITEM);
  const made = node(/\d/.test(mark) ? "ol" : "ul");
  if (/\d/.test(mark)) made.start = parseInt(mark, 10);
  const indent = rows[0].match(/^\s*/)[0].length;
  let item = null;
  for (const row of rows) {
    const found = row.match(ITEM);
    if (found && found[1].length <= indent + 1) made.append((item = { text: [found[3]], element: node("li") }).element);
    else if (item) item.text.push(row.slice(Math.min(row.match(/^\s*/)[0].length, indent + 2)));
    if (item) item.element.replaceChildren(...listItem(item.text));
  }
  return made;
}

function listItem(rows) {
  const nested = rows.findIndex((row, number) => number && (ITEM.test(row) || !row.trim() || /^ {0,3}```/.test(row)));
  const own = nested < 0 ? rows : rows.slice(0, nested);
  const task = own[0].match(/^\[([ xX])\]\s+(.*)$/);
  const text = task ? [`${task[1] === " " ? "☐" : "☑"} ${task[2]}`, ...own.slice(1)] : own;
  return [...lines(text.join("\n")), ...(nested < 0 ? [] : blocks(rows.slice(nested).join("\n")))];
}

// Nodes of a whole text.
function blocks(text) {
  const rows = text.split("\n");
  const made = [];
  let at = 0;
  const take = (test) => {
    const from = at;
    while (at < rows.length && test(rows[at], at - from)) at += 1;
    return rows.slice(from, at);
  };
  while (at < rows.length) {
    const row = rows[at];
    const fence = row.match(/^\s{0,3}(`{3,}|~{3,})\s*([\w+#.-]*)/);
    const heading = row.match(/^(#{1,6})\s+(.*?)\s*#*\s*$/);
    if (!row.trim()) at += 1;
    else if (fence) {
      at += 1;
      const code = take((each) => !each.trim().startsWith(fence[1]) || each.trim().replaceAll(fence[1][0], ""));
      at += 1;
      made.push(codeBlock(fence[2], code.join("\n")));
    } else if (heading) {
      at += 1;
      made.push(node(`h${Math.min(6, heading[1].length + 2)}`, "", ...inline(heading[2])));
    } else if (/^\s{0,3}([-*_])(\s*\1){2,}\s*$/.test(row)) {
      at += 1;
      made.push(node("hr"));
    } else if (/^\s{0,3}>/.test(row)) {
      const quoted = take((each) => /^\s{0,3}>/.test(each)).map((each) => each.replace(/^\s{0,3}> ?/, ""));
      made.push(node("blockquote", "", ...blocks(quoted.join("\n"))));
    } else if (ITEM.test(row)) {
      made.push(list(take((each, n) => !n || ITEM.test(each) || /^\s{2,}\S/.test(each) || (!each.trim() && /^\s*([-*+]|\d{1,9}[.)])\s|^\s{2,}\S/.test(rows[at + 1] || "")))));
    } else if (row.includes("|") && /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/.test(rows[at + 1] || "")) {
      made.push(table(take((each) => each.includes("|"))));
    } else {
      const paragraph = take((each, n) => !n || (each.trim() && !/^\s{0,3}(#{1,6}\s|>|`{3,}|~{3,})/.test(each) && !ITEM.test(each)));
      made.push(node("p", "", ...lines(paragraph.join("\n"))));
    }
  }
  return made;
}

// Text that grows: finished blocks are made once, so that a long answer costs what its end costs.
class Markdown {
  constructor(className) {
    this.element = node("div", `markdown ${className || ""}`);
    this.element.dir = "auto";
    this.text = "";
    this.open = "";
    this.tail = [];
    this.asked = false;
  }

  append(text) {
    this.text += text;
    this.open += text;
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.asked = false;
    const end = finished(this.open);
    for (const each of this.tail) each.remove();
    if (end) this.element.append(...blocks(this.open.slice(0, end)));
    this.open = this.open.slice(end);
    this.tail = blocks(this.open);
    this.element.append(...this.tail);
  }
}

// Where the last block begins that may still grow: behind an empty line outside of code, before something at the margin.
function finished(text) {
  let end = 0;
  let fence = "";
  for (const match of text.matchAll(/^\s{0,3}(`{3,}|~{3,}).*$|\n\n(?=[^\s])/gm)) {
    if (match[1]) fence = fence ? (match[1].startsWith(fence) ? "" : fence) : match[1];
    else if (!fence && !ITEM.test(text.slice(match.index + 2).split("\n", 1)[0])) end = match.index + 2;
  }
  return end;
}
