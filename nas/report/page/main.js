// Everything is drawn once, and again where what is chosen changes.

frontControls();
traceControls();
onWidth(byId("front-chart"), drawFront);
onWidth(byId("parallel-chart").parentNode, drawParallel);
onWidth(byId("trace-chart"), drawTrace);
drawFilters();
drawMembers();
onChange(() => { drawFront(); drawParallel(); drawFilters(); drawMembers(); });
window.addEventListener("beforeprint", hideTip);
