// Sort a table by the column of a pressed head: by number where all cells start with one, else as text.
const UNITS = { min: 60, h: 3600, GFLOP: 1e9, TFLOP: 1e12, PFLOP: 1e15, EFLOP: 1e18, MFLOP: 1e6 };
function value(text) {
  const [, number, times, unit] = text.match(/^([-+]?[\d.]+)(?: x (\d+)$)?(?: ([a-zA-Z]+)$)?/) || [];
  return parseFloat(number) * (times || 1) * (UNITS[unit] || 1);
}
document.addEventListener("click", (event) => {
  const button = event.target.closest("th button");
  if (!button) return;
  const head = button.closest("th"), table = head.closest("table"), body = table.tBodies[0];
  const column = head.cellIndex, down = head.getAttribute("aria-sort") === "ascending";
  const text = (row) => row.cells[column].textContent.trim();
  const number = (row) => value(text(row));
  const rows = [...body.rows], filled = rows.filter((row) => !/^(-|not run|quoted|diverged)?$/.test(text(row)));
  const numeric = filled.length > 0 && filled.every((row) => !Number.isNaN(number(row)));
  const empty = rows.filter((row) => !filled.includes(row));
  filled.sort((a, b) => (down ? -1 : 1) * (numeric ? number(a) - number(b) : text(a).localeCompare(text(b))));
  for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  body.append(...filled, ...empty);
});
