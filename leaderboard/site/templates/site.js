// Sorting, filters, weights, comparing and the theme. Every table reads without this file.
"use strict";
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const make = (tag, set, ...children) => {
  const element = Object.assign(document.createElement(tag), set);
  element.append(...children);
  return element;
};
const value = cell => (cell && cell.dataset.v !== undefined && cell.dataset.v !== "" ? +cell.dataset.v : NaN);

// Theme: follows the system until chosen.
const remembered = { get: () => { try { return localStorage.theme; } catch { return ""; } },
                     set: t => { try { localStorage.theme = t; } catch { /* private window */ } } };
const setTheme = t => { document.documentElement.dataset.theme = t; };
if (remembered.get()) setTheme(remembered.get());
const dark = () => (document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme:dark)").matches ? "dark" : "light")) === "dark";
const toggle = make("button", { type: "button", id: "theme" });
const label = () => { toggle.textContent = dark() ? "Light" : "Dark"; toggle.setAttribute("aria-label", `Switch to ${dark() ? "light" : "dark"} colours`); };
toggle.onclick = () => { const next = dark() ? "light" : "dark"; setTheme(next); remembered.set(next); label(); };
label();
document.querySelector("nav").append(toggle);

// Sorting: numbers missing a value stay last either way.
function sortBy(table, index, up) {
  const body = table.tBodies[0];
  const numeric = table.tHead.rows[0].cells[index].dataset.sort === "n";
  const keyed = [...body.rows].map(row => {
    const cell = row.cells[index];
    return [numeric ? value(cell) : cell.textContent.trim().toLowerCase(), row];
  });
  keyed.sort(([a], [b]) => {
    if (numeric && (isNaN(a) || isNaN(b))) return isNaN(a) - isNaN(b);
    return (up ? 1 : -1) * (a < b ? -1 : a > b ? 1 : 0);
  });
  body.append(...keyed.map(pair => pair[1]));
  all("th", table.tHead).forEach((th, k) => k === index ? th.setAttribute("aria-sort", up ? "ascending" : "descending") : th.removeAttribute("aria-sort"));
}
for (const table of all("table.sortable")) {
  all("th", table.tHead).forEach((th, index) => {
    const button = make("button", { type: "button" });
    button.setAttribute("aria-label", `sort by ${th.textContent.trim()}`);
    if (!th.querySelector("a")) { button.append(...th.childNodes); }
    th.append(button);
    button.onclick = () => sortBy(table, index, th.getAttribute("aria-sort") ? th.getAttribute("aria-sort") !== "ascending" : th.dataset.sort !== "n" || index === 0);
  });
}

// Filters and weights of the ranking.
const filter = document.getElementById("filter");
if (filter) {
  filter.hidden = false;
  for (const section of all("section.suite")) {
    const details = section.querySelector("details.weights");
    details.hidden = false;
    for (const th of all("th[data-task]", section)) {
      const input = make("input", { type: "number", min: 0, step: 0.5, value: th.dataset.w });
      input.dataset.task = th.dataset.task;
      input.oninput = update;
      details.lastElementChild.append(make("label", {}, th.dataset.task.replaceAll("_", " ") + " ", input));
    }
    for (const row of all(".board tbody tr", section)) row.initial = [row.cells[0].innerHTML, row.cells[0].dataset.v, row.cells[2].innerHTML, row.cells[2].dataset.v];
  }
  filter.addEventListener("input", update);
  filter.addEventListener("reset", () => {
    for (const input of all(".weights input")) input.value = input.closest("section").querySelector(`th[data-task="${input.dataset.task}"]`).dataset.w;
    setTimeout(update);
  });
}
function update() {
  const wanted = Object.fromEntries(new FormData(filter));
  let shown = 0;
  for (const section of all("section.suite")) {
    section.hidden = Boolean(wanted.suite) && section.dataset.suite !== wanted.suite;
    const heads = all(".board thead th", section);
    const weights = heads.map(th => {
      if (!th.dataset.task) return 0;
      th.hidden = Boolean(wanted.system) && th.dataset.system !== wanted.system;
      const input = section.querySelector(`.weights input[data-task="${th.dataset.task}"]`);
      return th.hidden ? 0 : Math.max(0, +input.value || 0);
    });
    const usual = heads.every((th, k) => !th.dataset.task || weights[k] === +th.dataset.w);
    for (const row of all(".board tbody tr", section)) {
      heads.forEach((th, k) => { if (th.dataset.task) row.cells[k].hidden = th.hidden; });
      const size = value(row.cells[heads.length - 4]);
      row.hidden = (wanted.text && !row.cells[1].textContent.toLowerCase().includes(wanted.text.toLowerCase()))
        || (wanted.forces && row.dataset.f !== wanted.forces) || (wanted.open && !row.dataset.o) || (wanted.size && !(size <= +wanted.size));
      if (!row.hidden && !section.hidden) shown += 1;
    }
    if (usual) for (const row of all(".board tbody tr", section)) { [row.cells[0].innerHTML, row.cells[0].dataset.v, row.cells[2].innerHTML, row.cells[2].dataset.v] = row.initial; }
    else reweigh(all(".board tbody tr", section), weights);
    sortBy(section.querySelector("table"), 2, false); // equal ranks: by score
    sortBy(section.querySelector("table"), 0, true);
  }
  for (const section of all("section.any")) {
    section.hidden = Boolean(wanted.suite) && section.dataset.suite !== wanted.suite;
    for (const row of all("tbody tr", section)) row.hidden = Boolean(wanted.text) && !row.cells[0].textContent.toLowerCase().includes(wanted.text.toLowerCase());
  }
  filter.querySelector("output").textContent = `${shown} shown`;
}
function reweigh(rows, weights) { // normal approximation of what the build does by bootstrap
  const counted = weights.map((w, k) => [w, k]).filter(([w]) => w > 0);
  const found = rows.map(row => {
    const has = counted.filter(([, k]) => !isNaN(value(row.cells[k])));
    const total = has.reduce((sum, [w]) => sum + w, 0);
    const mean = has.reduce((sum, [w, k]) => sum + w * value(row.cells[k]), 0) / total;
    const error = Math.sqrt(has.reduce((sum, [w, k]) => sum + (w * (+row.cells[k].dataset.e || 0)) ** 2, 0)) / total;
    return { row, has: has.map(([, k]) => k), mean, error };
  });
  for (const mine of found) {
    const [place, score] = [mine.row.cells[0], mine.row.cells[2]];
    if (!mine.has.length || mine.row.dataset.seen) {
      place.textContent = mine.row.dataset.seen ? "saw test data" : "unranked"; place.dataset.v = 99999; score.textContent = "–"; score.dataset.v = ""; continue;
    }
    const peers = found.filter(p => !p.row.dataset.seen && p.has.length === mine.has.length && mine.has.every(k => p.has.includes(k)));
    const on = p => { // the peer on my tasks
      const w = mine.has.map(k => weights[k]), total = w.reduce((a, b) => a + b, 0);
      return [mine.has.reduce((s, k, i) => s + w[i] * value(p.row.cells[k]), 0) / total,
              Math.sqrt(mine.has.reduce((s, k, i) => s + (w[i] * (+p.row.cells[k].dataset.e || 0)) ** 2, 0)) / total];
    };
    const better = peers.filter(p => { const [m, e] = on(p); return m - mine.mean > 1.96 * Math.hypot(e, mine.error); }).length;
    place.dataset.v = 1 + better + 1000 * (counted.length - mine.has.length);
    place.textContent = `${1 + better} of ${peers.length}`;
    score.dataset.v = mine.mean;
    score.textContent = `${mine.mean.toFixed(3)} ± ${(1.96 * mine.error).toFixed(2)}` + (mine.has.length < counted.length ? ` on ${mine.has.length} of ${counted.length}` : "");
  }
}

const decoded = text => { try { return decodeURIComponent(text); } catch { return ""; } };

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
    for (const section of all("section.suite")) {
      const heads = all("thead th", section);
      const columns = heads.map((th, i) => [th.dataset.k, i]).filter(([k]) => chosen.includes(k)).map(([, i]) => i);
      section.hidden = !columns.length;
      for (const row of all("tr", section)) [...row.cells].forEach((cell, i) => { cell.hidden = i > 0 && !columns.includes(i); });
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
