// Live rows that wait for the next frame, and what was skipped before them.
import { nameOf } from "/leonardo/assets/log_rows.js";

const MAX_WAITING = 600;

export class Queue {
  constructor() {
    this.clear();
  }

  get size() {
    return this.waiting.size;
  }

  clear() {
    Object.assign(this, { waiting: new Map(), newest: null, reached: null, gap: { lines: 0, bytes: 0 } });
  }

  // Adds rows; a known one replaces what waits of it. Too many are skipped, the oldest first.
  add(rows) {
    for (const row of rows) {
      const name = nameOf(row.service, row.id);
      const known = this.waiting.get(name);
      this.waiting.set(name, { row, cursor: known?.cursor });
      if (!known) this.newest = name;
    }
    for (const name of this.waiting.keys()) {
      if (this.waiting.size <= MAX_WAITING) break;
      this.waiting.delete(name);
      this.skip({ lines: 1 });
    }
  }

  // Says where the logs continue after all that waits.
  reach(cursor) {
    if (this.waiting.size) this.waiting.get(this.newest).cursor = cursor;
    else this.reached = cursor;
  }

  // Counts lines that were skipped, or bytes whose lines were not counted.
  skip({ lines, bytes }) {
    this.gap.lines += lines ?? 0;
    this.gap.bytes += lines ? 0 : (bytes ?? 0);
  }

  // Returns what was skipped and the next rows; `reached` is where the logs continue after them.
  take(count = Infinity) {
    const rows = [];
    for (const [name, { row, cursor }] of this.waiting) {
      if (rows.length >= count) break;
      rows.push(row);
      this.waiting.delete(name);
      if (cursor) this.reached = cursor;
    }
    const gap = this.gap;
    this.gap = { lines: 0, bytes: 0 };
    return { rows, gap };
  }
}
