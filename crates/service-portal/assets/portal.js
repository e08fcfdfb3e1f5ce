// Keeps the page of links true while it is open. Without JavaScript the page shows the state at its loading.
"use strict";

const PAUSE_MS = 3000;
const shown = () => [...document.querySelectorAll("#services li")];

function show(state) {
  const ports = shown().map((item) => item.dataset.port).join();
  const now = state.services.map((service) => service.port).join();
  const problems = document.querySelectorAll("#problems li").length;
  const storage = document.getElementById("storage");
  const complaints = storage.querySelectorAll("li").length;
  const storageChanged = storage.hidden !== !state.storage || complaints !== (state.storage?.complaints.length ?? 0);
  if (ports !== now || problems !== state.problems.length || storageChanged) {
    location.reload();
    return;
  }
  document.getElementById("boot").textContent = state.boot;
  if (state.storage) {
    storage.querySelector("p").textContent = state.storage.summary;
    storage.querySelectorAll("li").forEach((item, index) => {
      item.textContent = state.storage.complaints[index];
    });
  }
  shown().forEach((item, index) => {
    const alive = state.services[index].alive;
    item.className = alive ? "up" : "down";
    item.querySelector(".state").textContent = alive ? "running" : "not answering";
  });
}

async function refresh() {
  try {
    const answer = await fetch("/leonardo/state.json", { credentials: "same-origin" });
    if (answer.status === 401) {
      location.reload();
      return;
    }
    show(await answer.json());
  } catch {
    document.getElementById("boot").textContent = "The portal does not answer";
  }
  setTimeout(refresh, PAUSE_MS);
}

setTimeout(refresh, PAUSE_MS);
