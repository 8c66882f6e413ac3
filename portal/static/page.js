// The pages work without this script. With it, a second click on a button does nothing, and the
// page follows the state of the invitation.
"use strict";

const main = document.querySelector("main");

// After a form, Back and Reload lead to the page instead of asking to send the form again.
if (main.dataset.home && location.pathname + location.search !== main.dataset.home) {
  history.replaceState(null, "", main.dataset.home);
}

// One click, one request. A page that comes back from the history is usable again.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.dataset.sent) {
    event.preventDefault();
    return;
  }
  form.dataset.sent = "true";
  for (const button of form.querySelectorAll("button")) {
    button.setAttribute("aria-disabled", "true");
  }
});

addEventListener("pageshow", (event) => {
  for (const form of document.querySelectorAll("form[data-sent]")) {
    delete form.dataset.sent;
    for (const button of form.querySelectorAll("button")) {
      button.removeAttribute("aria-disabled");
    }
  }
  if (event.persisted && main.hasAttribute("data-live")) {
    location.reload();
  }
});

for (const button of document.querySelectorAll("[data-print]")) {
  button.hidden = false;
  button.addEventListener("click", () => print());
}

// A chosen file is read into the field that is posted.
for (const input of document.querySelectorAll("[data-fills]")) {
  input.parentElement.hidden = false;
  input.addEventListener("change", async () => {
    const [file] = input.files;
    if (file) {
      document.getElementById(input.dataset.fills).value = await file.text();
    }
  });
}

// What the server sent last: opening <details> changes the element itself.
let known = document.querySelector("#live")?.innerHTML;

// The pages that are replaced while they are read. On others a reader may be choosing.
const REPLACED = ["batch", "joined", "timeline"];

// Follow the state: every three seconds, less often when nothing changes, never while hidden.
const FIRST = 3000;
const LAST = 30000;

function follow(delay) {
  setTimeout(async () => {
    let next = Math.min(delay * 1.3, LAST);
    if (!document.hidden) {
      try {
        next = (await refresh()) ? FIRST : next;
      } catch {
        next = LAST;
      }
    }
    if (main.hasAttribute("data-live")) {
      follow(next);
    }
  }, delay);
}

async function refresh() {
  const response = await fetch(main.dataset.live, { headers: { accept: "text/html" } });
  if (response.status !== 200 && response.status !== 410) {
    throw new Error(String(response.status));
  }
  const read = new DOMParser().parseFromString(await response.text(), "text/html");
  const newest = read.querySelector("main");
  const live = document.querySelector("#live");
  const replacement = read.querySelector("#live");
  if (newest.dataset.template === main.dataset.template && live && replacement) {
    main.dataset.state = newest.dataset.state;
    if (!newest.hasAttribute("data-live")) {
      main.removeAttribute("data-live");
    }
    if (!REPLACED.includes(main.dataset.template) || known === replacement.innerHTML) {
      return false;
    }
    known = replacement.innerHTML;
    if (live.querySelector("form :focus, input:checked, details[open] form")) {
      announce(main.dataset.changed, main.dataset.home);
      return true;
    }
    const focused = [...live.querySelectorAll("summary, a")].indexOf(document.activeElement);
    const open = [...live.querySelectorAll("details")].map((each) => each.open);
    live.replaceChildren(...replacement.childNodes);
    live.querySelectorAll("details").forEach((each, number) => {
      each.open = open[number] ?? false;
    });
    live.querySelectorAll("summary, a")[focused]?.focus({ preventScroll: true });
    announce(`${main.dataset.updated} ${live.querySelector(".tag").textContent}`);
    return true;
  }
  main.removeAttribute("data-live");
  announce(main.dataset.changed, main.dataset.home);
  return true;
}

function announce(text, address) {
  const news = document.querySelector("#news");
  // What is visible anyway is only spoken.
  news.className = address ? "news" : "hidden";
  news.textContent = text;
  if (address) {
    const link = document.createElement("a");
    link.href = address;
    link.textContent = main.dataset.show;
    news.append(" ", link);
  }
}

if (main.dataset.live) {
  follow(FIRST);
}

// Users and licenses: select all on the page, and how many are selected.
const selectAll = document.querySelector("[data-select-all]");

if (selectAll) {
  const boxes = [...document.querySelectorAll('input[name="email"][form="change"]')];
  const selected = document.querySelector("[data-selected]");
  const count = () => {
    const number = boxes.filter((each) => each.checked).length;
    selectAll.checked = number > 0 && number === boxes.length;
    selectAll.indeterminate = number > 0 && number < boxes.length;
    selected.textContent = number ? selected.dataset.selected.replace("0", String(number)) : "";
  };
  selectAll.hidden = false;
  selected.hidden = false;
  selectAll.addEventListener("change", () => {
    boxes.forEach((each) => {
      each.checked = selectAll.checked;
    });
    count();
  });
  boxes.forEach((each) => each.addEventListener("change", count));
  addEventListener("pageshow", count);
}
