"use strict";
// The home: a table of cells that filters, sorts and turns pages, curves on demand, and a dialog for each run.
// Nothing of a record becomes HTML here: text goes into text nodes alone.
const PAGE = 50, LINES = 12;
const COLUMNS = [
  ["method", "title"], ["m", "m"], ["data set", "data"], ["NLL", "NLL"], ["paper", "NLL paper"], ["-ELBO", "-ELBO"],
  ["paper", "-ELBO paper"], ["beside the paper", "verdict"], ["seeds", "seeds"], ["sweep", "place"],
];
const FILTERS = ["dataset", "method", "m", "protocol", "sweep"];
const by = (id) => document.getElementById(id);
const data = JSON.parse(by("data").textContent);
const words = (protocol) => data.protocols[protocol] || protocol; // its folder's name has a digest
data.rows.forEach((row, number) => {
  row.number = number;
  row.place = `${row.sweep}, ${words(row.protocol).replace(/ with .*/, " with changes")}`;
});
const state = { page: 0, column: null, down: false, hidden: new Set() };
const filters = by("filters");

function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// What is known of the runs of a cell, unpacked when somebody asks.
const unpacked = new Map();
const whole = new Promise((done) => { addEventListener("DOMContentLoaded", done); });
function details(place) {
  if (!unpacked.has(place)) unpacked.set(place, unpack(place));
  return unpacked.get(place);
}
async function unpack(place) {
  if (!by(`details-${place}`)?.nextSibling) await whole; // it is still to come, or comes in part
  const bytes = Uint8Array.from(atob(by(`details-${place}`).textContent), (each) => each.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
}

// Charts, in the colours of the page.
const charts = new Set();
const look = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const shade = (colour) => (colour === "#000000" ? look("--ink") : colour);
// Up to twelve lines differ in dash or width, so in grey too, and those of one colour in shade.
const DASHES = [undefined, [9, 4], [2, 3], [14, 4, 2, 4], [5, 2], [10, 3, 2, 3, 2, 3]];
function toldApart(lines) {
  const ranks = new Map();
  return lines.map((line, place) => {
    const rank = ranks.get(line.colour) || 0;
    ranks.set(line.colour, rank + 1);
    return { ...line, dash: DASHES[place % DASHES.length], width: place < DASHES.length ? 2 : 4, darker: Math.min(rank, 7) / 12 };
  });
}
function ink(line) {
  const parts = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  if (!line.darker || line.colour === "#000000") return shade(line.colour);
  const towards = parts(look("--ink"));
  return `rgb(${parts(line.colour).map((part, at) => Math.round(part + line.darker * (towards[at] - part))).join(" ")})`;
}
function swatches(drawn) {
  drawn.box.querySelectorAll(".u-marker").forEach((marker, place) => {
    if (!place) return; // that of the epoch
    const line = document.createElementNS("http://www.w3.org/2000/svg", "svg"), { stroke, width, dash } = drawn.series[place];
    for (const [name, value] of Object.entries({ width: 44, height: 8, "aria-hidden": "true" })) line.setAttribute(name, value);
    line.append(document.createElementNS("http://www.w3.org/2000/svg", "path"));
    const drawing = { d: "M0 4h44", stroke: stroke(), "stroke-width": width, "stroke-dasharray": dash ? dash.join(" ") : "none" };
    for (const [name, value] of Object.entries(drawing)) line.firstChild.setAttribute(name, value);
    marker.replaceChildren(line);
  });
}
const EPOCHS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000]; // between two ticks: whole ones alone
const chartWidth = (box) => Math.max(200, box.clientWidth);
function chart(box, unit, lines) {
  box.replaceChildren();
  const series = lines.map((line) => ({
    label: line.label, stroke: () => ink(line), width: line.light ? 1 : line.width || 2, dash: line.dash, spanGaps: true,
    points: { show: line.x.length < 3 }, value: (_, value) => (value == null ? "-" : value.toPrecision(5)),
  }));
  const axis = { stroke: () => look("--ink"), grid: { stroke: () => look("--line"), width: 1 }, ticks: { stroke: () => look("--line"), width: 1 } };
  const settled = lines.flatMap((line) => line.y.slice(Math.floor(line.y.length / 10))).filter((each) => each != null);
  if (!settled.length) {
    box.append("No point of this curve is finite.");
    return;
  }
  const low = Math.min(...settled), high = Math.max(...settled), margin = 0.05 * (high - low) || 1;
  const drawn = new uPlot({
    width: chartWidth(box), height: 320, legend: { markers: { width: 0 } },
    scales: { x: { time: false, range: (_, low, high) => (low === high ? [low - 1, high + 1] : [low, high]) }, y: { range: () => [low - margin, high + margin] } },
    series: [{ label: "epoch", value: (_, value) => (value == null ? "-" : String(value)) }, ...series],
    axes: [{ ...axis, label: "epoch", incrs: EPOCHS }, { ...axis, label: `-ELBO (${unit})`, size: 64 }],
  }, uPlot.join(lines.map((line) => [line.x, line.y])), box);
  for (const canvas of box.querySelectorAll("canvas")) canvas.setAttribute("aria-hidden", "true");
  drawn.box = box;
  swatches(drawn);
  charts.add(drawn);
}
function redraw() {
  for (const each of charts) {
    if (!each.box.isConnected || !each.box.contains(each.root)) charts.delete(each);
    else { each.setSize({ width: chartWidth(each.box), height: 320 }); each.redraw(); swatches(each); }
  }
}
addEventListener("resize", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

// The address of the page says what is filtered and which run is open, so that a link leads there.
let known = "";
function asked() {
  if (!location.hash || location.hash.includes("=")) known = location.hash.slice(1); // a link within the page asks for nothing
  return new URLSearchParams(known.replaceAll("+", "%2B")); // a protocol's plus, as people type it; no name has a space
}
function go(changes) {
  const wanted = asked();
  for (const [name, value] of Object.entries(changes)) value ? wanted.set(name, value) : wanted.delete(name);
  const text = wanted.toString(), address = text ? `#${text}` : location.pathname + location.search;
  history[changes.run ? "pushState" : "replaceState"](null, "", address); // back closes a run
  show();
}

// A method's title without the options of a cell.
function plain(title) {
  return title.replace(/ \(.*\)$/, "");
}
function value(text) {
  return parseFloat(text.replace("≤ ", ""));
}
function chosen() {
  const wanted = FILTERS.map((name) => [name, filters.elements[name].value]).filter(([, word]) => word);
  const rows = data.rows.filter((row) => wanted.every(([name, word]) => String(row[name]) === word));
  if (state.column === null) return rows;
  const key = COLUMNS[state.column][1];
  const empty = rows.filter((row) => ["-", "diverged"].includes(String(row[key])));
  const filled = rows.filter((row) => !["-", "diverged"].includes(String(row[key])));
  const numeric = filled.every((row) => !Number.isNaN(value(String(row[key]))));
  const units = (a, b) => (/NLL|ELBO/.test(key) ? a.unit.localeCompare(b.unit) : 0); // no nats among bits/dim
  filled.sort((a, b) => units(a, b) || (state.down ? -1 : 1) *
    (numeric ? value(String(a[key])) - value(String(b[key])) : String(a[key]).localeCompare(String(b[key]))));
  return [...filled, ...empty];
}

function heads() {
  const row = make("tr", {});
  COLUMNS.forEach(([name], column) => {
    const button = make("button", { type: "button" }, name);
    const head = make("th", { scope: "col" }, button);
    button.addEventListener("click", () => {
      state.down = state.column === column && !state.down;
      [state.column, state.page] = [column, 0];
      for (const other of row.cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", state.down ? "descending" : "ascending");
      show();
    });
    row.append(head);
  });
  by("table").tHead.replaceChildren(row);
}

function line(row) {
  const button = make("button", { type: "button" }, row.title);
  button.addEventListener("click", () => go({ run: row.id }));
  const cells = COLUMNS.slice(1).map(([, key]) => make("td", {}, key === "m" && !row.m ? "-" : String(row[key])));
  if (words(row.protocol) !== row.protocol) cells.at(-1).append(" ", make("small", {}, row.protocol));
  const who = [row.m && `m = ${row.m}`, row.data, row.place].filter(Boolean).join(", ");
  return make("tr", {}, make("th", { scope: "row", "data-who": who }, button), ...cells);
}

let shown = null;
function show() {
  const wanted = asked();
  for (const name of FILTERS) filters.elements[name].value = wanted.get(name) || "";
  const rows = chosen(), pages = Math.max(1, Math.ceil(rows.length / PAGE));
  state.page = Math.min(state.page, pages - 1);
  const here = rows.slice(state.page * PAGE, (state.page + 1) * PAGE);
  by("count").textContent = [
    ...nowhere(wanted), `${rows.length} of ${data.rows.length} cells.`,
    ...(here.some((row) => row.bound) ? ["≤ marks an NLL that is an upper bound only: its estimate has too few effective samples."] : []),
    "Click a method to see its runs with their samples, curves and settings, or a column head to sort.",
  ].join(" ");
  const rowsShown = here.map((row) => row.number).join();
  if (shown !== rowsShown) { // else the button that opened a run stays, and gets the focus back
    shown = rowsShown;
    by("table").tBodies[0].replaceChildren(...here.map(line));
    by("pages").hidden = pages === 1;
    by("page").textContent = `${state.page + 1} of ${pages}`;
    by("before").disabled = state.page === 0;
    by("after").disabled = state.page === pages - 1;
    curves(here);
  }
  open(wanted.get("run"), wanted.get("seed"));
}
// What the address asks for that is not on the page.
function nowhere(wanted) {
  const said = FILTERS.filter((name) => wanted.get(name) && filters.elements[name].value !== wanted.get(name))
    .map((name) => `No cell has the ${name === "dataset" ? "data set" : name} ${wanted.get(name)} that the address asks for.`);
  const run = wanted.get("run");
  return run && !data.rows.some((row) => row.id === run) ? [...said, `There is no run ${run}, which the address asks for.`] : said;
}
function turnPage(pages) {
  state.page += pages;
  show();
  const [pressed, other] = pages > 0 ? [by("after"), by("before")] : [by("before"), by("after")];
  if (pressed.disabled) other.focus();
}

// Curves of the cells that the table shows: the mean over seeds, a line a cell.
let latest = 0;
async function curves(rows) {
  const turn = ++latest, some = rows.filter((row) => row.curve);
  const filtered = FILTERS.some((name) => asked().get(name)); // else those of one protocol: lengths differ by 1000
  const alike = some.filter((row) => row.dataset === some[0].dataset && (filtered || row.protocol === some[0].protocol));
  const methods = [...new Map(alike.map((row) => [row.method, plain(row.title)]))];
  const ticked = alike.filter((row) => !state.hidden.has(row.method)), drawn = ticked.slice(0, LINES);
  by("methods").hidden = methods.length === 0;
  by("methods").replaceChildren(by("methods").querySelector("legend"), ...methods.map(([method, title]) => {
    const box = make("input", { type: "checkbox", value: method });
    box.checked = !state.hidden.has(method);
    box.addEventListener("change", () => {
      box.checked ? state.hidden.delete(method) : state.hidden.add(method);
      curves(rows).then(() => by("methods").querySelector(`input[value="${CSS.escape(method)}"]`)?.focus());
    });
    const label = make("label", {}, box, ` ${title}`);
    label.style.setProperty("--own", shade(data.colours[method]));
    return label;
  }));
  const known = await Promise.all(drawn.map((row) => details(row.number)));
  if (turn !== latest) return;
  const many = new Set(drawn.map((row) => row.protocol)).size > 1;
  const lines = toldApart(drawn.map((row, place) => meanLine(row, known[place], many)).filter(Boolean));
  const left = ticked.length - drawn.length, unticked = alike.length - ticked.length;
  by("curves-said").textContent = !rows.length ? "No cell is in the table."
    : !alike.length ? "No cell in the table has a curve."
    : !ticked.length ? "All curves here are hidden; tick a method to show them."
    : `Validation -ELBO on ${drawn[0].dataset}, the mean over seeds, of the first ${lines.length} cells in the table${left ? `; ${left} more are left out` : ""}${unticked ? `; ${unticked} of methods without a tick are hidden` : ""}. Filter the table to choose others; click a name under the chart to hide or show one line.`;
  lines.length ? chart(by("chart"), known[0][0].unit, lines) : by("chart").replaceChildren();
}
function meanLine(row, runs, many) {
  const curved = runs.filter((run) => !run.left_out && run.curve.epoch.length);
  const own = curved.length ? curved : runs.filter((run) => run.curve.epoch.length).slice(0, 1);
  if (!own.length) return null;
  const sums = new Map();
  for (const run of own) {
    run.curve.epoch.forEach((epoch, place) => {
      const each = run.curve.validation[place];
      if (each != null) sums.set(epoch, [...(sums.get(epoch) || []), each]);
    });
  }
  const x = [...sums.keys()].sort((a, b) => a - b);
  const y = x.map((epoch) => sums.get(epoch).reduce((sum, each) => sum + each, 0) / sums.get(epoch).length);
  return { x, y, label: `${row.title}, m = ${row.m}${many ? `, ${words(row.protocol)}` : ""}`, colour: data.colours[row.method] };
}

// A run: samples, curve, settings, where it comes from.
let opened = "";
async function open(id, seed) {
  const dialog = by("run"), row = data.rows.find((each) => each.id === id);
  if (!row) {
    opened = "";
    if (dialog.open) dialog.close();
    return;
  }
  const runs = await details(row.number);
  const run = runs.find((each) => String(each.seed) === seed) || runs[0];
  if (opened === `${id} ${run.seed}`) return;
  opened = `${id} ${run.seed}`;
  by("run-title").textContent = `${row.title}${row.m ? `, m = ${row.m}` : ""}, ${row.dataset}, seed ${run.seed}`;
  const seeds = make("p", {}, "Seeds: ");
  for (const each of runs) {
    const button = make("button", { type: "button", "aria-pressed": String(each === run) }, String(each.seed));
    button.addEventListener("click", () => go({ run: id, seed: String(each.seed) }));
    seeds.append(button, " ");
  }
  const body = by("run-body");
  const other = seed && String(run.seed) !== seed ? [make("p", {}, `There is no seed ${seed} here, which the address asks for.`)] : [];
  body.replaceChildren(...other, seeds, make("p", {}, `Sweep ${row.sweep}, protocol ${words(row.protocol)}: ${run.status}. `, ...record(run)));
  if (row.bound) body.append(make("p", {}, `The NLL of this cell (${row.NLL} ${row.unit}) is an upper bound: ${row.bound}.`));
  if (run.left_out) body.append(make("p", {}, `In no table: ${run.left_out}.`));
  body.append(make("h3", {}, "Flags"), run.flags.length ? make("ul", {}, ...run.flags.map((flag) => make("li", {}, flag))) : make("p", {}, "None."));
  body.append(...pictures(run));
  if (!dialog.open) dialog.showModal();
  if (run.curve.epoch.length) {
    const box = make("div", { class: "chart", role: "group", "aria-label": "Curve of this run" });
    body.append(make("h3", {}, "Curve"), box, numbers(run));
    const line = (which, colour, light) => ({ label: which, x: run.curve.epoch, y: run.curve[which], colour, light });
    chart(box, run.unit, [line("validation", data.colours[row.method], false), line("train", "#000000", true)]);
  }
  for (const [name, facts] of Object.entries(run.parts)) {
    const list = make("dl", { class: "facts" });
    for (const [key, text] of facts) list.append(make("dt", {}, key), make("dd", {}, text));
    const part = make("details", {}, make("summary", {}, name), list);
    part.open = name === "Metrics" || name === "Hyper-parameters";
    body.append(part);
  }
  dialog.scrollTop = 0;
}
function record(run) {
  return data.live ? [] : ["Its ", make("a", { href: run.record }, "record"), "."];
}
function pictures(run) {
  const head = make("h3", {}, "Samples and reconstructions");
  if (!run.pictures) return [head, make("p", {}, "This page has no room for the run's pictures; they are in the results folder, ", make("code", {}, run.evidence), ".")];
  if (!run.pictures.length) return [head, make("p", {}, "This run left no samples.")];
  const box = make("div", { class: "pictures" });
  for (const each of run.pictures) {
    const image = make("img", { alt: each.title, src: each.data, width: String(2 * each.width), height: String(2 * each.height) });
    box.append(make("figure", {}, image, make("figcaption", {}, each.title)));
  }
  return [head, box];
}
function numbers(run) {
  const body = make("tbody", {}), epochs = run.curve.epoch, every = Math.ceil(epochs.length / 20);
  epochs.forEach((epoch, place) => {
    if ((epochs.length - 1 - place) % every) return;
    const cells = [run.curve.validation[place], run.curve.train[place]].map((each) => make("td", {}, each == null ? "-" : String(each)));
    body.append(make("tr", {}, make("th", { scope: "row" }, String(epoch)), ...cells));
  });
  const names = ["epoch", "validation", "train"].map((name) => make("th", { scope: "col" }, name));
  const table = make("table", {}, make("thead", {}, make("tr", {}, ...names)), body);
  const box = make("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": "Curve in numbers" }, table);
  return make("details", {}, make("summary", {}, `In numbers (-ELBO, ${run.unit})`), box);
}

// To begin with.
for (const name of FILTERS) {
  const values = [...new Set(data.rows.map((row) => String(row[name])))];
  if (name === "m") values.sort((a, b) => a - b);
  const titles = new Map(data.rows.map((row) => [row.method, plain(row.title)]));
  const text = (word) => (name === "method" ? titles.get(word) : name === "m" && word === "0" ? "none" : name === "protocol" ? words(word) : word);
  filters.elements[name].append(make("option", { value: "" }, "all"), ...values.map((word) => make("option", { value: word }, text(word))));
}
filters.addEventListener("change", () => {
  state.page = 0;
  go({ ...Object.fromEntries(FILTERS.map((name) => [name, filters.elements[name].value])), run: "", seed: "" });
});
filters.addEventListener("submit", (event) => event.preventDefault());
filters.addEventListener("reset", (event) => {
  event.preventDefault();
  state.page = 0;
  go(Object.fromEntries([...FILTERS, "run", "seed"].map((name) => [name, ""])));
});
by("before").addEventListener("click", () => turnPage(-1));
by("after").addEventListener("click", () => turnPage(1));
by("run").addEventListener("close", () => { if (asked().get("run")) go({ run: "", seed: "" }); });
addEventListener("hashchange", () => {
  if (location.hash && !location.hash.includes("=")) {
    if (known) history.replaceState(null, "", `#${known}`); // the browser went there; what is filtered stays in the address
    return;
  }
  state.page = 0;
  show();
  if (!asked().get("run")) by("cells").scrollIntoView();
});
heads();
show();

// While something runs: what each process is at, from the server of `vdae-bench watch`.
const SECONDS = 3;
const drawn = new Map();
function process(each) {
  const meter = make("progress", { max: "1", "aria-label": `${each.label}, share done`, ...(each.share === null ? {} : { value: String(each.share) }) });
  const box = drawn.get(each.id)?.box || make("div", { class: "chart", role: "group", "aria-label": `Curve so far of ${each.label}` });
  const text = [each.at, each.left].filter(Boolean).join(", ");
  return [make("article", {}, make("h3", {}, each.label), make("p", {}, each.where, make("br", {}), meter, ` ${text}`), box), box];
}
function draw(now) {
  if (by("now-said").textContent !== now.said) by("now-said").textContent = now.said;
  const articles = now.processes.map((each) => {
    const [article, box] = process(each);
    return [each, article, box];
  });
  by("now-processes").replaceChildren(...articles.map(([, article]) => article));
  for (const [each, , box] of articles) {
    const key = JSON.stringify(each.curves);
    if (drawn.get(each.id)?.key === key) continue;
    drawn.set(each.id, { box, key });
    const lines = each.curves.map((line) => ({ label: line.label, colour: line.colour, x: line.epoch, y: line.validation }));
    lines.length ? chart(box, each.unit, toldApart(lines)) : box.replaceChildren("The curve appears with the first checkpoint.");
  }
}
async function ask() {
  const now = await fetch("now.json", { cache: "no-store" }).then((answer) => answer.json()).catch(() => null);
  if (now) draw(now);
  else by("now-said").textContent = "The server does not answer; start vdae-bench watch again.";
  const busy = by("run").open || filters.contains(document.activeElement);
  if (now && now.version !== data.live && !busy) location.reload(); // a page with the new records is there
  setTimeout(ask, 1000 * SECONDS);
}
if (data.live) ask();
