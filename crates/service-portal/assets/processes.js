// The page of processes: actions without a reload, with their result shown live.
import { announce, post, refreshFrame } from "/leonardo/assets/app.js";

const result = document.getElementById("result");
// Milliseconds between two looks at the programs while an action runs.
const LOOK = 500;
// Milliseconds after which the result of an action that cut the connection is no longer waited for.
const PATIENCE = 60_000;

function show(text, kind) {
  result.className = `result ${kind}`;
  result.textContent = text;
  announce(text);
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const rowOf = (name) => [...document.querySelectorAll("tr[data-name]")].find((row) => row.dataset.name === name);

// Asks before an action with a consequence.
function confirmed(title, caution, label) {
  const dialog = document.createElement("dialog");
  dialog.className = "sheet ask";
  dialog.setAttribute("role", "alertdialog");
  const heading = Object.assign(document.createElement("h2"), { id: "ask-title", textContent: title });
  const text = Object.assign(document.createElement("p"), { id: "ask-text", textContent: caution });
  const form = Object.assign(document.createElement("form"), { method: "dialog" });
  const yes = Object.assign(document.createElement("button"), { className: "button", value: "yes", textContent: label });
  const no = Object.assign(document.createElement("button"), { className: "button quiet", value: "no", textContent: "Cancel" });
  dialog.setAttribute("aria-labelledby", "ask-title");
  dialog.setAttribute("aria-describedby", "ask-text");
  form.append(yes, no);
  dialog.append(heading, text, form);
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((done) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      done(dialog.returnValue === "yes");
    });
  });
}

// Refreshes the programs until `ended` is true.
async function watch(ended) {
  const start = Date.now();
  while (!ended() && Date.now() - start < PATIENCE) {
    await pause(LOOK);
    try {
      await refreshFrame();
    } catch {
      // The portal or the proxy restarts; the status says that they do not respond.
    }
  }
}

// Waits for a program that cut the connection: it runs again as another process.
async function watchReturn(name, before) {
  await watch(() => {
    const row = rowOf(name);
    return row && row.dataset.pid && row.dataset.pid !== before && row.querySelector(".badge.good");
  });
  const row = rowOf(name);
  if (row?.dataset.pid && row.dataset.pid !== before) show(`${name} is running with pid ${row.dataset.pid}`, "good");
  else show(`${name} did not restart within a minute`, "bad");
}

async function act(name, action, label) {
  const before = rowOf(name)?.dataset.pid;
  show(`${label}…`, "busy");
  let done = false;
  const watching = watch(() => done);
  let answer;
  try {
    answer = await post("/leonardo/processes/act", { action, name, confirmed: true });
  } catch (error) {
    show(error.message, "bad");
  }
  done = true;
  await watching;
  if (!answer) return;
  if (answer.ok && !answer.finished) {
    show(`${label}: connections are interrupted, this page comes back by itself`, "busy");
    await watchReturn(name, before);
  } else {
    show(answer.message, answer.ok ? "good" : answer.finished ? "bad" : "busy");
  }
}

document.addEventListener("submit", async (event) => {
  const button = event.submitter;
  if (!button?.closest("#live") || button.name !== "action") return;
  event.preventDefault();
  const name = event.target.elements.namedItem("name").value;
  const label = button.dataset.command;
  const { caution } = button.dataset;
  if (caution && !(await confirmed(`${label}?`, caution, label.split(" ")[0]))) return;
  for (const other of event.target.querySelectorAll("button")) other.disabled = true;
  await act(name, button.value, label);
  for (const other of event.target.querySelectorAll("button")) other.disabled = false;
  refreshFrame().catch(() => {});
});
