// The log page: what is shown, live or not, and the controls. Rows are in log_rows.js, those that wait for a frame in
// log_queue.js, the connection in log_stream.js, URL and form in log_view.js.
import { addCommands, addKeys, announce, copy } from "/leonardo/assets/app.js";
import { hitPattern } from "/leonardo/assets/log_hits.js";
import { Queue } from "/leonardo/assets/log_queue.js";
import { Rows } from "/leonardo/assets/log_rows.js";
import { LogStream, postJson, readMessages } from "/leonardo/assets/log_stream.js";
import { address, byId, form, fromInput, readForm, readUrl, seconds, writeForm } from "/leonardo/assets/log_view.js";

const ROWS_PER_FRAME = 50;
const TYPING_MS = 500;
const NEAR_END = 40;
const HIDDEN_MS = 10000;
const WRAP_KEY = "leonardo-log-wrap";

const list = byId("rows");
const stateText = byId("stream-state");
const isWide = matchMedia("(min-width: 60rem)");

// What is shown, as in the URL.
let view = readUrl();
// True if the last row is the newest one, so that live rows follow it.
let atEnd = false;
let atStart = false;
let isFollowing = true;
let isPaused = false;
let loading = null;
// What arrived since the reader left the end, and what was never shown.
let unseen = 0;
let skipped = { lines: 0, bytes: 0 };
// Notices of pages: each page of a search repeats them.
const notices = new Set();

const rows = new Rows(list);
const queue = new Queue();
const stream = new LogStream(receive, showState);

const request = (more) => ({
  services: view.services,
  filter: view.q,
  level: view.level || null,
  since: seconds(view.since),
  until: seconds(view.until),
  ...more,
});
const isFiltered = () => Boolean(view.q || view.level);
const isLive = () => atEnd && !view.until;

function showState(text) {
  stateText.textContent = text;
  stateText.dataset.state = text.startsWith("Live") ? "live" : text.endsWith("…") ? "busy" : "idle";
}

function showError(message, field) {
  const shown = field === "filter" ? byId("filter-error") : byId("log-error");
  shown.textContent = message;
  shown.hidden = !message;
  byId("q").toggleAttribute("aria-invalid", Boolean(message) && field === "filter");
}

function clearErrors() {
  showError("", "filter");
  showError("", "log");
}

function fail(message, field) {
  showError(message, field);
  if (!stream.isOpen) showState("Stopped");
}

function notice(text) {
  rows.mark(text);
  announce(text);
}

function noticeOnce(text) {
  if (!notices.has(text)) notice(text);
  notices.add(text);
}

// --- live rows

function receive(message) {
  if (message.type === "rows") {
    queue.add(message.rows);
    requestAnimationFrame(draw);
  } else if (message.type === "skipped") {
    queue.skip(message);
  } else if (message.type === "notice") {
    // What waits is shown before a notice about what follows.
    drawRows();
    if (message.restarted) rows.forget(message.service);
    notice(message.service ? `${message.service}: ${message.text}` : message.text);
  } else if (message.type === "error") {
    showError(message.message, message.field);
    showState("Stopped");
  }
  if (message.cursor) {
    queue.reach(message.cursor);
    showReached();
  }
}

// A cursor names all logs that there are.
function showReached() {
  if (queue.reached) rows.to = { ...queue.reached };
}

const amount = ({ lines, bytes }) =>
  [lines ? `${lines.toLocaleString()} lines` : "", bytes ? `${(bytes / 1e6).toLocaleString(undefined, { maximumFractionDigits: 1 })} MB` : ""]
    .filter(Boolean)
    .join(" and ");

function draw() {
  if (!queue.size) return;
  if (!isFollowing && rows.isFull) {
    // The window is full and its reader is elsewhere in it: what follows is read from disk later.
    leaveEnd();
    return;
  }
  drawRows(ROWS_PER_FRAME);
  if (queue.size) requestAnimationFrame(draw);
}

function drawRows(count) {
  if (!queue.size) return;
  const { rows: next, gap } = queue.take(count);
  if (gap.lines || gap.bytes) {
    rows.mark(`${amount(gap)} skipped`, "gap");
    skipped = { lines: skipped.lines + gap.lines, bytes: skipped.bytes + gap.bytes };
  }
  const added = rows.append(next, isFollowing);
  showReached();
  if (isFollowing) scrollToEnd();
  else unseen += added;
  showCounts();
}

function showCounts() {
  byId("skipped").textContent = amount(skipped) && `${amount(skipped)} skipped; the log has all of them`;
  const end = byId("to-end");
  end.hidden = isFollowing && !isPaused && isLive();
  end.textContent = unseen ? `↓ ${unseen.toLocaleString()} new` : "↓ Jump to end";
}

// What waits is not shown: what follows the last row is read again.
function stopStream() {
  stream.stop();
  queue.clear();
}

function leaveEnd() {
  stopStream();
  atEnd = false;
  showState("Not at the end");
  showCounts();
}

function scrollToEnd() {
  list.scrollTop = list.scrollHeight;
}

function goLive() {
  if (isLive() && !isPaused && !stream.isOpen) stream.start(request({ cursor: { ...rows.to } }));
  showCounts();
}

// --- loading

// Loads a page of lines; `undefined` if it was aborted or failed, which is shown.
async function page(body) {
  loading?.abort();
  const own = (loading = new AbortController());
  list.setAttribute("aria-busy", "true");
  try {
    const response = await postJson("history", request(body), own.signal);
    if (response.status === 401) return void location.reload();
    const answer = await response.json();
    if (!response.ok) return void fail(answer.message, answer.field);
    answer.notices.forEach(noticeOnce);
    return answer;
  } catch (error) {
    if (!own.signal.aborted) fail(`The portal is not responding (${error.message}). Reload the page to try again.`);
  } finally {
    if (loading === own) {
      loading = null;
      list.removeAttribute("aria-busy");
    }
  }
}

// Shows the view from its beginning: around a line or a time, the newest hits, or the end.
async function show() {
  stopStream();
  loading?.abort();
  clearErrors();
  rows.clear();
  notices.clear();
  [unseen, skipped] = [0, { lines: 0, bytes: 0 }];
  [isPaused, atStart, atEnd] = [false, false, false];
  isFollowing = !view.at && !view.time;
  showPause();
  showState("Loading…");
  list.setAttribute("aria-busy", "true");
  if (isFollowing && isFiltered()) return search();
  const colon = view.at.lastIndexOf(":");
  const around = colon > 0 ? { service: view.at.slice(0, colon), position: view.at.slice(colon + 1) } : null;
  const answer = await page(around ? { around } : view.time ? { time: seconds(view.time) } : {});
  if (!answer) return;
  Object.assign(rows, { from: answer.from, to: answer.to });
  [atStart, atEnd] = [answer.at_start, answer.at_end];
  rows.append(answer.rows, false);
  settle(answer.marked);
}

// Scrolls to the marked row or the end, and follows what is new if the end is shown.
function settle(marked) {
  markEmpty();
  const element = marked && rows.find(marked.service, marked.id);
  if (element) {
    select(element);
    element.scrollIntoView({ block: "center" });
  } else if (isFollowing || marked === null) {
    isFollowing = isLive();
    scrollToEnd();
  }
  if (isLive()) goLive();
  else showState(view.until ? "Up to the chosen time" : "Not at the end");
  showCounts();
  fill();
}

function markEmpty() {
  if (list.querySelector(".line, .empty") || (isFiltered() && !atStart)) return;
  rows.mark(isFiltered() ? "No line matches." : "The log is empty.", "empty");
}

// Loads more if there is nothing to scroll.
function fill() {
  if (list.scrollHeight > list.clientHeight + NEAR_END) return;
  if (!atStart) older();
  else if (!atEnd) newer();
}

// Streams the newest hits, newest first, with progress.
async function search() {
  const own = (loading = new AbortController());
  const bar = byId("progress");
  let isDone = false;
  try {
    const response = await postJson("search", request({}), own.signal);
    if (response.status === 401) return location.reload();
    if (!response.ok) {
      const { message, field } = await response.json();
      return fail(message, field);
    }
    await readMessages(response, (message) => {
      if (own.signal.aborted) return;
      if (message.type === "progress") {
        bar.hidden = false;
        bar.max = Math.max(1, message.total);
        bar.value = message.done;
        showState(`Searching… ${Math.floor((100 * message.done) / Math.max(1, message.total))} %`);
      } else if (message.type === "rows") {
        rows.prepend(message.rows.reverse());
        if (isFollowing) scrollToEnd();
      } else if (message.type === "waiting") {
        showState("Waiting for another search…");
      } else if (message.type === "notice") {
        noticeOnce(message.text);
      } else if (message.type === "error") {
        throw new Error(message.message);
      } else if (message.type === "done") {
        isDone = true;
        Object.assign(rows, { from: message.from, to: message.to });
        [atStart, atEnd] = [message.at_start, true];
      }
    });
    if (own.signal.aborted) return;
    if (!isDone) throw new Error("its connection has ended");
    loading = null;
    bar.hidden = true;
    announce(`${rows.size} lines found`);
    // A search that has taken too long goes on in pages.
    settle();
  } catch (error) {
    if (!own.signal.aborted) fail(`The search was interrupted (${error.message}). Press Enter to search again.`);
  } finally {
    if (loading === own || !loading) {
      loading = null;
      bar.hidden = true;
      list.removeAttribute("aria-busy");
    }
  }
}

async function older() {
  if (loading || atStart) return;
  const answer = await page({ before: { ...rows.from } });
  if (!answer) return;
  Object.assign(rows.from, answer.from);
  atStart = answer.at_start;
  if (rows.prepend(answer.rows) && atEnd) leaveEnd();
  if (!answer.rows.length && !atStart) {
    showState("Searching older lines…");
    setTimeout(older);
    return;
  }
  markEmpty();
  fill();
  if (!loading) showState(isPaused ? "Paused" : isLive() ? stream.state : "Not at the end");
}

async function newer() {
  if (loading || atEnd) return;
  const answer = await page({ after: { ...rows.to } });
  if (!answer) return;
  Object.assign(rows.to, answer.to);
  atEnd = answer.at_end;
  rows.extend(answer.rows);
  if (atEnd) goLive();
  else if (!answer.rows.length) setTimeout(newer);
}

// Scroll bars, problems, messages and keyboards change its height.
new ResizeObserver(() => isFollowing && scrollToEnd()).observe(list);
list.addEventListener("scroll", () => {
  const below = list.scrollHeight - list.scrollTop - list.clientHeight;
  isFollowing = below < NEAR_END && !isPaused && (isLive() || Boolean(loading && isFollowing));
  if (isFollowing) unseen = 0;
  if (list.scrollTop < 400 && rows.size) older();
  if (below < 400 && rows.size) newer();
  showCounts();
}, { passive: true });

// --- controls

function navigate(change, replace = false) {
  view = { ...view, ...change };
  history[replace ? "replaceState" : "pushState"](null, "", address(view));
  fillForm();
  show();
}

function fillForm() {
  writeForm(view);
  rows.showsService = view.services.length !== 1;
  rows.pattern = hitPattern(view.q);
  const base = address({ ...view, at: "", time: "" });
  rows.base = base + (base.includes("?") ? "&" : "?");
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(typing);
  // Enter in any field presses the first button.
  const isJump = event.submitter?.id === "jump" && !["q", "since", "until"].includes(document.activeElement?.id);
  form.querySelector(".times").open = false;
  navigate({ ...readForm(), time: isJump ? fromInput("time") : "" });
});
form.addEventListener("change", (event) => {
  if (event.target.matches("input[name=s], select")) navigate(readForm());
});
let typing = 0;
byId("q").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => byId("q").value !== view.q && navigate(readForm(), true), TYPING_MS);
});
form.addEventListener("click", (event) => {
  const only = event.target.closest("a[data-only]");
  if (!only || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  navigate({ services: only.dataset.only ? [only.dataset.only] : [], at: "", time: "" });
  if (!isWide.matches) byId("choose").open = false;
});
addEventListener("popstate", () => {
  view = readUrl();
  fillForm();
  show();
});

function showPause() {
  byId("pause").textContent = isPaused ? "Resume" : "Pause";
}

function togglePause() {
  isPaused = !isPaused;
  showPause();
  if (isPaused) {
    stopStream();
    showState("Paused");
    showCounts();
  } else if (isLive()) {
    isFollowing = true;
    scrollToEnd();
    goLive();
  } else {
    toEnd();
  }
}

function toEnd() {
  unseen = 0;
  if (isLive() && !isPaused) {
    isFollowing = true;
    scrollToEnd();
    showCounts();
  } else {
    navigate({ at: "", time: "", until: "" });
  }
}

function toggleWrap() {
  const wraps = list.classList.toggle("wrap");
  byId("wrap").setAttribute("aria-pressed", String(wraps));
  localStorage.setItem(WRAP_KEY, wraps ? "on" : "off");
  if (isFollowing) scrollToEnd();
}

function select(element) {
  const selected = rows.select(element);
  byId("selected").hidden = !selected;
  selected?.scrollIntoView({ block: "nearest" });
}

const selectedRow = () => rows.selected?.row;

async function copied(text, words) {
  try {
    await copy(text);
    announce(words);
  } catch {
    showError("The browser did not allow copying. Select the text and copy it with the keyboard.");
  }
}
const copyLink = () => selectedRow() && copied(new URL(rows.href(selectedRow()), location.href).href, "Link copied");
const copyText = () => rows.selected && copied(rows.selected.querySelector(".text").textContent, "Line copied");
const around = () => selectedRow() && navigate({ at: `${selectedRow().service}:${selectedRow().id}`, q: "", level: "", time: "", since: "", until: "" });

list.addEventListener("click", (event) => {
  const at = event.target.closest(".at");
  if (!at || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const element = at.closest(".line");
  const isSame = element === rows.selected;
  select(isSame ? null : element);
  history.replaceState(null, "", isSame ? address({ ...view, at: "" }) : rows.href(element.row));
});

const on = (id, action) => byId(id).addEventListener("click", action);
on("pause", togglePause);
on("to-end", toEnd);
on("wrap", toggleWrap);
on("copy-link", copyLink);
on("copy-text", copyText);
on("around", around);
on("unselect", () => select(null));

const step = (direction, selector, words) => () => {
  const element = rows.neighbour(direction, selector);
  if (element) select(element);
  announce(element ? `${element.row.level ?? ""} ${element.querySelector(".text").textContent}` : words);
};
const keys = [
  ["/", "Focus the filter", () => byId("q").focus()],
  ["End", "Jump to the end", toEnd],
  ["Space", "Pause or resume", togglePause],
  ["j", "Select the next line", step(1, ".line", "Last line")],
  ["k", "Select the previous line", step(-1, ".line", "First line")],
  ["n", "Next error", step(1, ".line.level-error", "No later error")],
  ["p", "Previous error", step(-1, ".line.level-error", "No earlier error")],
  ["w", "Wrap lines or not", toggleWrap],
  ["c", "Copy the link to the selected line", copyLink],
  ["Enter", "Show the lines around the selected one", around],
];
addKeys(Object.fromEntries(keys.map(([key, label, run]) => [key, [label, run]])));
addCommands([
  ...keys.slice(0, 3).map(([key, label, run]) => ({ label, hint: key, run })),
  { label: "Wrap lines", hint: "w", run: toggleWrap },
]);

// A hidden tab reads nothing; it continues at its cursor.
let hiding = 0;
document.addEventListener("visibilitychange", () => {
  clearTimeout(hiding);
  if (document.hidden) hiding = setTimeout(stopStream, HIDDEN_MS);
  else goLive();
});

// --- start

byId("zone").textContent = Intl.DateTimeFormat().resolvedOptions().timeZone ?? "local time";
const wrapSetting = localStorage.getItem(WRAP_KEY);
const wraps = wrapSetting ? wrapSetting === "on" : matchMedia("(max-width: 600px)").matches;
list.classList.toggle("wrap", wraps);
byId("wrap").setAttribute("aria-pressed", String(wraps));
byId("choose").open = isWide.matches;
isWide.addEventListener("change", () => (byId("choose").open = isWide.matches));
fillForm();
show();
