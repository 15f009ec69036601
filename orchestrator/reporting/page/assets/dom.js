"use strict";
// Elements are made here and nowhere else: every text goes in as text, never as markup.

/** An element with properties, data and children; strings become text. */
function element(tag, properties, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties || {})) {
    if (value === undefined || value === null) continue;
    if (name === "class") made.className = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name in made && !name.startsWith("aria")) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** A label with a control in it; the control is called by the text alone, not by its options too. */
function labelled(text, control) {
  control.setAttribute("aria-label", text);
  return element("label", {}, `${text} `, control);
}

/** A select of [value, text] pairs. */
function choice(options, chosen, onchange) {
  const made = element("select", { onchange: () => onchange(made.value) });
  for (const [value, text] of options) made.append(element("option", { value }, text));
  made.value = chosen;
  return made;
}

/** A table whose cells are text. */
function plainTable(caption, columns, rows) {
  return element(
    "table", { class: "sortable" },
    element("caption", {}, caption),
    element("thead", {}, element("tr", {}, ...columns.map((name) => element("th", { scope: "col" }, name)))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map((cell) => element("td", {}, String(cell)))))),
  );
}

function signed(number) {
  return number > 0 ? `+${number}` : String(number);
}
