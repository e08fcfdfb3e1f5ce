// The list of log lines: a window of at most MAX_ROWS rows, everything in text nodes.
import { markHits, unmarkHits } from "/leonardo/assets/log_hits.js";

const MAX_ROWS = 1500;
const FOLLOWED_ROWS = 1000;
const MIN_CONTRAST = 4.6;
// Grounds that have less contrast than the paper: selected lines, and in the dark those with errors.
const LIGHT_WASH = [231, 233, 248];
const DARK_WASH = [54, 29, 29];
const URL_PATTERN = /https?:\/\/[^\s<>"'\x60\\^{|}]+/g;

const channel = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
const luminance = (rgb) => rgb.reduce((sum, value, index) => sum + channel(value / 255) * [0.2126, 0.7152, 0.0722][index], 0);
const parseHex = (hex) => [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));
const mix = (rgb, other, share) => rgb.map((value, index) => value + (other[index] - value) * share);

// Returns a colour near `hex` that is readable on `paper`.
function readable(hex, paper) {
  const target = luminance(paper) > 0.18 ? [0, 0, 0] : [255, 255, 255];
  let rgb = parseHex(hex);
  for (let share = 0; share <= 1; share += 0.1) {
    rgb = mix(parseHex(hex), target, share);
    const [light, dark] = [luminance(rgb), luminance(paper)].sort((one, other) => other - one);
    if ((light + 0.05) / (dark + 0.05) >= MIN_CONTRAST) break;
  }
  return `rgb(${rgb.map(Math.round).join(" ")})`;
}

// Colours that have no class: 256 and true colours, and every background.
function paint(element, fg, bg) {
  if (bg) {
    element.style.backgroundColor = bg;
    element.style.color = readable(fg ?? (luminance(parseHex(bg)) > 0.18 ? "#000000" : "#ffffff"), parseHex(bg));
  } else if (fg) {
    element.style.color = readable(fg, LIGHT_WASH);
    element.style.color = `light-dark(${readable(fg, LIGHT_WASH)}, ${readable(fg, DARK_WASH)})`;
  }
}

// Appends text; http and https addresses in it become links that show exactly the address they lead to.
function appendText(element, text) {
  let end = 0;
  if (text.includes("://")) {
    for (const match of text.matchAll(URL_PATTERN)) {
      let address = match[0].replace(/[.,;:!?]+$/, "");
      for (const [open, close] of ["()", "[]"]) {
        while (address.endsWith(close) && !address.includes(open)) address = address.slice(0, -1);
      }
      if (!isAddress(address)) continue;
      const link = document.createElement("a");
      link.href = address;
      link.rel = "noopener noreferrer";
      link.target = "_blank";
      link.textContent = address;
      element.append(text.slice(end, match.index), link);
      end = match.index + address.length;
    }
  }
  element.append(end ? text.slice(end) : text);
}

// Name of a row. The checksum in a position changes once a file has enough bytes, the row does not.
export const nameOf = (service, id) => `${service} ${id.replace(/-[0-9a-f]+\./, ".")}`;

const pad = (number, digits = 2) => String(number).padStart(digits, "0");

// Time of day, with the date if it is not today.
function timeText(time) {
  const date = new Date(time * 1000);
  const day = date.toDateString() === new Date().toDateString() ? "" : `${pad(date.getMonth() + 1)}-${pad(date.getDate())} `;
  return `${day}${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
}

export class Rows {
  // `list` is the scrolling element.
  constructor(list) {
    Object.assign(this, { list, base: "", pattern: null, showsService: true, byKey: new Map(), from: {}, to: {}, selected: null });
    // Formatting a time takes longer than all else of a row.
    list.addEventListener("mouseover", ({ target }) => {
      const time = target.closest(".at")?.closest(".line")?.row?.time;
      if (time) target.title ||= `${new Date(time * 1000).toLocaleString()} (link to this line)`;
    });
  }

  get size() {
    return this.list.childElementCount;
  }

  get isFull() {
    return this.size >= MAX_ROWS;
  }

  clear() {
    for (const element of this.list.children) unmarkHits(element.hits);
    this.list.replaceChildren();
    this.byKey.clear();
    Object.assign(this, { from: {}, to: {}, selected: null });
  }

  // Adds rows at the end, and replaces those that are known. While following, old rows leave at the top. Returns how many
  // are new.
  append(rows, isFollowing) {
    if (rows.length) this.list.querySelector(".empty")?.remove();
    const added = document.createDocumentFragment();
    for (const row of rows) this.#place(row, added);
    const count = added.childElementCount;
    this.list.append(added);
    if (isFollowing) this.#trimTop(FOLLOWED_ROWS);
    return count;
  }

  // Adds older rows at the top without moving what is visible; too many leave at the bottom. Returns true if some left.
  prepend(rows) {
    const added = document.createDocumentFragment();
    for (const row of rows) this.#place(row, added);
    const bottom = this.list.scrollHeight - this.list.scrollTop;
    this.list.prepend(added);
    this.list.scrollTop = this.list.scrollHeight - bottom;
    let left = false;
    while (this.list.childElementCount > MAX_ROWS) {
      const row = this.#remove(this.list.lastElementChild);
      if (row) this.to[row.service] = row.id;
      left = true;
    }
    return left;
  }

  // Adds newer rows below; too many leave at the top without moving what is visible.
  extend(rows) {
    this.append(rows, false);
    const bottom = this.list.scrollHeight - this.list.scrollTop;
    this.#trimTop(MAX_ROWS);
    this.list.scrollTop = this.list.scrollHeight - bottom;
  }

  // Adds a line of our own between the rows.
  mark(text, kind = "note") {
    const element = document.createElement("div");
    element.className = kind;
    element.textContent = text;
    this.list.append(element);
    return element;
  }

  // The log has new content: later rows replace none of the earlier ones.
  forget(service) {
    for (const name of this.byKey.keys()) if (name.startsWith(`${service} `)) this.byKey.delete(name);
  }

  // Selects a row; `null` selects nothing.
  select(element) {
    this.selected?.classList.remove("selected");
    this.selected = element?.row ? element : null;
    this.selected?.classList.add("selected");
    return this.selected;
  }

  find(service, id) {
    return this.byKey.get(nameOf(service, id));
  }

  // Returns the next or previous row that fits a selector, from the selected one or from what is visible.
  neighbour(direction, selector) {
    const step = direction > 0 ? "nextElementSibling" : "previousElementSibling";
    let element = this.selected?.[step];
    if (!this.selected) element = direction > 0 ? this.list.firstElementChild : this.list.lastElementChild;
    while (element && !element.matches(selector)) element = element[step];
    return element;
  }

  #place(row, added) {
    const key = nameOf(row.service, row.id);
    const known = this.byKey.get(key);
    const element = this.#element(row);
    this.byKey.set(key, element);
    if (known) {
      if (known === this.selected) this.select(element);
      unmarkHits(known.hits);
      known.replaceWith(element);
    } else {
      added.append(element);
    }
  }

  #element(row) {
    const element = document.createElement("div");
    element.className = row.level ? `line level-${row.level}` : "line";
    element.row = row;
    const at = document.createElement("a");
    at.className = "at";
    // Keys select lines; a thousand links are not to be tabbed through.
    at.tabIndex = -1;
    at.href = this.href(row);
    at.textContent = row.time === null ? "--:--:--" : timeText(row.time);
    element.append(at);
    if (this.showsService) {
      const service = document.createElement("span");
      service.className = "service";
      service.textContent = row.service;
      element.append(service);
    }
    const text = document.createElement("span");
    text.className = "text";
    for (const { text: content, class: names, fg, bg } of row.spans) {
      if (names || fg || bg) {
        const span = document.createElement("span");
        if (names) span.className = names;
        paint(span, fg, bg);
        appendText(span, content);
        text.append(span);
      } else {
        appendText(text, content);
      }
    }
    element.append(text);
    if (this.pattern) element.hits = markHits(text, this.pattern);
    return element;
  }

  // Returns the permalink of a row: `base` is the view's URL up to it.
  href(row) {
    return `${this.base}at=${encodeURIComponent(`${row.service}:${row.id}`)}`;
  }

  #trimTop(size) {
    while (this.list.childElementCount > size) {
      const row = this.#remove(this.list.firstElementChild);
      if (row) this.from[row.service] = `${row.id}+`;
    }
  }

  #remove(element) {
    element.remove();
    unmarkHits(element.hits);
    if (element === this.selected) this.selected = null;
    if (!element.row) return null;
    const key = nameOf(element.row.service, element.row.id);
    if (this.byKey.get(key) === element) this.byKey.delete(key);
    return element.row;
  }
}

// URL.canParse needs Safari 17 or Firefox 115.
function isAddress(text) {
  try {
    return Boolean(new URL(text));
  } catch {
    return false;
  }
}
