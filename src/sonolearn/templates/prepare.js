const find = document.getElementById("find"), input = find.querySelector("input");
function show() {
  const wanted = input.value.toLowerCase();
  for (const card of document.querySelectorAll("article")) card.hidden = !card.textContent.toLowerCase().includes(wanted);
}
find.hidden = false;
find.onsubmit = event => event.preventDefault();
input.oninput = show;
for (const button of find.querySelectorAll("button")) button.onclick = () => { input.value = button.value; show(); };
