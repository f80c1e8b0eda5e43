"use strict";
// Checks the manifest while it is typed: the server makes the same page as for the button "Check", and one part of it
// takes the place of the old one. Without this script the button is there.
(() => {
  const form = document.getElementById("manifest"), text = document.getElementById("text");
  if (!form || !window.AbortController) return;
  const pause = 500; // ms without a key
  let timer, asked;
  const check = async () => {
    asked?.abort();
    asked = new AbortController();
    const data = new FormData();
    data.set("revision", form.elements.revision.value);
    data.set("text", text.value);
    data.set("do", "check");
    const part = document.getElementById("check");
    part.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(form.action, { method: "POST", body: data, headers: { Accept: "text/html" }, signal: asked.signal });
      const next = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("check");
      if (!next) throw new Error("not signed in any more, or no gateway");
      part.replaceWith(next);
    } catch (e) {
      if (e.name === "AbortError") return;
      part.querySelector("h2").textContent = "What it changes: not checked";
      part.removeAttribute("aria-busy");
    }
  };
  text.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(check, pause);
  });
  form.elements.file.addEventListener("change", async () => {
    const file = form.elements.file.files[0];
    if (!file) return;
    text.value = await file.text();
    form.elements.file.value = ""; // or the file would be sent again in place of what is typed from now on
    check();
  });
  form.addEventListener("click", (e) => {
    const line = Number(e.target.dataset?.line);
    if (!line) return;
    e.preventDefault();
    const lines = text.value.split("\n"), begin = lines.slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
    text.focus();
    text.setSelectionRange(begin, begin + (lines[line - 1] ?? "").length);
    text.scrollTop = (line - 4) * parseFloat(getComputedStyle(text).lineHeight);
  });
})();
