(() => {
  "use strict";
  // Whatever carries data-tip says it under the pointer, or under the finger.
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  tip.setAttribute("role", "status");
  document.body.append(tip);
  const show = (event) => {
    const over = event.target.closest && event.target.closest("[data-tip]");
    if (!over) { tip.hidden = true; return; }
    tip.textContent = over.dataset.tip;
    tip.hidden = false;
    const at = over.getBoundingClientRect(), own = tip.getBoundingClientRect();
    const left = Math.min(Math.max(8, at.left + at.width / 2 - own.width / 2), document.documentElement.clientWidth - own.width - 8);
    const above = at.top - own.height - 8;
    tip.style.left = left + "px";
    tip.style.top = (above > 8 ? above : at.bottom + 8) + "px";
  };
  document.addEventListener("pointerover", show);
  document.addEventListener("pointerdown", show);
  document.addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") tip.hidden = true; });
})();
