// Comfort only: every page works without this file.
(function () {
  "use strict";
  var flash = function (text) {
    var f = document.querySelector(".flash");
    if (!f) {
      f = document.createElement("div");
      f.className = "flash";
      f.setAttribute("role", "status");
      document.body.appendChild(f);
    }
    f.textContent = text;
    clearTimeout(flash.timer);
    flash.timer = setTimeout(function () { f.remove(); }, 4000);
  };
  var copies = function (root) {
    root.querySelectorAll(".copy[hidden]").forEach(function (b) { b.hidden = false; });
  };
  document.addEventListener("click", function (e) {
    var b = e.target.closest(".copy");
    if (!b || !navigator.clipboard) { return; }
    var text = b.dataset.copy || (b.previousElementSibling && b.previousElementSibling.textContent) || "";
    navigator.clipboard.writeText(text).then(function () { flash("Copied"); }, function () { flash("Not copied: the browser refuses"); });
  });
  document.addEventListener("click", function (e) {
    var b = e.target.closest("[aria-disabled=true]");
    if (b) { e.preventDefault(); }
  }, true);
  document.addEventListener("click", function (e) { // an open menu closes by a click elsewhere
    document.querySelectorAll("details.menu[open]").forEach(function (d) { if (!d.contains(e.target)) { d.open = false; } });
  });
  document.addEventListener("keydown", function (e) {
    if (e.key === "Escape") { document.querySelectorAll("details.menu[open]").forEach(function (d) { d.open = false; }); }
    var typing = e.target.matches("input:not([type=checkbox]):not([type=radio]), textarea, select");
    var plain = !typing && !e.ctrlKey && !e.metaKey && !e.altKey, keys = document.body.dataset.keys;
    if (e.key === "/" && plain && keys || e.key === "k" && (e.ctrlKey || e.metaKey)) {
      var f = document.getElementById("find");
      if (f) { e.preventDefault(); f.focus(); f.select(); }
    } else if (plain && keys) {
      press(e.key, keys);
    }
  });
  // Single keys, which a page of their own lists and turns off.
  var first = ""; // of two keys
  var press = function (key, list) {
    var rows = Array.from(document.querySelectorAll("main .grid tbody > tr:not(.child)"));
    var at = rows.indexOf(document.activeElement.closest(".grid tbody > tr")), row = rows[at], hit = null;
    var pair = first + key;
    first = key === "g" ? key : "";
    if (key === "j" || key === "k") {
      row = rows[Math.max(0, Math.min(at + (key === "j" ? 1 : -1), rows.length - 1))];
      hit = row && (row.querySelector("th a") || row.querySelector("a, button, input"));
      if (hit) { hit.focus(); }
      return;
    }
    if (pair === "gr") { hit = document.querySelector('.side a[href$="/repositories"]'); }
    if (pair === "gd") { hit = document.querySelector('.side a[href$="/denied"]'); }
    if (key === "x" && row) { hit = row.querySelector("input[type=checkbox]"); }
    if (key === "o" && row) { hit = row.querySelector('a[aria-label^="Open "], a[aria-label^="Close "]') || row.querySelector("th a"); }
    if (hit) { hit.click(); }
    if (key === "?") { location.href = list; }
  };
  // The field that finds has answers below it. Arrows go through them, Escape leaves them, and Enter in the field opens the search.
  var find = document.getElementById("find"), palette = document.getElementById("palette");
  if (find && palette) {
    var asking = null, wait = 0;
    var close = function () { clearTimeout(wait); if (asking) { asking.abort(); } palette.hidden = true; };
    find.addEventListener("input", function () {
      close();
      var text = find.value.trim();
      if (!text) { return; }
      wait = setTimeout(function () {
        asking = new AbortController();
        fetch(find.dataset.palette + encodeURIComponent(text), {headers: {Accept: "text/html", "HX-Request": "true"}, redirect: "error",
          signal: asking.signal}).then(function (r) { return r.ok ? r.text() : ""; }).then(function (html) {
          palette.innerHTML = html;
          palette.hidden = !html;
        }, function () {}); // Enter still opens the search
      }, 200);
    });
    find.form.addEventListener("keydown", function (e) {
      var links = Array.from(palette.querySelectorAll("a")), at = links.indexOf(document.activeElement);
      if (palette.hidden || !links.length) { return; }
      if (e.key === "Escape") {
        e.preventDefault();
        close();
        find.focus();
      } else if (e.key === "ArrowDown" || e.key === "ArrowUp") {
        e.preventDefault();
        var to = at + (e.key === "ArrowDown" ? 1 : -1);
        (to < 0 ? find : links[Math.min(to, links.length - 1)]).focus();
      }
    });
    find.form.addEventListener("focusout", function (e) { if (!find.form.contains(e.relatedTarget)) { setTimeout(close, 150); } });
  }
  document.addEventListener("change", function (e) { // the client is the same on the next page
    if (e.target.dataset.client !== undefined) {
      document.cookie = "ecrin-client=" + e.target.value + "; path=/console; max-age=31536000; samesite=lax" +
        (location.protocol === "https:" ? "; secure" : "");
    }
  });
  // The numbers of an editor follow the text; its marks go with the first key.
  document.addEventListener("input", function (e) {
    var sheet = e.target.closest(".editor .sheet");
    if (!sheet || e.target.tagName !== "TEXTAREA") { return; }
    var pre = sheet.querySelector("pre");
    if (!pre) { return; }
    pre.textContent = "";
    e.target.value.split("\n").forEach(function (text, i) {
      var line = document.createElement("span");
      line.className = "ln";
      line.id = "L" + (i + 1);
      line.textContent = text;
      pre.appendChild(line);
    });
  });
  // A part that looks again by itself says, without an answer, since when it is old, keeps its content, and goes on looking with growing pauses.
  var stale = function (e) {
    var part = e.detail.elt, url = part.getAttribute("hx-get");
    if (!url || !part.isConnected) { return; }
    if (!part.querySelector(".stale")) {
      var note = document.createElement("span");
      note.className = "stale";
      note.setAttribute("role", "status");
      note.textContent = "No answer since " + new Date().toISOString().slice(11, 19) + " UTC: what is shown is from then.";
      part.prepend(note);
    }
    part.dataset.pause = Math.min(2 * (Number(part.dataset.pause) || 1), 60);
    setTimeout(function () {
      if (part.isConnected) { htmx.ajax("GET", url, {source: part, target: part, swap: "outerHTML"}); }
    }, 1000 * Number(part.dataset.pause));
  };
  ["htmx:sendError", "htmx:responseError", "htmx:timeout"].forEach(function (name) { document.addEventListener(name, stale); });
  copies(document);
  document.addEventListener("htmx:afterSwap", function (e) { copies(e.target); });
})();
