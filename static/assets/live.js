// Parts of pages with data-live ask for themselves again: at intervals, and at once when the stream at /live says that
// something changed. All tabs of a browser share one stream, which the tab that holds a lock reads; a hidden tab reads
// none. Without it, or where a browser lacks what it needs, the intervals remain. Acts that a page offers and that are
// not allowed any more stay in their place, and say why.
"use strict";
(() => {
  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const regions = () => [...document.querySelectorAll("[data-live][hx-get]")];
  const stillGood = 35_000; // the stream says something every 15 s
  const atLeast = 30_000; // so often a page asks for itself, whatever the stream says
  let heard = -Infinity; // when this tab last heard of the stream
  const looked = new Map(); // when a region last asked, by its id; -Infinity where that failed
  const flying = new Map(); // requests under way, and the id of the region whose place the answer takes
  // age is how long ago something was, in milliseconds. What is to come was before the clock was set back: long ago.
  const age = (at) => {
    const passed = Date.now() - at;
    return passed < 0 ? Infinity : passed;
  };

  // A region does not ask while the page is hidden, or somebody types or drags; what was said meanwhile waits.
  let lastKey = 0, pressed = false;
  addEventListener("keydown", () => { lastKey = Date.now(); }, true);
  addEventListener("pointerdown", () => { pressed = true; }, true);
  for (const end of ["pointerup", "pointercancel", "blur"]) addEventListener(end, () => { pressed = false; }, true);
  const busy = () => document.hidden || pressed || age(lastKey) < 1500;
  const due = new Set(); // ids of regions that are to ask
  let waiting = 0;
  const ask = () => {
    clearTimeout(waiting);
    if (due.size === 0) return;
    if (busy()) {
      if (!document.hidden) waiting = setTimeout(ask, 300);
      return;
    }
    const under = new Set(flying.values());
    const later = [];
    let wait = Infinity;
    for (const region of regions()) {
      if (!due.delete(region.id) || region.dataset.stopped) continue;
      // What is on its way may have been read before; htmx would drop a second request. The end of the first asks again.
      const early = under.has(region.id) ? Infinity : Number(region.dataset.liveCalm ?? 0) - age(looked.get(region.id) ?? -Infinity);
      if (early > 0) { // a calm region does not ask more often than it says
        later.push(region.id);
        wait = Math.min(wait, early);
        continue;
      }
      htmx.trigger(region, "live");
    }
    due.clear();
    for (const id of later) due.add(id);
    if (wait < Infinity) waiting = setTimeout(ask, wait + 10);
  };
  const look = (accounts) => {
    for (const region of regions()) {
      if (!accounts || !region.dataset.live || accounts.includes(region.dataset.live)) due.add(region.id);
    }
    ask();
  };

  // retire has what the page offers stay in its place, and say why it is not offered any more: "session", "right",
  // "gone" or "moved". What was typed stays, too, so that it can be copied. Links and buttons keep the focus, for whoever is there.
  const acts = "main form[method=post] :is(button:not([type=button]), input[type=submit]), main [data-offers] a, main :is(a.btn-primary, a.btn-danger, a.btn-danger-quiet)";
  const retire = (why) => {
    if (document.body.dataset.retired) return;
    document.body.dataset.retired = why;
    for (const act of all(acts)) {
      act.setAttribute("aria-disabled", "true");
      act.setAttribute("aria-describedby", `retired-${why}`);
      if (!act.matches("a")) continue;
      act.setAttribute("role", "link");
      act.removeAttribute("href");
      act.tabIndex = 0;
    }
    // In words beside them, but not in every row of a table.
    for (const place of all("main :is([data-offers], form[method=post])")) {
      if (!one(".btn", place) || place.parentElement.closest("td, [data-offers]")) continue;
      const words = document.createElement("p");
      words.className = "sub";
      words.dataset.testid = "retired";
      words.textContent = one(`#retired-${why}`)?.textContent ?? "";
      place.append(words);
    }
  };
  document.addEventListener("submit", (event) => {
    if (!document.body.dataset.retired || event.target.method !== "post" || !event.target.closest("main")) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }, true);
  const lasting = { 401: "session", 403: "right", 404: "gone" };
  // recheck asks for the page again, after the member's rights changed: its offers become what they are now.
  let checking = false, checkAgain = false;
  const recheck = async () => {
    if (!("again" in document.body.dataset)) return;
    checkAgain = checking; // what is on its way may have been decided before
    if (checking) return;
    checking = true;
    try {
      // Another page than this one, as of signing in, says nothing of what this one offers.
      const answer = await fetch(location.href, {
        cache: "no-store", redirect: "error", headers: { "HX-Request": "true", "HX-Boosted": "true", "X-Quartermaster-Background": "1" },
      });
      const lost = lasting[answer.status];
      if (!answer.ok && !lost) return;
      if (!lost && answer.headers.has("HX-Redirect")) {
        retire("moved"); // another page says nothing of what this one offers
        return;
      }
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (lost) {
        const said = one("[data-error]", fresh);
        if (said && !one("#notice > *")) one("#notice")?.append(said);
        retire(lost);
        return;
      }
      for (const offers of all("main [data-offers]")) {
        const now = fresh.getElementById(offers.id);
        if (!now) offers.remove();
        else if (now.outerHTML !== offers.outerHTML) offers.replaceWith(now);
      }
    } catch { /* the next change of rights asks again */ } finally {
      checking = false;
      if (checkAgain) recheck();
    }
  };

  const live = (event) => event.target.closest?.("[data-live]");
  const source = (event) => event.detail?.ctx?.sourceEvent?.type;
  // The stream makes looking at intervals needless, but for a cluster that moves: not all that is told of it is a change
  // of the cluster.
  const needless = (region) => age(heard) < stillGood && !("liveMoving" in region.dataset) && age(looked.get(region.id) ?? loaded) < atLeast;
  const loaded = Date.now();
  document.addEventListener("htmx:before:request", (event) => {
    const region = live(event), { ctx } = event.detail;
    if (region && source(event) === "every" && (busy() || region.dataset.stopped || needless(region))) {
      event.preventDefault();
      return;
    }
    if (region) looked.set(region.id, Date.now());
    flying.set(ctx, ctx.target?.id ?? "");
  });
  document.addEventListener("htmx:finally:request", ({ detail: { ctx } }) => {
    const id = flying.get(ctx);
    if (!flying.delete(ctx)) return;
    if (!(ctx.response?.status < 400) || ctx.status.startsWith("error")) looked.set(id, -Infinity);
    setTimeout(ask); // htmx lets the next one through when this event is over
  });
  const lost = one("#lost");
  const show = (gone) => { if (lost && lost.hidden === gone) lost.hidden = !gone; };
  document.addEventListener("htmx:error", (event) => { if (event.detail?.ctx && event.target.closest?.("main")) show(true); });
  document.addEventListener("htmx:after:request", (event) => {
    show(false);
    const { status, headers } = event.detail?.ctx?.response ?? {};
    const region = live(event);
    if (region && lasting[status]) {
      region.dataset.stopped = "1";
      retire(lasting[status]);
    }
    if (region?.closest("main") && status < 400) one("#notice")?.replaceChildren();
    const url = headers?.get("HX-Replace-Url");
    if (url?.startsWith("/") && status < 400) history.replaceState(null, "", url);
  });

  // Text that is selected stays selected where it is still there.
  let selected = null;
  document.addEventListener("htmx:before:swap", () => {
    const s = getSelection();
    selected = s && !s.isCollapsed ? [s.anchorNode, s.anchorOffset, s.focusNode, s.focusOffset, s.toString()] : null;
  });
  document.addEventListener("htmx:after:swap", () => {
    if (!selected) return;
    const [anchor, from, focus, to, text] = selected;
    selected = null;
    const fits = (node, offset) => node?.isConnected && offset <= (node.nodeType === Node.TEXT_NODE ? node.length : node.childNodes.length);
    if (getSelection().toString() !== text && fits(anchor, from) && fits(focus, to)) getSelection().setBaseAndExtent(anchor, from, focus, to);
  });

  // Opened sections stay open when a refresh brings them again.
  globalThis.htmx?.registerExtension("keep-open", {
    htmx_before_morph_attr: (el, { attrName }) => !(attrName === "open" && el.tagName === "DETAILS"),
  });

  if (!globalThis.htmx || !navigator.locks || !globalThis.BroadcastChannel || !globalThis.TextDecoderStream || regions().length === 0) return;

  // What tabs say to each other: {event, data, id} is passed on from the stream, {hello, tab} asks for what came since,
  // and {to, ...} answers one of them.
  const tab = crypto.randomUUID();
  const channel = new BroadcastChannel("quartermaster-live");
  let since = Date.parse(document.body.dataset.now ?? "") || 0; // of the server's clock
  const kept = []; // what the stream said, while this tab reads it
  let keptFrom = Infinity;
  const take = ({ event, data, id }) => {
    heard = Date.now();
    if (event === "look" || (event === "end" && data !== "again")) look();
    if ((event === "look" && data === "rights") || (event === "end" && data === "nothing")) recheck();
    else if (event === "changed") look(data.split(" "));
    since = id; // also where it is less: another console's clock, or one that was set right
  };
  channel.onmessage = ({ data: said }) => {
    if (said.hello === undefined) {
      if (!document.hidden && (said.to ?? tab) === tab) take(said);
    } else if (keptFrom < Infinity) {
      if (said.hello + 2000 < keptFrom || said.hello > since + stillGood) channel.postMessage({ to: said.tab, event: "look", id: since });
      else for (const one of kept) if (one.id + 2000 > said.hello) channel.postMessage({ to: said.tab, ...one });
    }
  };
  const tell = (said) => {
    take(said);
    channel.postMessage(said);
    if (said.event === "beat") return;
    kept.push(said);
    if (kept.length > 64) keptFrom = kept.shift().id;
  };

  const pause = (ms, signal) => new Promise((resolve) => {
    if (signal.aborted) {
      resolve();
      return;
    }
    const timer = setTimeout(resolve, ms * (0.75 + Math.random() / 2));
    signal.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
  });
  // read reads one stream to its end, and returns how long to wait before the next, or -1 when there is to be none.
  const read = async (signal) => {
    const answer = await fetch("/live", {
      signal, cache: "no-store", redirect: "error",
      headers: { "HX-Request": "true", "X-Quartermaster-Background": "1", "Last-Event-ID": String(since) },
    });
    if (answer.status === 401) {
      tell({ event: "end", data: "session", id: since });
      return -1;
    }
    if (!answer.ok) return answer.status === 403 || answer.status === 404 ? 300_000 : 5_000;
    if (answer.headers.get("Content-Type") !== "text/event-stream") return 300_000; // 204: there is nothing to be told
    keptFrom = since;
    kept.length = 0;
    let text = "";
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return 1_000;
      text += value;
      for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
        const said = { data: "" };
        for (const line of text.slice(0, end).split("\n")) {
          const [, name, rest] = /^(\w+): ?(.*)$/.exec(line) ?? [];
          if (name) said[name] = name === "id" ? Number(rest) : rest;
        }
        text = text.slice(end + 2);
        tell(said);
        if (said.event === "end") return { session: -1, nothing: 300_000 }[said.data] ?? 500;
      }
    }
  };
  // follow reads streams for all tabs, one after the other, while this tab holds the lock.
  const follow = async (stop) => {
    for (let failures = 0; !stop.aborted;) {
      const one = new AbortController();
      const give = () => one.abort();
      stop.addEventListener("abort", give, { once: true });
      // A connection that died unnoticed, as over a night, says nothing any more.
      const watch = setInterval(() => { if (age(heard) > stillGood + 10_000) one.abort(); }, 5_000);
      if (age(heard) > stillGood) heard = Date.now() - stillGood;
      let wait;
      try {
        wait = await read(one.signal);
        failures = 0;
      } catch {
        wait = Math.min(60_000, 1_000 * 2 ** failures++);
      }
      clearInterval(watch);
      stop.removeEventListener("abort", give);
      keptFrom = Infinity;
      if (wait < 0) return;
      await pause(wait, stop);
    }
  };

  let shown = null; // ends this tab's part when it is hidden
  const begin = () => {
    if (shown || document.hidden) return;
    shown = new AbortController();
    const { signal } = shown;
    navigator.locks.request("quartermaster-live", { signal }, () => follow(signal)).catch(() => {}); // hidden before its turn
    // The tab that reads hears of this one; when it is this one itself, the stream says what came since.
    channel.postMessage({ hello: since, tab });
    ask();
  };
  const end = () => {
    shown?.abort();
    shown = null;
    heard = -Infinity;
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? end() : begin()));
  addEventListener("pagehide", end);
  addEventListener("pageshow", begin);
  begin();
})();
