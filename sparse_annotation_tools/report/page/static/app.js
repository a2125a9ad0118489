// Which page is shown: the overview, or the case that the address names.
"use strict";

Rada.receiveReport = (report) => {
  Rada.report = report;
  document.title = `${report.dataset}: report`;
  document.getElementById("home").textContent = report.dataset;
  document.getElementById("loading").hidden = true;
  Rada.drawOverview();
  addEventListener("hashchange", () => Rada.route(true));
  Rada.route(false);
};

Rada.route = (isMoved) => {
  const one = Rada.report.cases.find((each) => Rada.caseAddress(each.folder) === location.hash);
  const [overview, place] = [document.getElementById("overview"), document.getElementById("case")];
  overview.hidden = Boolean(one);
  place.hidden = !one;
  document.title = `${one ? one.name : Rada.report.dataset}: report`;
  if (one) {
    Rada.showCase(one);
    scrollTo(0, 0);
    document.getElementById("case-title").focus({ preventScroll: true });
    return;
  }
  Rada.viewer?.stop();
  Rada.viewer = null;
  place.replaceChildren();
  const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
  if (target) target.scrollIntoView();
  else if (isMoved) document.getElementById("page-title").focus();
};

addEventListener("load", () => {
  if (!Rada.report) document.getElementById("loading").textContent = "data/report.js is missing or broken; make the report again.";
});
