"use strict";
// The glossary beside its words: under the pointer, under the keyboard; Escape closes it, and it can be pointed at.

function explainTerms(root) {
  const tip = document.getElementById("tip");
  if (!tip) return;
  let closing = 0;

  function show(term) {
    const meaning = document.getElementById(`term-${term.dataset.term}`);
    if (!meaning) return;
    clearTimeout(closing);
    tip.textContent = meaning.textContent;
    tip.hidden = false;
    const place = term.getBoundingClientRect();
    const left = Math.min(place.left, window.innerWidth - tip.offsetWidth - 8);
    const below = place.bottom + 4;
    const fits = below + tip.offsetHeight < window.innerHeight;
    tip.style.left = `${Math.max(8, left)}px`;
    tip.style.top = `${fits ? below : Math.max(0, place.top - tip.offsetHeight - 4)}px`;
  }
  function hide() {
    tip.hidden = true;
  }
  function hideSoon() {
    closing = setTimeout(hide, 200); // time to move the pointer onto the tip
  }
  const termOf = (event) => (event.target.closest ? event.target.closest(".term") : null);
  root.addEventListener("mouseover", (event) => termOf(event) && show(termOf(event)));
  root.addEventListener("mouseout", (event) => termOf(event) && hideSoon());
  root.addEventListener("focusin", (event) => termOf(event) && show(termOf(event)));
  root.addEventListener("focusout", (event) => termOf(event) && hide());
  root.addEventListener("click", (event) => termOf(event) && show(termOf(event)));
  tip.addEventListener("mouseenter", () => clearTimeout(closing));
  tip.addEventListener("mouseleave", hide);
  document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
}
