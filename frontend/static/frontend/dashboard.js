// Shows where in its message a memory rests, and which memories rest on a passage. One listener each on the
// document, so that what htmx swaps in needs no wiring.
"use strict";

const LIT = "lit";

function lightUp(target) {
  for (const lit of document.querySelectorAll("." + LIT)) lit.classList.remove(LIT);
  // What lies under a pointer that rests while the page scrolls must not put out what the keyboard lit.
  const pointed = target instanceof Element && target.closest("[data-source], [data-sources]");
  const found = pointed || document.activeElement?.closest("[data-source]");
  if (!found) return;
  const sources = (found.dataset.source ?? found.dataset.sources).split(" ");
  for (const source of sources) {
    // A passage lights the memories that rest on it; a memory, every part of its passage.
    const others = found.dataset.source ? `[data-sources~="${source}"]` : `[data-source="${source}"]`;
    for (const other of document.querySelectorAll(others)) other.classList.add(LIT);
  }
  found.classList.add(LIT);
}

document.addEventListener("pointerover", (event) => lightUp(event.target));
document.addEventListener("focusin", (event) => lightUp(event.target));
document.addEventListener("focusout", () => setTimeout(lightUp)); // when the focus has moved on
