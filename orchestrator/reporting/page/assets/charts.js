"use strict";
// Plots, drawn by Chart.js: a legend of buttons that hide and highlight, limits as lines, the numbers as a table.

const COLOURS = ["#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#999999"]; // Paul Tol, bright
const FADED = "33"; // opacity of what is not highlighted
const MANY = 24; // series: more than that are told apart by highlighting alone
const ROOM = 20; // pixels that a label needs beside its line

function themeColours() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(name).trim();
  return { text: read("--text"), line: read("--line"), good: read("--good"), bad: read("--bad"), link: read("--link") };
}

function colourOf(series, index, theme) {
  if (series.role === "best" || series.role === "confirmed") return theme.link;
  if (series.role === "bounds") return theme.link;
  if (series.role === "broken") return theme.bad;
  return COLOURS[index % COLOURS.length];
}

const SHAPES = { best: "rectRot", confirmed: "triangle", broken: "crossRot", bounds: "line" };

function dataset(series, index, theme) {
  const colour = colourOf(series, index, theme);
  const best = series.role === "best";
  return {
    label: series.name,
    data: series.points.map(([x, y, text]) => ({ x, y, text })),
    showLine: series.joined,
    borderColor: colour,
    backgroundColor: colour,
    borderWidth: best ? 4 : 2,
    borderDash: series.role === "bounds" ? [4, 3] : [],
    pointStyle: SHAPES[series.role] || "circle",
    pointRadius: best || series.role === "confirmed" ? 8 : 4,
    pointHoverRadius: 9,
    order: best ? 0 : 1,
    own: { colour, view: series.view },
  };
}

/**
 * The distance of a label from its line, in pixels: to the right or upwards, and that of zero to the other side, because a
 * limit may lie close above it. A label whose line is near the edge on that side lies on the other.
 */
function beside(axis, value) {
  return ({ chart }) => {
    const { left, right, top, bottom } = chart.chartArea;
    const [begin, end] = axis === "x" ? [left, right] : [top, bottom];
    const at = chart.scales[axis].getPixelForValue(value);
    const wanted = (axis === "x") === (value === 0) ? -8 : 8;
    const room = wanted > 0 ? end - at : at - begin;
    return room < ROOM ? -wanted : wanted;
  };
}

function limitLines(chart, theme) {
  return chart.limits.map(([axis, value, text]) => ({
    type: "line",
    [`${axis}Min`]: value,
    [`${axis}Max`]: value,
    borderColor: theme.text,
    borderDash: [6, 4],
    borderWidth: 1,
    label: {
      display: true,
      content: text,
      position: axis === "y" ? "end" : "start",
      backgroundColor: "transparent",
      color: theme.text,
      font: { weight: "normal", size: 11 },
      rotation: axis === "x" ? -90 : 0,
      [`${axis}Adjust`]: beside(axis, value),
    },
  }));
}

function axisOf(title, theme) {
  return {
    title: { display: Boolean(title), text: title, color: theme.text },
    ticks: { color: theme.text },
    grid: { color: theme.line },
    grace: "8%",
  };
}

function configuration(chart, theme) {
  const shared = {
    responsive: true,
    maintainAspectRatio: false,
    animation: false,
    interaction: { mode: "nearest", intersect: true },
    plugins: { legend: { display: false }, annotation: { annotations: limitLines(chart, theme) } },
    scales: { x: axisOf(chart.x, theme), y: axisOf(chart.y, theme) },
  };
  if (chart.bars) {
    shared.indexAxis = "y";
    shared.scales.x.min = 0;
    shared.scales.x.max = 100;
    delete shared.scales.x.grace;
    const data = chart.series.map((series) => series.points[0][0]);
    const labels = chart.series.map((series) => series.name);
    return { type: "bar", data: { labels, datasets: [{ data, backgroundColor: COLOURS[0] }] }, options: shared };
  }
  shared.plugins.tooltip = { callbacks: { label: (item) => sayPoint(item.raw) } };
  return { type: "scatter", data: { datasets: chart.series.map((s, i) => dataset(s, i, theme)) }, options: shared };
}

/** A number as the report shows it: the even digit where both are as near, which toFixed rounds up; and no -0.00. */
function twoDecimals(number) {
  const between = Number.isInteger(number * 8) && !Number.isInteger(number * 4); // only eighths are that exactly
  const rounded = between ? (2 * Math.round(number * 50)) / 100 : number;
  return rounded.toFixed(2).replace(/^-0\.00$/, "0.00");
}

function sayPoint(point) {
  return `${point.text}: ${twoDecimals(point.x).replace(/\.00$/, "")}, ${twoDecimals(point.y)}`;
}

function highlight(plot, chosen) {
  plot.data.datasets.forEach((each, index) => {
    const faded = chosen !== null && !chosen.includes(index);
    const colour = faded ? each.own.colour.slice(0, 7) + FADED : each.own.colour;
    each.borderColor = colour;
    each.backgroundColor = colour;
  });
  plot.update("none");
}

/** Buttons: pressed ones are shown, the one under pointer or focus stands out. */
function legendOf(plot, hasView) {
  const legend = element("div", { class: "legend", role: "group", "aria-label": "Legend: press to hide or show" });
  const draw = () => {
    legend.replaceChildren();
    const shown = plot.data.datasets.map((each, index) => index).filter((index) => hasView(plot.data.datasets[index].own.view));
    for (const name of new Set(shown.map((index) => plot.data.datasets[index].label))) {
      const own = shown.filter((index) => plot.data.datasets[index].label === name); // both bars of one pair of bounds
      const each = plot.data.datasets[own[0]];
      const swatch = element("span", { class: "swatch" });
      swatch.style.background = each.own.colour;
      const button = element("button", { type: "button" }, swatch, each.label);
      const say = () => button.setAttribute("aria-pressed", String(plot.isDatasetVisible(own[0])));
      button.addEventListener("click", () => {
        const visible = !plot.isDatasetVisible(own[0]);
        own.forEach((index) => plot.setDatasetVisibility(index, visible));
        plot.update("none");
        say();
      });
      for (const [begin, end] of [["mouseenter", "mouseleave"], ["focus", "blur"]]) {
        button.addEventListener(begin, () => highlight(plot, own));
        button.addEventListener(end, () => highlight(plot, null));
      }
      say();
      legend.append(button);
    }
    if (legend.childElementCount > MANY) legend.tabIndex = 0;
  };
  draw();
  return [legend, draw];
}

function numbersOf(chart) {
  const details = element("details", {}, element("summary", {}, "The numbers of this plot"));
  details.addEventListener("toggle", () => {
    if (!details.open || details.childElementCount > 1) return;
    const values = ([x, y]) => (chart.bars ? [twoDecimals(x)] : [twoDecimals(x), twoDecimals(y)]);
    const rowOf = (series) => (point) => [series.name, point[2], ...values(point)];
    const rows = chart.series.flatMap((series) => series.points.map(rowOf(series)));
    const columns = ["series", "point", chart.x, ...(chart.bars ? [] : [chart.y])];
    const table = plainTable(chart.title, columns, rows);
    makeSortable(table);
    details.append(element("div", { class: "scroll", tabIndex: 0, role: "group", "aria-label": `Numbers: ${chart.title}` }, table));
  });
  return details;
}

function drawChart(chart) {
  const figure = document.getElementById(`chart-${chart.id}`);
  if (!figure) return;
  const canvas = element("canvas", { role: "img", "aria-label": `${chart.title}. ${chart.note} The numbers are in the table below.` });
  figure.append(element("div", { class: "canvas" }, canvas));
  let view = chart.views.length ? chart.views[0][0] : "";
  const hasView = (own) => !own || own === view;
  let plot = new Chart(canvas, configuration(chart, themeColours()));
  const showView = () => {
    plot.data.datasets.forEach((each, index) => plot.setDatasetVisibility(index, !each.own || hasView(each.own.view)));
    plot.update("none");
  };
  showView();
  let drawLegend = () => {};
  if (!chart.bars) {
    const [legend, draw] = legendOf(plot, hasView);
    drawLegend = draw;
    if (chart.views.length > 1) {
      const select = choice(chart.views, view, (value) => {
        view = value;
        showView();
        draw();
      });
      figure.querySelector(".canvas").before(element("div", { class: "controls" }, labelled("Show", select)));
    }
    figure.append(legend);
  }
  figure.append(numbersOf(chart));
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    const fresh = configuration(chart, themeColours());
    plot.options = fresh.options;
    fresh.data.datasets.forEach((each, index) => Object.assign(plot.data.datasets[index], each));
    plot.update("none"); // what was hidden stays hidden
    drawLegend();
  });
}

function drawCharts(charts) {
  if (typeof Chart === "undefined") return;
  charts.forEach(drawChart);
}
