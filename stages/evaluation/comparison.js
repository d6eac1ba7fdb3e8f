"use strict";
// Tables are sorted by the buttons of their heads; numbers fall at first, unknown ones stand last.
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th"), table = head.closest("table"), column = head.cellIndex;
    const numbers = head.classList.contains("number");
    const falling = head.hasAttribute("aria-sort") ? head.getAttribute("aria-sort") === "ascending" : numbers;
    for (const other of table.tHead.querySelectorAll("th")) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", falling ? "descending" : "ascending");
    const value = (row) => {
      const text = row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
      return numbers ? (text === "" ? null : Number(text)) : text;
    };
    for (const body of table.tBodies) {
      const rows = [...body.rows].map((row) => [value(row), row]);
      rows.sort(([a], [b]) => {
        if (a === null || b === null) return (a === null) - (b === null);
        const order = numbers ? a - b : a.localeCompare(b, undefined, { numeric: true });
        return falling ? -order : order;
      });
      body.append(...rows.map(([, row]) => row));
    }
  });
}
// A run's box shows and hides what the charts of its split draw of it.
for (const box of document.querySelectorAll(".choice input")) {
  const show = () => {
    const drawn = box.closest("section").querySelectorAll(`[data-run="${box.value}"]`);
    for (const element of drawn) element.toggleAttribute("hidden", !box.checked);
  };
  box.addEventListener("change", show);
  show(); // a browser may have kept the boxes of the visit before
}
for (const button of document.querySelectorAll("button[data-all]")) {
  button.addEventListener("click", () => {
    for (const box of button.closest("fieldset").querySelectorAll(".choice input")) {
      box.checked = button.dataset.all === "true";
      box.dispatchEvent(new Event("change"));
    }
  });
}
