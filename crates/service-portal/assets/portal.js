// Updates the page of services while it is open. Without JavaScript, the page shows the state at the time it was loaded.
"use strict";

const REFRESH_INTERVAL_MS = 3000;
const serviceItems = () => [...document.querySelectorAll("#services > li")];
const instanceItems = (item) => [...item.querySelectorAll("li")];

function showState(item, { alive, pending, state }) {
  item.className = alive ? "up" : pending ? "pending" : "down";
  item.querySelector(".state").textContent = state;
}

function update(state) {
  const shownPorts = serviceItems().map((item) => [item.dataset.port, instanceItems(item).length]).join();
  const currentPorts = state.services.map((service) => [service.port, service.instances.length]).join();
  const shownTunnels = serviceItems().map((item) => item.dataset.tunnel ?? "").join();
  const currentTunnels = state.services.map(({ tunnel }) => tunnel?.url ?? tunnel?.text ?? "").join();
  const problems = document.querySelectorAll("#problems li").length;
  const storage = document.getElementById("storage");
  const complaints = storage.querySelectorAll("li").length;
  const storageChanged = storage.hidden !== !state.storage || complaints !== (state.storage?.complaints.length ?? 0);
  if (shownPorts !== currentPorts || problems !== state.problems.length || storageChanged || shownTunnels !== currentTunnels) {
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
  serviceItems().forEach((item, index) => {
    const service = state.services[index];
    showState(item, service);
    instanceItems(item).forEach((instance, number) => showState(instance, service.instances[number]));
  });
}

async function refresh() {
  try {
    const response = await fetch("/leonardo/state.json", { credentials: "same-origin" });
    if (response.status === 401) {
      location.reload();
      return;
    }
    update(await response.json());
  } catch {
    document.getElementById("boot").textContent = "The portal is not responding";
  }
  setTimeout(refresh, REFRESH_INTERVAL_MS);
}

setTimeout(refresh, REFRESH_INTERVAL_MS);
