// What the console's pages do with scripts: shortcuts, copy buttons, relative times that go on. Every
// page works without it.
"use strict";
(() => {
  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const typing = (el) => el instanceof HTMLElement && el.matches("input:not([type=radio], [type=checkbox]), textarea, select, [contenteditable]");

  // Relative times. The words are those of templates.Ago; a test compares the two.
  const units = [[31536000, "y"], [2592000, "mo"], [86400, "d"], [3600, "h"], [60, "min"]];
  const ago = (seconds, short) => {
    const s = Math.floor(Math.abs(seconds));
    if (s < 5) return "now";
    const [size, unit] = units.find(([n]) => s >= n) ?? [1, "s"];
    const words = `${Math.floor((seconds < 0 && size > 1 ? s + size / 2 : s) / size)} ${unit}`;
    if (short) return words;
    return seconds < 0 ? `in ${words}` : `${words} ago`;
  };
  // The server's clock is right by definition: the page says what time it was when it was made.
  const serverNow = Date.parse(one("body")?.dataset.now ?? "");
  const skew = Number.isNaN(serverNow) ? 0 : serverNow - Date.now();
  const tick = () => {
    if (document.hidden) return;
    for (const el of all("time[data-ago]")) {
      const words = ago((Date.now() + skew - Date.parse(el.dateTime)) / 1000, el.dataset.ago === "short");
      if (el.textContent !== words) el.textContent = words;
    }
  };
  setInterval(tick, 1000);

  // Copy buttons.
  const said = one("#said");
  const say = (words) => {
    if (!said) return;
    said.textContent = "";
    setTimeout(() => { said.textContent = words; }, 50);
  };
  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("[data-copy]");
    if (!button) return;
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.classList.add("copied");
      setTimeout(() => button.classList.remove("copied"), 1500);
      say("Copied");
    } catch {
      const text = button.parentElement?.querySelector("[data-copy-text]");
      if (text) getSelection()?.selectAllChildren(text);
      say("Could not copy; the text is selected");
    }
  });

  // Menus close on Escape and on a click elsewhere.
  document.addEventListener("click", (event) => {
    for (const menu of all("details.pop[open]")) if (!menu.contains(event.target)) menu.open = false;
  });

  // Shortcuts. Single keys can be turned off in the help dialog; the choice stays in this browser.
  const help = one("#help");
  const toggle = one("#shortcuts-on");
  const stored = () => {
    try { return localStorage.getItem("shortcuts"); } catch { return null; }
  };
  const shortcuts = () => stored() !== "off";
  if (toggle) {
    toggle.checked = shortcuts();
    toggle.addEventListener("change", () => {
      try { localStorage.setItem("shortcuts", toggle.checked ? "on" : "off"); } catch { /* private mode: holds for this page */ }
    });
  }
  for (const opener of all("[data-help]")) opener.addEventListener("click", () => help?.showModal());
  let leader = 0;
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      for (const menu of all("details.pop[open]")) {
        menu.open = false;
        one("summary", menu)?.focus();
      }
      if (event.target.matches?.("[data-search]")) event.target.blur();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (typing(event.target) || help?.open || !shortcuts()) return;
    if (Date.now() - leader < 1200) {
      leader = 0;
      const link = one(`[data-key="${CSS.escape(event.key)}"]`);
      if (link) {
        event.preventDefault();
        link.click();
      }
      return;
    }
    if (event.key === "/") {
      const search = one("[data-search]");
      if (!search) return;
      event.preventDefault();
      search.focus();
      search.select();
      // Some input methods send the character on its own, between the key that was stopped and its end.
      const drop = (typed) => { if (typed.data === "/") typed.preventDefault(); };
      search.addEventListener("beforeinput", drop);
      addEventListener("keyup", () => search.removeEventListener("beforeinput", drop), { once: true, capture: true });
    } else if (event.key === "?") {
      event.preventDefault();
      help?.showModal();
    } else if (event.key === "g") {
      leader = Date.now();
    }
  });

  // A form is sent once: a second press while the answer is on its way does nothing.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post") return;
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "1";
    event.submitter?.setAttribute("aria-busy", "true");
  });
  addEventListener("pageshow", () => {
    for (const form of all("form[data-sent]")) delete form.dataset.sent;
    for (const button of all("[aria-busy]")) button.removeAttribute("aria-busy");
  });

  // A secret is shown once. It goes with its page, also where the browser keeps the page to come back to.
  addEventListener("pagehide", () => { for (const el of all("[data-once]")) el.remove(); });

  document.addEventListener("htmx:after:swap", tick);
  // Opened sections stay open when a refresh brings them again.
  globalThis.htmx?.registerExtension("keep-open", {
    htmx_before_morph_attr: (el, { attrName }) => !(attrName === "open" && el.tagName === "DETAILS"),
  });
})();
