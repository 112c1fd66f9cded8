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
    var typing = /^(INPUT|TEXTAREA|SELECT)$/.test(e.target.tagName);
    if (e.key === "/" && !typing && !e.ctrlKey && !e.metaKey && !e.altKey || e.key === "k" && (e.ctrlKey || e.metaKey)) {
      var f = document.getElementById("find");
      if (f) { e.preventDefault(); f.focus(); f.select(); }
    }
  });
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
  copies(document);
  document.addEventListener("htmx:afterSwap", function (e) { copies(e.target); });
})();
