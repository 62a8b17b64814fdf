// The page around the frames: search, keys, answers, changes on disk, many seeds.
"use strict";
const $ = (selector, from = document) => from.querySelector(selector);
const $$ = (selector, from = document) => [...from.querySelectorAll(selector)];

// ---- the list

const filter = () => {
  const box = $("#search");
  if (!box) return;
  const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
  let any = false;
  for (const group of $$(".group")) {
    let some = false;
    for (const item of $$("li", group)) {
      const text = item.dataset.text.toLowerCase();
      item.hidden = !words.every((word) => text.includes(word));
      item.style.display = item.hidden ? "none" : "";
      some ||= !item.hidden;
    }
    group.hidden = !some;
    any ||= some;
  }
  $("#none").hidden = any;
  sessionStorage.setItem("search", box.value);
};

const shownLinks = () => $$(".group:not([hidden]) li:not([hidden]) a");

const step = (by) => {
  const links = shownLinks();
  const at = links.indexOf(document.activeElement);
  links[Math.min(Math.max(at < 0 ? 0 : at + by, 0), links.length - 1)]?.focus();
};

addEventListener("keydown", (event) => {
  const typing = event.target.matches?.("input, textarea, select");
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/" && !typing && $("#search")) { event.preventDefault(); $("#search").select(); }
  else if (event.key === "Escape" && event.target.id === "search") { event.target.value = ""; filter(); }
  else if ((event.key === "ArrowDown" || (event.key === "j" && !typing)) && $("#search")) { event.preventDefault(); step(1); }
  else if ((event.key === "ArrowUp" || (event.key === "k" && !typing)) && $("#search")) { event.preventDefault(); step(-1); }
  else if (event.key === "Enter" && event.target.id === "search") shownLinks()[0]?.click();
  else if (event.key === "n" && !typing) $("#new")?.click();
  else if (event.key === "u" && !typing && $("main.question")) location.href = "/";
});

// ---- the playground

const program = $("form.program");
if (program) {
  const given = $("#source").value;
  $("#runtime").addEventListener("change", (event) => {
    if ($("#source").value === given) location.href = "/play?runtime=" + encodeURIComponent(event.target.value);
  });
  program.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); program.requestSubmit(); }
  });
  program.addEventListener("submit", () => setTimeout(() => { $("#run").disabled = true; }));
}

// ---- frames

const frameOf = (source) => $$("iframe.panel").find((frame) => frame.contentWindow === source);
const measure = (frame) => frame.contentWindow?.postMessage({ type: "measure" }, "*");
const ask = () => $("#question").contentWindow.postMessage({ type: "collect" }, "*");
let waiting = null, collecting = null;
let restore = null;
let sending = false; // an answer is on its way: the page that follows is another one

// What was typed, asked for once for all who want to know. Never answers within the event
// that asks: a form ignores what is submitted in its own submit event.
const collect = () => {
  if (!$("#question") || restore) return new Promise((resolve) => setTimeout(resolve, 0, restore || {})); // typed, and not back in a new frame yet
  collecting ||= new Promise((resolve) => {
    waiting = resolve;
    ask();
    setTimeout(resolve, 5000, {});
  }).finally(() => { waiting = collecting = null; });
  return collecting;
};

addEventListener("message", (event) => {
  const frame = frameOf(event.source);
  if (!frame || !event.data) return;
  const message = event.data;
  if (message.type === "height" && frame.clientWidth) { // one that is hidden measures nothing
    // Measured before it knew its width, it would be far too high: ask again.
    const early = Math.abs(message.width - frame.clientWidth) > 1 && (frame.early = (frame.early || 0) + 1) < 50;
    if (early) setTimeout(() => measure(frame), 60);
    else frame.style.height = Math.min(message.height, 20000) + "px";
  }
  if (message.type === "fields" && waiting) waiting(message.fields);
  if (message.type === "submit") $("#answer .primary")?.click();
  if (message.type === "ready" && frame.id === "question") {
    if (restore) { frame.contentWindow.postMessage({ type: "fill", fields: restore }, "*"); restore = null; }
    if (waiting) ask(); // before, nobody heard
  }
  if (message.type === "blocked") blocked(String(message.what));
});

const blocked = (what) => {
  if ($$(".blocked").some((p) => p.dataset.what === what)) return;
  const p = document.createElement("p");
  p.className = "notice warn blocked";
  p.dataset.what = what;
  p.textContent = `The question asks for ${what}, which this page does not fetch: course content comes from the course.`;
  $(".columns").before(p);
};

document.addEventListener("submit", async (event) => {
  if (event.target.id === "answer" && !event.target.dataset.sent) {
    event.preventDefault();
    if (sending) return;
    sending = true;
    const form = event.target, button = event.submitter;
    form.elements.answers.value = JSON.stringify(await collect());
    form.dataset.sent = "yes";
    form.requestSubmit(button);
    for (const b of $$("button", form)) b.disabled = true;
  }
  if (event.target.id === "run-seeds") { event.preventDefault(); runSeeds(event.target, event.submitter); }
});

// ---- what changes on disk shows here

const remember = () => {
  for (const d of $$("details[data-keep]")) sessionStorage.setItem("open-" + d.id, d.open ? "1" : "0");
};
const recall = () => {
  for (const d of $$("details[data-keep]")) {
    const was = sessionStorage.getItem("open-" + d.id);
    if (was) d.open = was === "1";
    d.addEventListener("toggle", () => { remember(); $$("iframe.panel", d).forEach(measure); });
  }
  // A frame that was faster than this script has told its height to nobody.
  $$("iframe.panel").forEach(measure);
  const box = $("#search");
  if (box) {
    box.value = sessionStorage.getItem("search") || "";
    box.addEventListener("input", filter);
    filter();
  }
};

let refreshing = false, again = false;
const refresh = async () => {
  if (program || sending) return;
  if (refreshing) { again = true; return; }
  refreshing = true;
  try {
    remember();
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    const next = new DOMParser().parseFromString(await answer.text(), "text/html");
    const typed = await collect(); // last, for typing goes on meanwhile
    if (sending) return;
    restore = Object.keys(typed).length ? typed : null;
    document.title = next.title;
    for (const [i, frame] of $$("iframe.panel", next).entries()) {
      const old = $$("iframe.panel")[i];
      if (old) frame.style.height = old.style.height; // no jump while the new one loads
    }
    for (const part of [".top", "main"]) $(part).replaceWith(document.adoptNode($(part, next)));
    recall();
    $("#live")?.classList.remove("off");
    document.documentElement.dataset.refreshed = String(Date.now());
  } finally {
    refreshing = false;
    if (again) { again = false; hear(); }
  }
};

// The server numbers its changes; a page knows the last that it is sure to show.
let told = 0;
const hear = () => {
  $("#live")?.classList.remove("off");
  if (!(Number($("#live")?.dataset.told) >= told)) refresh();
};
const listen = () => {
  const source = new EventSource("/events");
  for (const name of ["hello", "changed"]) source.addEventListener(name, (event) => { told = Number(event.data); hear(); });
  source.onerror = () => $("#live")?.classList.add("off");
  addEventListener("pagehide", () => source.close(), { once: true });
};

// ---- many seeds

const svg = (name, attributes, text) => {
  const e = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
  if (text !== undefined) e.textContent = text;
  return e;
};

const took = (ms) => (ms < 1000 ? ms.toFixed(0) + " ms" : (ms / 1000).toFixed(1) + " s");

const scatter = (caption, points, top, unit) => {
  const width = 520, height = 150, left = 66, bottom = 20, last = Math.max(...points.map((p) => p.x), 1);
  const x = (v) => left + 8 + ((v - 1) / Math.max(last - 1, 1)) * (width - left - 16), y = (v) => 10 + (1 - v / top) * (height - bottom - 16);
  const figure = document.createElement("figure");
  const title = document.createElement("figcaption");
  title.textContent = caption;
  const plot = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": caption });
  for (const share of [0, 0.5, 1]) {
    plot.append(svg("line", { class: "axis", x1: left, x2: width, y1: y(share * top), y2: y(share * top) }));
    plot.append(svg("text", { x: left - 6, y: y(share * top) + 4, "text-anchor": "end" }, unit(share * top)));
  }
  plot.append(svg("text", { x: left + 8, y: height - 4 }, "seed 1"), svg("text", { x: width - 8, y: height - 4, "text-anchor": "end" }, "seed " + last));
  for (const p of points) {
    const dot = svg("circle", { class: p.kind, cx: x(p.x), cy: y(p.y), r: 3.2 });
    dot.append(svg("title", {}, p.title));
    plot.append(dot);
  }
  figure.append(title, plot);
  return figure;
};

const draw = (trials, total) => {
  const box = $("#plot");
  if (!box) return;
  const failed = trials.filter((t) => t.failed), sorted = trials.map((t) => t.wall / 1e6).sort((a, b) => a - b);
  const p = document.createElement("p");
  const median = sorted[Math.floor(sorted.length / 2)] || 0;
  p.setAttribute("role", "status");
  p.innerHTML = `<span class="badge ${failed.length ? "bad" : "good"}"></span> <span class="muted"></span>`;
  p.firstChild.textContent = failed.length ? `${failed.length} of ${trials.length} failed` : `${trials.length} of ${total} fine`;
  p.lastChild.textContent = `median ${took(median)} for a whole life of the question`;
  const times = trials.map((t) => ({ x: t.seed, y: t.wall / 1e6, kind: t.failed ? "fail" : "ok", title: `seed ${t.seed}: ${(t.wall / 1e6).toFixed(1)} ms` }));
  const scores = [];
  for (const t of trials) for (const [kind, score] of Object.entries(t.scores || {})) {
    if (typeof score === "number") scores.push({ x: t.seed, y: Math.min(Math.max(score, 0), 1), kind: kind === "correct" ? (score >= 1 ? "ok" : "fail") : "fair", title: `seed ${t.seed}, ${kind}: ${Math.round(score * 100)} %` });
  }
  box.replaceChildren(p, scatter("Time of each seed", times, Math.max(...sorted, 1), took));
  if (scores.length) box.append(scatter("Scores: answers made to be right (green) and wrong (yellow)", scores, 1, (v) => Math.round(v * 100) + " %"));
  if (failed.length) {
    const list = document.createElement("ul");
    list.className = "failures";
    for (const t of failed.sort((a, b) => a.seed - b.seed).slice(0, 12)) {
      const item = document.createElement("li"), link = document.createElement("a");
      link.href = location.pathname + "?seed=" + t.seed;
      link.textContent = "seed " + t.seed;
      const problem = (t.problems || []).find((x) => !x.warning);
      item.append(link, " " + (t.error || (problem ? `${problem.phase}: ${problem.message}` : "")));
      list.append(item);
    }
    box.append(list);
  }
  box.hidden = false;
};

const runSeeds = async (form, button) => {
  const body = new URLSearchParams(new FormData(form));
  const total = Number(button.value);
  body.set("n", total);
  button.disabled = true;
  const trials = [];
  try {
    const answer = await fetch(form.action, { method: "POST", body });
    if (!answer.ok) throw new Error(await answer.text());
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = ""; ;) {
      const { value, done } = await reader.read();
      if (done) break;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) trials.push(JSON.parse(line));
      draw(trials, total);
    }
    document.documentElement.dataset.seeds = String(trials.length);
  } catch (error) {
    $("#plot").textContent = "The run ended early: " + error.message;
    $("#plot").hidden = false;
  } finally {
    button.disabled = false;
  }
};

recall();
listen();
addEventListener("pageshow", (event) => {
  if (event.persisted) listen(); // back on a page that was kept as it was
  sending = false;
  if (program) $("#run").disabled = false;
  const form = $("#answer");
  if (!form) return;
  delete form.dataset.sent;
  for (const b of $$("button", form)) b.disabled = false;
});
