// What is shown, as the page's URL and its form have it.
export const byId = (id) => document.getElementById(id);
export const form = byId("view");

export function readUrl() {
  const query = new URLSearchParams(location.search);
  const text = (name) => query.get(name)?.trim() ?? "";
  return {
    services: query.getAll("s").filter(Boolean),
    q: query.get("q") ?? "",
    level: text("level"),
    since: text("since"),
    until: text("until"),
    at: text("at"),
    time: text("time"),
  };
}

// Returns the URL of a view.
export function address(shown) {
  const query = new URLSearchParams();
  for (const service of shown.services) query.append("s", service);
  for (const name of ["q", "level", "since", "until", "at", "time"]) if (shown[name]) query.set(name, shown[name]);
  const text = query.toString();
  return text ? `/leonardo/logs?${text}` : "/leonardo/logs";
}

// Returns the seconds since the epoch of a time of a view; `null` if there is none.
export const seconds = (text) => (text ? Date.parse(text) / 1000 || null : null);

// A time for <input type="datetime-local">, which has no zone.
function localInput(text) {
  const time = seconds(text);
  if (!time) return "";
  const date = new Date(time * 1000);
  return isoTime(date - date.getTimezoneOffset() * 60000).slice(0, 19);
}

// Years may have more digits than dates can have.
function isoTime(time) {
  const date = new Date(time);
  return isNaN(date) ? "" : date.toISOString();
}

// Returns the time of a field.
export const fromInput = (id) => isoTime(byId(id).value);

export function readForm() {
  const services = [...form.querySelectorAll("input[name=s]:checked")].map((box) => box.value);
  return { services, q: byId("q").value, level: byId("level").value, since: fromInput("since"), until: fromInput("until"), at: "", time: "" };
}

export function writeForm(view) {
  const { services } = view;
  for (const box of form.querySelectorAll("input[name=s]")) box.checked = services.includes(box.value);
  byId("q").value = view.q;
  byId("level").value = view.level;
  for (const name of ["since", "until", "time"]) byId(name).value = localInput(view[name]);
  byId("chosen").textContent = services.length === 0 ? "All logs" : services.length < 3 ? services.join(", ") : `${services.length} logs`;
  byId("download").textContent = view.q || view.level || view.since || view.until ? "Download whole log" : "Download";
  byId("download").hidden = services.length !== 1;
  byId("download").href = `/leonardo/logs/download?s=${encodeURIComponent(services[0] ?? "")}`;
}
