"use strict";
// All that the page says is in its HTML. This sorts and filters tables, and shows the values of a figure's marks.
(() => {
  const number = (text) => {
    const match = text.replaceAll("−", "-").replaceAll(",", "").match(/-?\d+(\.\d+)?(e[-+]?\d+)?/);
    return match ? Number(match[0]) : NaN;
  };

  const compare = (a, b) => {
    const [x, y] = [number(a), number(b)];
    if (Number.isNaN(x) && Number.isNaN(y)) return a.localeCompare(b);
    if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) ? 1 : -1;
    return x - y;
  };

  const sort = (table, column, heading) => {
    const down = heading.ariaSort === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.ariaSort = down ? "descending" : "ascending";
    const text = (row) => row.cells[column].textContent;
    const byName = column === 0;
    const rows = [...table.tBodies[0].rows].sort((a, b) => (byName ? text(a).localeCompare(text(b)) : compare(text(a), text(b))));
    table.tBodies[0].append(...(down ? rows.reverse() : rows));
  };

  const filter = (table, words) => {
    const wanted = words.toLowerCase().split(/\s+/);
    for (const row of table.tBodies[0].rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !wanted.every((word) => text.includes(word));
    }
  };

  for (const table of document.querySelectorAll("table")) {
    [...(table.tHead?.rows[0].cells ?? [])].forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      button.addEventListener("click", () => sort(table, column, heading));
      heading.append(button);
    });
    if (table.tBodies[0].rows.length > 8) {
      const input = document.createElement("input");
      input.type = "search";
      input.className = "filter";
      input.placeholder = `filter ${table.tBodies[0].rows.length} rows`;
      input.ariaLabel = input.placeholder;
      input.addEventListener("input", () => filter(table, input.value));
      table.parentElement.before(input);
    }
  }

  const tip = document.getElementById("tip");
  for (const mark of document.querySelectorAll("svg .mark")) {
    const title = mark.querySelector("title");
    mark.dataset.values = title.textContent;
    mark.setAttribute("aria-label", title.textContent);
    mark.setAttribute("role", "img");
    title.remove(); // the browser's own tooltip would come late and twice
  }
  const show = (event) => {
    const mark = event.target instanceof Element ? event.target.closest(".mark") : null;
    tip.hidden = !mark;
    tip.textContent = mark ? mark.dataset.values : "";
  };
  for (const kind of ["pointerover", "pointerdown", "focusin"]) document.addEventListener(kind, show);
  document.addEventListener("focusout", () => { tip.hidden = true; });
})();
