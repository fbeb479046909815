"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const search = byId("search"), filter = byId("filter"), dialog = byId("detail");
const rows = [...document.querySelectorAll("tr.test")];

function wanted(row) {
  const outcomes = row.dataset.outcomes.split(" ");
  switch (filter.value) {
    case "bad": return outcomes.some((one) => ["failed", "error", "xpassed"].includes(one));
    case "differs": return row.dataset.differs === "1";
    case "skipped": return outcomes.includes("skipped");
    default: return true;
  }
}

function refresh() {
  const text = search.value.trim().toLowerCase();
  let count = 0;
  for (const row of rows) {
    row.hidden = !wanted(row) || (text !== "" && !row.dataset.test.includes(text));
    count += row.hidden ? 0 : 1;
  }
  for (const body of document.querySelectorAll("#cells tbody")) {
    body.hidden = ![...body.querySelectorAll("tr.test")].some((row) => !row.hidden);
  }
  byId("shown").textContent = `${count} of ${rows.length} tests`;
  enter();
}

// One stop of the Tab key for the whole matrix; arrow keys move inside it.
function visible() { return [...document.querySelectorAll("tr.test:not([hidden]) .cell")]; }
function enter() {
  for (const cell of document.querySelectorAll('.cell[tabindex="0"]')) cell.tabIndex = -1;
  const first = visible()[0];
  if (first) first.tabIndex = 0;
}
function move(cell, key) {
  const place = cell.closest("td").cellIndex, all = rows.filter((row) => !row.hidden);
  let at = all.indexOf(cell.closest("tr")), column = place;
  const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[key];
  if (!step) return false;
  for (;;) {
    at += step[0]; column += step[1];
    const found = all[at]?.cells[column];
    if (!found || column < 1) return true;
    const next = found.querySelector(".cell");
    if (next) { cell.tabIndex = -1; next.tabIndex = 0; next.focus(); return true; }
  }
}

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function folded(title, text, open) {
  const made = element("details", {}, element("summary", {}, title), element("pre", { tabindex: "0" }, text));
  made.open = open;
  return made;
}

function programs(result) {
  const list = element("ul", {});
  for (const one of result.programs) {
    const target = document.querySelector(`[data-program="${CSS.escape(one.file + "/" + one.name)}"]`);
    const name = target ? element("a", { href: "#" + target.id }, one.name) : element("code", {}, one.name);
    if (target) name.addEventListener("click", () => { dialog.close(); target.open = true; });
    const figures = one.insns < 0 ? "no figures" : `${one.insns} instructions, ${one.states} states, ${one.stack} bytes of stack`;
    list.append(element("li", {}, name, ` ${one.file}: ${figures}`));
  }
  return list;
}

function follow(source) {
  const name = source.file.split("/").pop() + ":" + source.line;
  const row = document.querySelector(`[data-place="${CSS.escape(name)}"]`);
  const text = `${source.file}:${source.line}: ${source.text}`;
  if (!row) return element("p", {}, element("code", {}, text));
  const link = element("a", { href: "#" + row.id, class: "source-link" }, text);
  link.addEventListener("click", () => { dialog.close(); row.closest("details").open = true; });
  return element("p", {}, link);
}

function show(number) {
  const result = data.results[number], body = byId("d-body");
  const kernel = result.kernel === data.everywhere ? "no kernel" : result.kernel;
  byId("d-title").textContent = `${result.test.split("::").slice(1).join("::") || result.test} on ${kernel}`;
  const time = result.seconds == null ? "" : `, ${result.seconds.toFixed(2)} s`;
  const fault = result.fault ? `, fault: ${result.fault}` : "";
  byId("d-state").textContent = `${result.kind || result.outcome}${fault}${time}`;
  body.replaceChildren();
  for (const [name, value] of Object.entries(result.columns)) body.append(element("p", {}, `${name}: ${value}`));
  const failure = result.failure;
  if (failure) {
    body.append(element("p", { class: "headline" }, failure.headline));
    if (failure.source) body.append(follow(failure.source));
    for (const [title, text] of failure.sections) {
      body.append(folded(title, data.texts[text], /^(why|packet|map|what|value|return|budget|baseline)/i.test(title)));
    }
    const copy = element("button", { type: "button", class: "copy" }, "Copy the command that repeats it");
    copy.addEventListener("click", () => navigator.clipboard?.writeText(failure.repeat));
    body.append(element("pre", { tabindex: "0" }, failure.repeat), copy);
  } else if (result.reason) body.append(element("p", {}, result.reason));
  if (result.programs.length) body.append(element("h3", {}, "Programs"), programs(result));
  if (!dialog.open) dialog.showModal();
  history.replaceState(null, "", "#result-" + number);
}

document.addEventListener("click", (event) => {
  const cell = event.target.closest?.(".cell");
  if (cell) show(Number(cell.dataset.result));
});
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !dialog.open && document.activeElement !== search) { event.preventDefault(); search.focus(); }
  else if (event.target.classList?.contains("cell") && move(event.target, event.key)) event.preventDefault();
});
dialog.addEventListener("close", () => { if (location.hash.startsWith("#result-")) history.replaceState(null, "", " "); });
search.addEventListener("input", refresh);
filter.addEventListener("change", refresh);
if (rows.some((row) => /failed|error/.test(row.dataset.outcomes))) filter.value = "bad";
refresh();
const linked = /^#result-(\d+)$/.exec(location.hash);
if (linked && data.results[linked[1]]) show(Number(linked[1]));
