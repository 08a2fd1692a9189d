"use strict";
// Filters of the sample questions. Without this script the page shows all of them, and no filters.
(() => {
  const form = document.getElementById("filters");
  const table = document.getElementById("questions");
  if (!form || !table) return;
  const rows = [...table.tBodies[0].rows];
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const text = document.getElementById("filter-text");
  const count = document.getElementById("filter-count");
  const selects = [...form.querySelectorAll("select")];
  const apply = () => {
    const wanted = text.value.trim().toLowerCase();
    let shown = 0;
    rows.forEach((row, place) => {
      const fits = selects.every(({ value, dataset: { filter } }) =>
        value === "" || (filter === "split" ? row.dataset.split.includes(` ${value} `) : row.dataset[filter] === value));
      row.hidden = !(fits && texts[place].includes(wanted));
      shown += row.hidden ? 0 : 1;
    });
    count.value = shown === 1 ? "1 question" : `${shown.toLocaleString("en")} questions`;
  };
  form.addEventListener("input", apply);
  form.addEventListener("reset", () => setTimeout(apply));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
})();
