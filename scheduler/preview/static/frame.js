// Inside a panel's frame: tells the page how high the panel is and, when the page
// asks, what was entered. The frame has no origin of its own, so that messages
// are all it has.
"use strict";
(() => {
  const tell = (message) => parent.postMessage(message, "*");
  const form = () => document.forms["question-form"];

  const base64 = async (file) => {
    const bytes = new Uint8Array(await file.arrayBuffer());
    let text = "";
    for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
    return btoa(text);
  };

  // Files go where PrairieLearn's elements have them: a list of names and contents.
  const fields = async () => {
    const all = {};
    if (!form()) return all;
    for (const [name, value] of new FormData(form())) {
      if (typeof value !== "string") {
        if (value.name) (all._files ||= []).push({ name: value.name, contents: await base64(value) });
        continue;
      }
      if (!(name in all)) all[name] = value;
      else all[name] = [].concat(all[name], value);
    }
    return all;
  };

  const fill = (values) => {
    for (const e of form() ? form().elements : []) {
      if (!e.name || !(e.name in values) || e.type === "file" || e.type === "hidden") continue;
      const mine = [].concat(values[e.name]);
      if (e.type === "checkbox" || e.type === "radio") e.checked = mine.includes(e.value);
      else e.value = mine[0];
    }
  };

  addEventListener("message", (event) => {
    if (event.source !== parent || !event.data) return;
    if (event.data.type === "collect") fields().then((all) => tell({ type: "fields", fields: all }));
    if (event.data.type === "fill") fill(event.data.fields);
    if (event.data.type === "measure") grow();
  });
  addEventListener("submit", (event) => {
    if (event.target !== form()) return;
    event.preventDefault();
    tell({ type: "submit" });
  });
  addEventListener("securitypolicyviolation", (event) => tell({ type: "blocked", what: event.blockedURI }));
  const grow = () => tell({ type: "height", width: innerWidth, height: Math.ceil(document.documentElement.getBoundingClientRect().height) + 1 });
  addEventListener("load", grow);
  document.addEventListener("DOMContentLoaded", () => {
    if (form()) tell({ type: "ready" });
    new ResizeObserver(grow).observe(document.documentElement);
    grow();
  });

  window.MathJax = {
    tex: { inlineMath: [["$", "$"], ["\\(", "\\)"]], processEscapes: true },
    options: { enableMenu: false, ignoreHtmlClass: "tex2jax_ignore|mathjax_ignore" },
    svg: { fontCache: "local" },
    // A frame out of sight is told of no change in size: say what formulas made of it.
    startup: { pageReady: () => MathJax.startup.defaultPageReady().then(grow) },
  };
})();
