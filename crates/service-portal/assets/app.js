// Behaviour of every page: live status and problems, the palette, keys, copying.
// Pages work without it; page scripts import what they need.

// --- Requests ---

const statusLine = () => document.getElementById("status");

function showUnreachable() {
  const line = statusLine();
  if (!line || line.dataset.unreachable) return;
  line.dataset.unreachable = "yes";
  line.className = "status bad";
  line.replaceChildren(element("span", { textContent: "Portal not responding" }));
}

function hideUnreachable() {
  if (statusLine()?.dataset.unreachable) refreshFrame();
}

// Leads to the login. To reload a page that answers a form would send the form again.
function logIn() {
  const page = document.querySelector("nav.pages [aria-current]");
  if (page && page.pathname !== location.pathname) location.replace(page.href);
  else location.reload();
}

async function request(url, options) {
  let response;
  try {
    response = await fetch(url, { credentials: "same-origin", ...options });
  } catch (error) {
    showUnreachable();
    throw error;
  }
  if (response.status === 401) {
    logIn();
    throw new Error("You are logged out.");
  }
  if (response.status >= 502) showUnreachable();
  return response;
}

// Calls back with the JSON at `url` now and every `ms` milliseconds, while the tab is visible. Returns a function that stops it.
export function every(ms, url, callback) {
  return repeat(ms, async () => {
    const response = await request(typeof url === "function" ? url() : url);
    if (!response.ok) return;
    callback(await response.json());
    hideUnreachable();
  });
}

function repeat(ms, action) {
  let timer;
  let stopped = false;
  const run = async () => {
    clearTimeout(timer);
    if (stopped || document.hidden) return;
    try {
      await action();
    } catch {
      // The next run tries again; request() has shown what is wrong.
    }
    if (!stopped) timer = setTimeout(run, ms);
  };
  document.addEventListener("visibilitychange", run);
  run();
  return () => {
    stopped = true;
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", run);
  };
}

// Sends JSON to a URL of the portal; returns the response's JSON, or throws an Error with the portal's message.
export async function post(url, body = {}) {
  const response = await request(url, {
    method: "POST",
    headers: { "content-type": "application/json", accept: "application/json" },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  let answer = {};
  try {
    answer = JSON.parse(text);
  } catch {
    answer.message = text.trim();
  }
  if (!response.ok) throw new Error(answer.message || `The portal responded with status ${response.status}.`);
  return answer;
}

// --- Live parts ---

// Changes `old` into `next` and keeps elements that are in both: the focus, open details and selections stay.
// The content of an element with `data-keep` belongs to a script.
function morph(old, next) {
  if (old.nodeType !== next.nodeType || old.nodeName !== next.nodeName || old.id !== next.id) {
    old.replaceWith(next.cloneNode(true));
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== next.data) old.data = next.data;
    return;
  }
  const isDetails = old.nodeName === "DETAILS";
  for (const { name } of [...old.attributes]) {
    if (!next.hasAttribute(name) && !(isDetails && name === "open")) old.removeAttribute(name);
  }
  for (const { name, value } of next.attributes) {
    if (old.getAttribute(name) !== value && !(isDetails && name === "open")) old.setAttribute(name, value);
  }
  if (old.hasAttribute("data-keep")) return;
  const wanted = [...next.childNodes];
  const present = [...old.childNodes];
  wanted.forEach((child, index) => {
    if (present[index]) morph(present[index], child);
    else old.append(child.cloneNode(true));
  });
  present.slice(wanted.length).forEach((child) => child.remove());
}

const parse = (text) => new DOMParser().parseFromString(text, "text/html");

// Updates status, problems and the live part of the page now.
export async function refreshFrame() {
  const response = await request(document.body.dataset.live);
  if (!response.ok) return;
  const fresh = parse(await response.text());
  const before = statusLine()?.textContent;
  for (const id of ["status", "problems", "live"]) {
    const [old, next] = [document.getElementById(id), fresh.getElementById(id)];
    if (old && next) morph(old, next);
  }
  if (before !== statusLine()?.textContent) document.dispatchEvent(new Event("statuschange"));
  showProblems();
}

// Puts the number of problems in front of the tab's title; the link to their list says whether it is open.
function showProblems() {
  const list = document.querySelector("#problems details");
  document.querySelector("#status a")?.setAttribute("aria-expanded", Boolean(list?.open));
  const count = parseInt(document.querySelector("#problems .bad.badge")?.textContent);
  document.title = (count ? `(${count}) ` : "") + document.title.replace(/^\(\d+\) /, "");
}

showProblems();

// The status shows and hides the list of problems, which may be scrolled away.
document.addEventListener("click", (event) => {
  if (!event.target.closest?.("#status a")) return;
  event.preventDefault();
  const list = document.querySelector("#problems details");
  list.open = !list.open || scrollY > 0;
  showProblems();
  scrollTo(0, 0);
});

if (document.body.dataset.live) setTimeout(() => repeat(3000, refreshFrame), 3000);

// --- Messages ---

// Has a screen reader read a sentence.
export function announce(text) {
  const region = document.getElementById("announcements");
  if (region) region.textContent = text;
}

// Copies a text, also where the page has no secure context (plain http).
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const field = document.createElement("textarea");
    field.value = text;
    field.className = "visually-hidden";
    document.body.append(field);
    const focused = document.activeElement;
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    focused?.focus();
    if (!done) throw new Error("The browser does not allow copying here.");
  }
  announce("Copied");
}

document.addEventListener("click", async ({ target }) => {
  const button = target.closest?.("[data-copy]");
  if (!button) return;
  try {
    await copy(button.dataset.copy);
    button.dataset.tip = "Copied";
  } catch (error) {
    button.dataset.tip = error.message;
  }
  setTimeout(() => delete button.dataset.tip, 1500);
});

// --- Dialogs ---

// Shows a dialog; the browser returns the focus when it closes.
function showDialog(dialog) {
  document.querySelector("dialog[open]")?.close();
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => {
    const close = event.target === dialog || event.target.closest("[data-close]");
    if (!close) return;
    event.preventDefault();
    dialog.close();
  });
  document.body.append(dialog);
  dialog.showModal();
}

// Shows a page of one sheet as a dialog.
export async function openSheet(url) {
  try {
    const page = parse(await (await request(url)).text());
    const heading = page.querySelector(".sheet h1");
    heading.id = "dialog-heading";
    const dialog = element("dialog", {}, page.querySelector(".sheet"));
    dialog.setAttribute("aria-labelledby", heading.id);
    if (dialog.querySelector("#caution")) {
      dialog.setAttribute("role", "alertdialog");
      dialog.setAttribute("aria-describedby", "caution");
    }
    showDialog(dialog);
  } catch {
    location.href = url;
  }
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[data-dialog]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  openSheet(link.href);
});

// --- Keys ---

const keys = new Map();

// Adds keys of a page: `{key: ["description", action]}`; a key is what KeyboardEvent.key says, or two with a blank ("g s").
export function addKeys(list) {
  for (const [key, entry] of Object.entries(list)) keys.set(key, entry);
}

const commands = [];

// Adds entries to the palette: `{label, hint, run}` or `{label, hint, href}`.
export function addCommands(list) {
  commands.push(...list);
}

for (const link of document.querySelectorAll("nav.pages a[data-key]")) {
  const name = link.textContent.trim();
  keys.set(`g ${link.dataset.key}`, [`Open ${name}`, () => link.click()]);
  commands.push({ label: name, hint: `g ${link.dataset.key}`, href: link.href });
}

let prefix = "";
// Speech input types words, which must not act as keys (WCAG 2.1.4).
const keySetting = "leonardo-keys";

function keysAreOn() {
  try {
    return localStorage.getItem(keySetting) !== "off";
  } catch {
    return true; // The browser keeps no data.
  }
}

document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k" && !event.altKey && !event.shiftKey) {
    event.preventDefault();
    openPalette();
    return;
  }
  if (!keysAreOn()) return;
  const typing = event.target.closest?.("input:not([type=checkbox]), textarea, select, [contenteditable]");
  if (typing || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const isPress = [" ", "Enter"].includes(event.key);
  if (isPress && event.target.closest?.("a, button, summary, input")) return;
  const entry = keys.get(prefix + (event.key === " " ? "Space" : event.key));
  prefix = !entry && event.key === "g" ? "g " : "";
  if (entry) {
    event.preventDefault();
    entry[1](event);
  }
});

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function showKeys() {
  const rows = [["Ctrl-K", "Find a page or an action"], ...[...keys].map(([key, [text]]) => [key, text])];
  const list = element("dl", { className: "keys" });
  for (const [key, text] of rows) {
    const caps = key.split(" ").map((cap) => element("kbd", { textContent: cap }));
    list.append(element("dt", {}, ...caps), element("dd", { textContent: text }));
  }
  const box = element("input", { type: "checkbox", checked: keysAreOn() });
  box.addEventListener("change", () => localStorage.setItem(keySetting, box.checked ? "on" : "off"));
  const choice = element("label", { className: "choice" }, box, "Keys without Ctrl are on");
  const close = element("button", { className: "button quiet", textContent: "Close" });
  close.dataset.close = "";
  const sheet = element("div", { className: "sheet" }, element("h2", { textContent: "Keys" }), list, choice, close);
  const dialog = element("dialog", {}, sheet);
  dialog.setAttribute("aria-label", "Keys");
  showDialog(dialog);
}

keys.set("?", ["Show the keys", showKeys]);
commands.push({ label: "Show the keys", hint: "?", run: showKeys });

// True if the letters of `query` are in `text`, in this order.
function matches(text, query) {
  let at = 0;
  for (const letter of query) {
    at = text.indexOf(letter, at) + 1;
    if (at === 0) return false;
  }
  return true;
}

function found(query) {
  const wanted = query.toLowerCase().replace(/\s+/g, "");
  const rank = ({ label }) => {
    const at = label.toLowerCase().replace(/\s+/g, "").indexOf(wanted);
    return at < 0 ? 1000 : at;
  };
  const links = [...document.querySelectorAll("[data-command]")].map((link) => ({
    label: link.dataset.command,
    hint: link.dataset.hint,
    run: () => link.click(),
  }));
  return [...commands, ...links]
    .filter(({ label }) => matches(label.toLowerCase(), wanted))
    .sort((one, other) => rank(one) - rank(other));
}

function openPalette() {
  const input = element("input", { type: "text", placeholder: "Find a page or an action", autocomplete: "off" });
  const list = element("ul", { id: "palette-list", role: "listbox" });
  const dialog = element("dialog", { className: "palette" }, input, list);
  dialog.setAttribute("aria-label", "Pages and actions");
  input.setAttribute("role", "combobox");
  input.setAttribute("aria-label", "Find a page or an action");
  input.setAttribute("aria-controls", "palette-list");
  input.setAttribute("aria-expanded", "true");
  let shown = [];
  let chosen = 0;

  const choose = (index) => {
    chosen = shown.length ? (index + shown.length) % shown.length : 0;
    [...list.children].forEach((item, at) => item.setAttribute("aria-selected", at === chosen));
    list.children[chosen]?.scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", shown.length ? `palette-${chosen}` : "");
  };
  const run = (command) => {
    dialog.close();
    if (command?.href) location.href = command.href;
    else command?.run();
  };
  const fill = () => {
    shown = found(input.value).slice(0, 50);
    list.replaceChildren(
      ...shown.map((command, at) => {
        const item = element("li", { id: `palette-${at}`, role: "option" }, element("span", { textContent: command.label }));
        if (command.hint) item.append(element("kbd", { textContent: command.hint }));
        item.addEventListener("click", () => run(command));
        return item;
      }),
    );
    if (!shown.length) list.append(element("li", { className: "none", textContent: "Nothing found" }));
    choose(0);
  };
  input.addEventListener("input", fill);
  input.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) choose(chosen + step);
    else if (event.key === "Enter") run(shown[chosen]);
    else return;
    event.preventDefault();
  });
  fill();
  showDialog(dialog);
  input.focus();
}

function menuItem(textContent, key, action) {
  const item = element("button", { type: "button", textContent }, element("kbd", { textContent: key }));
  item.addEventListener("click", action);
  return item;
}

document.querySelector(".menu div")?.prepend(
  menuItem("Find a page or an action", "Ctrl-K", openPalette),
  menuItem("Keys", "?", showKeys),
);

document.addEventListener("click", ({ target }) => {
  const menu = document.querySelector(".menu[open], .times[open]");
  if (menu && (target.closest?.(".menu button") || !menu.contains(target))) menu.open = false;
});
document.addEventListener("keydown", ({ key }) => {
  const menu = document.querySelector(".menu[open], .times[open]");
  if (key !== "Escape" || !menu) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});
