// Sorting, columns, filters, weights, comparing and the theme. Every table reads without this file.
"use strict";
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const make = (tag, set, ...children) => {
  const element = Object.assign(document.createElement(tag), set);
  element.append(...children);
  return element;
};
const value = cell => (cell && cell.dataset.v !== undefined && cell.dataset.v !== "" ? +cell.dataset.v : NaN);
const models = table => all("tbody tr:not(.g)", table);

// Theme: follows the system until chosen.
const kept = { get: k => { try { return localStorage[k]; } catch { return ""; } },
               set: (k, v) => { try { localStorage[k] = v; } catch { /* private window */ } } };
const setTheme = t => { document.documentElement.dataset.theme = t; };
if (kept.get("theme")) setTheme(kept.get("theme"));
const dark = () => (document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme:dark)").matches ? "dark" : "light")) === "dark";
const toggle = make("button", { type: "button", id: "theme" });
const label = () => { toggle.textContent = dark() ? "Light" : "Dark"; toggle.setAttribute("aria-label", `Switch to ${dark() ? "light" : "dark"} colours`); };
toggle.onclick = () => { const next = dark() ? "light" : "dark"; setTheme(next); kept.set("theme", next); label(); };
label();
document.querySelector("nav").append(toggle);

// Sorting: numbers missing a value stay last either way; headings hold for the first order alone.
function sortBy(table, index, up) {
  const numeric = table.tHead.rows[0].cells[index].dataset.sort === "n";
  const keyed = models(table).map(row => {
    const cell = row.cells[index];
    return [numeric ? value(cell) : cell.textContent.trim().toLowerCase(), row];
  });
  keyed.sort(([a], [b]) => {
    if (numeric && (isNaN(a) || isNaN(b))) return isNaN(a) - isNaN(b);
    return (up ? 1 : -1) * (a < b ? -1 : a > b ? 1 : 0);
  });
  table.tBodies[0].append(...keyed.map(pair => pair[1]));
  table.dataset.sorted = "1";
  all(".g", table).forEach(row => { row.hidden = true; });
  all("th", table.tHead).forEach((th, k) => k === index ? th.setAttribute("aria-sort", up ? "ascending" : "descending") : th.removeAttribute("aria-sort"));
}
function unsort(table) {
  table.tBodies[0].append(...table.first);
  delete table.dataset.sorted;
  all("th", table.tHead).forEach(th => th.removeAttribute("aria-sort"));
}
for (const table of all("table.sortable")) {
  table.first = [...table.tBodies[0].rows];
  all("th", table.tHead).forEach((th, index) => {
    const name = th.querySelector(".h");
    const button = make("button", { type: "button" });
    button.setAttribute("aria-label", `sort by ${(name || th).textContent.trim()}`);
    if (name) { name.replaceWith(button); button.append(name); } else if (!th.querySelector("a")) { button.append(...th.childNodes); th.append(button); } else th.append(button);
    th.onclick = event => {
      if (event.target.closest("a")) return;
      const now = th.getAttribute("aria-sort");
      sortBy(table, index, now ? now !== "ascending" : th.dataset.sort !== "n");
    };
  });
}

// Columns: which are shown is remembered.
all("table.choose").forEach((table, number) => {
  const heads = all("thead th", table);
  const details = make("details", { className: "columns" }, make("summary", { textContent: "Columns" }));
  const list = make("div", {});
  const chosen = (kept.get(`columns${number}`) || "").split("\n");
  const show = () => {
    heads.forEach((th, k) => {
      if (th.dataset.c) for (const row of [table.tHead.rows[0], ...models(table)]) row.cells[k].hidden = th.hidden;
    });
    const width = heads.filter(th => !th.hidden).length;
    all(".g th", table).forEach(th => { th.colSpan = width; });
    table.style.minWidth = `${5 * width}rem`;
  };
  heads.forEach(th => {
    if (!th.dataset.c) return;
    if (chosen.length > 1) th.hidden = !chosen.includes(th.dataset.c);
    const box = make("input", { type: "checkbox", checked: !th.hidden });
    box.onchange = () => { th.hidden = !box.checked; show(); kept.set(`columns${number}`, ["", ...heads.filter(h => h.dataset.c && !h.hidden).map(h => h.dataset.c)].join("\n")); };
    list.append(make("label", {}, box, " " + th.dataset.c));
  });
  details.append(list);
  table.parentElement.before(details);
  show();
});

// Filters and weights.
const filter = document.getElementById("filter");
const weights = document.querySelector("details.weights");
if (filter) {
  filter.hidden = false;
  const sort = filter.elements.sort;
  const tables = all(".front, .board");
  sort.append(make("option", { value: "", textContent: "as ranked" }));
  const names = new Set(tables.flatMap(table => all("thead th", table).filter(th => !th.hidden).map(th => (th.querySelector(".h") || th).textContent.trim())));
  for (const name of names) sort.append(make("option", { value: name, textContent: name }));
  sort.oninput = () => {
    for (const table of tables) {
      const index = all("thead th", table).findIndex(th => (th.querySelector(".h") || th).textContent.trim() === sort.value);
      if (index < 0) unsort(table); else sortBy(table, index, table.tHead.rows[0].cells[index].dataset.sort !== "n");
    }
  };
  if (weights) {
    weights.hidden = false;
    for (const th of all("th[data-task]")) {
      const input = make("input", { type: "number", min: 0, step: 0.5, value: th.dataset.w });
      input.dataset.task = th.dataset.task;
      input.oninput = update;
      weights.lastElementChild.append(make("label", {}, th.dataset.task.replaceAll("_", " ") + " ", input));
    }
    for (const row of models(document.querySelector(".board"))) row.initial = [row.cells[1].innerHTML, row.cells[1].dataset.v];
  }
  filter.addEventListener("input", update);
  filter.addEventListener("reset", () => {
    for (const input of all(".weights input")) input.value = document.querySelector(`th[data-task="${input.dataset.task}"]`).dataset.w;
    tables.forEach(unsort);
    setTimeout(update);
  });
}
function headings(table) { // shown with the first order, where a model under them is
  let head = null;
  if (!table.dataset.sorted) for (const row of table.tBodies[0].rows) {
    if (row.className === "g") { head = row; row.hidden = true; } else if (head && !row.hidden) head.hidden = false;
  }
}
function update() {
  const wanted = Object.fromEntries(new FormData(filter));
  const shown = new Set();
  for (const table of all(".front, .board, .any table")) {
    for (const row of models(table)) {
      const known = row.dataset.f !== undefined, size = row.dataset.p ? +row.dataset.p : NaN;
      row.hidden = Boolean((wanted.text && !row.cells[0].textContent.toLowerCase().includes(wanted.text.toLowerCase()))
        || (known && ((wanted.forces && row.dataset.f !== wanted.forces) || (wanted.open && !row.dataset.o) || (wanted.size && !(size <= +wanted.size)))));
      if (!row.hidden && known) shown.add(row.cells[0].textContent);
    }
    headings(table);
  }
  const board = document.querySelector(".board");
  if (board) {
    const heads = all("thead th", board);
    const now = heads.map(th => {
      if (!th.dataset.task) return 0;
      th.hidden = Boolean(wanted.system) && th.dataset.system !== wanted.system;
      const input = weights.querySelector(`input[data-task="${th.dataset.task}"]`);
      return th.hidden ? 0 : Math.max(0, +input.value || 0);
    });
    const usual = heads.every((th, k) => !th.dataset.task || now[k] === +th.dataset.w);
    for (const row of models(board)) heads.forEach((th, k) => { if (th.dataset.task) row.cells[k].hidden = th.hidden; });
    if (usual) {
      for (const row of models(board)) [row.cells[1].innerHTML, row.cells[1].dataset.v] = row.initial;
      if (board.dataset.weighed) { delete board.dataset.weighed; unsort(board); headings(board); }
    } else {
      reweigh(models(board), now);
      board.dataset.weighed = "1";
      sortBy(board, 1, false);
    }
  }
  filter.querySelector("output").textContent = `${shown.size} shown`;
}
function reweigh(rows, now) { // normal approximation of what the build does by bootstrap
  const counted = now.map((w, k) => [w, k]).filter(([w]) => w > 0);
  const found = rows.map(row => {
    const has = counted.filter(([, k]) => !isNaN(value(row.cells[k])));
    const total = has.reduce((sum, [w]) => sum + w, 0);
    const mean = has.reduce((sum, [w, k]) => sum + w * value(row.cells[k]), 0) / total;
    const error = Math.sqrt(has.reduce((sum, [w, k]) => sum + (w * (+row.cells[k].dataset.e || 0)) ** 2, 0)) / total;
    return { row, has: has.map(([, k]) => k), mean, error };
  });
  for (const mine of found) {
    const cell = mine.row.cells[1];
    if (!mine.has.length || mine.row.dataset.seen) {
      cell.dataset.v = "";
      cell.replaceChildren(make("small", { textContent: mine.row.dataset.seen ? "saw test data" : "no counted task has a score" }));
      continue;
    }
    const peers = found.filter(p => !p.row.dataset.seen && p.has.length === mine.has.length && mine.has.every(k => p.has.includes(k)));
    const better = peers.filter(p => p.mean - mine.mean > 1.96 * Math.hypot(p.error, mine.error)).length;
    cell.dataset.v = mine.mean;
    const part = mine.has.length < counted.length ? `, on ${mine.has.length} of ${counted.length} tasks` : "";
    cell.replaceChildren(make("b", { textContent: mine.mean.toFixed(3) }), ` ± ${(1.96 * mine.error).toFixed(2)}`,
      make("small", { textContent: `behind ${better} of ${peers.length}${part}` }));
  }
}

const decoded = text => { try { return decodeURIComponent(text); } catch { return ""; } };

// Plots: one model can be picked out by its name; pointing at a dot shows the same model in every plot.
const find = document.getElementById("find");
if (find) {
  find.hidden = false;
  const dots = all("svg.s a");
  const pick = wanted => dots.forEach(a => a.classList.toggle("dim", Boolean(wanted) && !a.dataset.n.toLowerCase().includes(wanted)));
  const input = find.querySelector("input");
  input.oninput = () => pick(input.value.trim().toLowerCase());
  find.onsubmit = event => event.preventDefault();
  for (const a of dots) {
    a.onmouseenter = () => pick(a.dataset.n.toLowerCase());
    a.onmouseleave = () => input.oninput();
  }
}

// Comparing two to four models; the address keeps the choice.
const pick = document.getElementById("pick");
if (pick) {
  pick.hidden = false;
  const names = new Map(all("th[data-k]").map(th => [th.dataset.k, th.textContent]));
  const start = decoded(location.hash.slice(1)).split(",").filter(k => names.has(k));
  for (const k of names.keys()) if (start.length < 2 && !start.includes(k)) start.push(k);
  for (let i = 0; i < 4; i += 1) {
    const select = make("select", {}, make("option", { value: "", textContent: "–" }));
    for (const [k, name] of names) select.append(make("option", { value: k, textContent: name }));
    select.value = start[i] || "";
    select.setAttribute("aria-label", `model ${i + 1}`);
    pick.append(select);
  }
  pick.append(make("output", { }));
  const show = () => {
    const chosen = [...new Set(all("select", pick).map(s => s.value).filter(Boolean))];
    const said = [];
    for (const section of all("section.pair")) {
      const heads = all("thead th", section);
      const columns = heads.map((th, i) => [th.dataset.k, i]).filter(([k]) => chosen.includes(k)).map(([, i]) => i);
      section.hidden = !columns.length;
      for (const row of all("tr", section)) [...row.cells].forEach((cell, i) => { cell.hidden = i > 0 && !columns.includes(i); });
      for (const row of all("tbody tr:not(.h)", section)) row.hidden = columns.every(i => row.cells[i].textContent.trim() === "–");
      const common = all("tr.h", section).filter(row => +row.dataset.w > 0 && columns.every(i => !isNaN(value(row.cells[i]))));
      const total = common.reduce((s, row) => s + +row.dataset.w, 0);
      if (total && columns.length > 1) said.push(`${section.querySelector("h2").textContent}, ${common.length} common tasks: ` + columns.map(i =>
        `${heads[i].textContent} ${(common.reduce((s, row) => s + row.dataset.w * value(row.cells[i]), 0) / total).toFixed(3)}`).join(", "));
    }
    pick.querySelector("output").textContent = said.join(". ");
    history.replaceState(null, "", "#" + chosen.map(encodeURIComponent).join(","));
  };
  pick.oninput = show;
  show();
}
