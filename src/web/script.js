// Copy buttons. Without scripts, there are none, and a value is selected as a whole.
"use strict";

const said = document.getElementById("said");

for (const button of document.querySelectorAll("button[data-copy]")) {
  const value = document.getElementById(button.dataset.copy);
  const label = button.textContent;
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(value.textContent);
    } catch {
      // Without HTTPS, or without permission: the value is selected instead.
      getSelection().selectAllChildren(value);
      if (!document.execCommand("copy")) return;
    }
    button.textContent = button.dataset.copied;
    said.textContent = `${button.dataset.copied}: ${value.textContent}`;
    setTimeout(() => { button.textContent = label; }, 2000);
  });
}
