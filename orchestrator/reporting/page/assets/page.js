"use strict";
// Everything begins here, once the page stands.

(async () => {
  const contents = JSON.parse(document.getElementById("contents").textContent);
  explainTerms(document.body);
  document.querySelectorAll("table.sortable").forEach(makeSortable);
  filterTrials();
  drawCharts(contents.charts || []);
  if (!contents.sets || !contents.sets.length) return;
  const source = new Source(contents);
  const view = document.getElementById("utterance-view");
  try {
    await showWorst(source, document.getElementById("worst"));
    await new UtteranceView(source, view, document.getElementById("words")).show();
  } catch (error) {
    view.replaceChildren(element("p", { role: "alert" }, `The utterances cannot be shown: ${error.message}`));
  }
})();
