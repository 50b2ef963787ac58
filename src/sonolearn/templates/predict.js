const find = document.getElementById("find"), input = find.querySelector("input"), status = find.querySelector("[role=status]");
const table = document.getElementById("scans"), body = table.tBodies[0], rows = [...body.rows];
function show() {
  const wanted = input.value.toLowerCase();
  let count = 0;
  for (const row of rows) {
    row.hidden = !row.textContent.toLowerCase().includes(wanted);
    count += !row.hidden;
    const article = document.getElementById(row.cells[0].textContent);
    if (article) article.hidden = row.hidden;
  }
  status.textContent = `${count} of ${rows.length}`;
}
function sort(head) {
  const down = head.ariaSort === "ascending", at = head.cellIndex, number = head.classList.contains("n");
  const key = row => row.cells[at].textContent;
  const value = row => parseFloat(key(row).replace(/\s/g, "")) || (key(row) ? 0 : -1);
  rows.sort((a, b) => (down ? -1 : 1) * (number ? value(a) - value(b) : key(a).localeCompare(key(b))));
  for (const other of table.tHead.rows[0].cells) other.ariaSort = "none";
  head.ariaSort = down ? "descending" : "ascending";
  body.append(...rows);
}
for (const head of table.tHead.rows[0].cells) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...head.childNodes);
  button.onclick = () => sort(head);
  head.append(button);
}
find.hidden = false;
find.onsubmit = event => event.preventDefault();
input.oninput = show;
for (const button of find.querySelectorAll("button")) button.onclick = () => { input.value = button.value; show(); };
