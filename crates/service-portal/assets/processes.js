// The page of processes: actions without a reload, with their result shown live.
import { announce, openSheet, post, refreshFrame } from "/leonardo/assets/app.js";

// Milliseconds between two looks at the programs while an action runs.
const ACTION_LOOK = 500;
// Milliseconds after which the result of an action that cut the connection is no longer waited for.
const ACTION_PATIENCE = 60_000;

function showResult(text, kind) {
  const result = document.getElementById("result");
  result.className = `action-result ${kind}`;
  result.textContent = text;
  announce(text);
}

// Returns the rows of a program, or of `GROUP:*`.
function programRows(name) {
  const rows = [...document.querySelectorAll("tr[data-name]")];
  const own = rows.filter((row) => row.dataset.name === name);
  return own.length ? own : rows.filter((row) => `${row.dataset.group}:*` === name);
}

// Refreshes the programs until `ended` is true.
async function watchPrograms(ended) {
  const start = Date.now();
  while (!ended() && Date.now() - start < ACTION_PATIENCE) {
    await new Promise((done) => setTimeout(done, ACTION_LOOK));
    try {
      await refreshFrame();
    } catch {
      // The portal or the proxy restarts; the status says that they do not respond.
    }
  }
}

// Waits for the end of an action that cut the connection: the programs have stopped, or run as other processes.
async function watchReturn(name, action, before) {
  const isNew = ({ pid }) => pid && !before.includes(pid);
  const isDone = (row) => (action === "stop" ? !row.dataset.pid : isNew(row.dataset) && row.querySelector(".badge.good"));
  const ended = () => {
    const rows = programRows(name);
    return rows.length > 0 && rows.every(isDone);
  };
  await watchPrograms(ended);
  const done = action === "stop" ? "stopped" : "restarted";
  if (ended()) showResult(`${name} was ${done}`, "good");
  else if (document.getElementById("status").dataset.unreachable)
    showResult("The portal does not respond here; open it at another address, or use SSH", "bad");
  else showResult(`${name} was not ${done} within a minute`, "bad");
}

async function act(name, action, label) {
  const before = programRows(name).map((row) => row.dataset.pid);
  showResult(`${label}…`, "busy");
  let done = false;
  const watching = watchPrograms(() => done);
  let answer;
  try {
    answer = await post("/leonardo/processes/act", { action, name });
  } catch (error) {
    showResult(error.message, "bad");
  }
  done = true;
  await watching;
  if (answer?.detached) {
    showResult(answer.message, "busy");
    await watchReturn(name, action, before);
  } else if (answer) {
    showResult(answer.message, answer.ok ? "good" : answer.finished ? "bad" : "busy");
  }
}

document.addEventListener("submit", async (event) => {
  const button = event.submitter;
  if (!document.getElementById("result") || button?.name !== "action") return;
  event.preventDefault();
  const action = button.value;
  const name = event.target.elements.namedItem("name").value;
  if ("confirm" in button.dataset) {
    openSheet(`/leonardo/processes?${new URLSearchParams({ confirm: action, name })}`);
    return;
  }
  event.target.closest("dialog")?.close();
  const isOfRow = ({ parentElement }) => parentElement.elements.namedItem("name").value === name;
  const buttons = () => [...document.querySelectorAll("#live .actions button")].filter(isOfRow);
  for (const other of buttons()) other.disabled = true;
  await act(name, action, `${button.textContent.split(" ")[0]} ${name}`);
  for (const other of buttons()) other.disabled = false;
  await refreshFrame().catch(() => {});
  // The refresh has replaced the button that had the focus.
  if (document.activeElement === document.body) buttons()[0]?.focus({ preventScroll: true });
});
