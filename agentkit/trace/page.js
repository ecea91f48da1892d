"use strict";
const $ = (id) => document.getElementById(id);
const main = $("main");

// Search: what does not hold the words is hidden, what holds them is opened and marked.
function search() {
  const words = $("search").value.trim().toLowerCase();
  const rows = [...main.querySelectorAll(".row")];
  let count = 0;
  for (const row of rows) {
    const found = !words || row.textContent.toLowerCase().includes(words);
    row.classList.toggle("hidden", !found);
    const notes = row.nextElementSibling;
    if (notes && notes.classList.contains("notes")) {
      const noted = words && notes.textContent.toLowerCase().includes(words);
      notes.classList.toggle("hidden", !(found || noted));
      if (noted) row.classList.remove("hidden");
    }
    if (words && !row.classList.contains("hidden")) {
      count += 1;
      row.open = found;
    }
  }
  if (words) for (const each of main.querySelectorAll(".section, .run"))
    if (each.textContent.toLowerCase().includes(words)) each.open = true;
  $("found").textContent = words ? `${count} of ${rows.length}` : "";
  mark(words);
}

function mark(words) {
  if (!window.Highlight) return;
  CSS.highlights.delete("found");
  if (!words) return;
  const ranges = [];
  const walker = document.createTreeWalker(main, NodeFilter.SHOW_TEXT);
  while (walker.nextNode() && ranges.length < 2000) {
    const text = walker.currentNode.data.toLowerCase();
    for (let at = text.indexOf(words); at >= 0; at = text.indexOf(words, at + words.length)) {
      const range = new Range();
      range.setStart(walker.currentNode, at);
      range.setEnd(walker.currentNode, at + words.length);
      ranges.push(range);
    }
  }
  CSS.highlights.set("found", new Highlight(...ranges));
}

$("search").addEventListener("input", search);
$("expand").addEventListener("click", () => {
  const all = [...main.querySelectorAll("details")];
  const open = all.some((each) => !each.open);
  for (const each of all) each.open = open || each.classList.contains("run");
  $("expand").textContent = open ? "Fold all" : "Expand all";
});
$("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});

// A run that is not over: the page asks for its content until it is, and keeps what is open.
async function follow() {
  let version = "";
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, 400));
    if (!getSelection().isCollapsed) continue; // somebody is copying
    let answer;
    try {
      answer = await fetch(`runs?version=${version}`);
    } catch {
      return; // the command has ended
    }
    if (answer.status === 200) {
      version = answer.headers.get("x-version");
      const open = new Map([...main.querySelectorAll("details[id]")].map((each) => [each.id, each.open]));
      const focused = document.activeElement.closest("details[id]")?.id;
      main.innerHTML = await answer.text();
      for (const each of main.querySelectorAll("details[id]")) if (open.has(each.id)) each.open = open.get(each.id);
      if (focused) $(focused)?.querySelector("summary").focus();
      if ($("search").value) search();
    }
  }
}
if (document.body.dataset.live) follow();
