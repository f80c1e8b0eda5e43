"use strict";
// The overview as it changes. Without this script, or when the connection is lost, the page is as it was loaded.
(() => {
  const live = document.getElementById("live"), state = document.getElementById("live-state");
  if (!live || !window.EventSource) return;
  let failures = 0;
  const say = (text, how) => {
    if (state.textContent !== text) state.textContent = text;
    state.className = "live " + how;
  };
  // Replaces the parts that differ. What is being used is put back where it was.
  const show = (html) => {
    const next = document.createElement("div");
    next.innerHTML = html; // made and escaped by the server
    for (const part of next.children) {
      const old = document.getElementById(part.id);
      if (!old || old.innerHTML === part.innerHTML) continue;
      const held = old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
      old.replaceChildren(...part.childNodes);
      if (held) [...old.querySelectorAll("a")].find((a) => a.getAttribute("href") === held)?.focus();
    }
  };
  let source;
  const open = () => {
    source = new EventSource(live.dataset.from);
    source.onmessage = (e) => { failures = 0; show(e.data); say("live", "on"); };
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED || ++failures > 5) {
        source.close();
        say("not live: reload the page", "off");
      } else {
        say("connection lost, trying again", "off");
      }
    };
  };
  // A browser has few connections to one host: a page that nobody sees gives up its own.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) source.close(); else if (source.readyState === EventSource.CLOSED) open();
  });
  addEventListener("pagehide", () => source.close());
  open();
})();
// The events of a test until they have ended, and a choice that is taken at once. Without this script there are links and a button.
(() => {
  const look = async (e) => {
    const r = await fetch(e.dataset.outcome).catch(() => null);
    if (r?.redirected) return; // signed out
    if (r?.ok) {
      const html = await r.text(); // made and escaped by the server
      if (e.innerHTML !== html) e.innerHTML = html;
    }
    if (!e.querySelector("[data-ended]")) setTimeout(look, 1000, e);
  };
  for (const e of document.querySelectorAll("[data-outcome]")) look(e);
  for (const e of document.querySelectorAll("select[data-submit]")) e.addEventListener("change", () => e.form.requestSubmit());
})();
