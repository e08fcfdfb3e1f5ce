// Draws the last hour into the charts. The figures beside them come with the page, which app.js keeps current.
import { every } from "./app.js";

const HOUR = 3600;
const CAPACITY = 720;
const HEIGHT = 150;
const COLOURS = ["--accent", "--good", "--warn"];
const DASHES = [[], [6, 3], [2, 2]];

const points = { next: 0, seconds: [], series: {}, gpus: [] };
const charts = new Map();

// --- Numbers ---

function scaled(value, base, units) {
  let unit = 0;
  while (Math.abs(value) >= base && unit < units.length - 1) {
    value /= base;
    unit += 1;
  }
  if (value === 0) return "0";
  return `${value >= 100 || Number.isInteger(value) ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

const format = {
  cores: (value) => String(Math.round(value * 100) / 100),
  memory: (value) => scaled(value, 1024, ["B", "KiB", "MiB", "GiB", "TiB"]),
  rate: (value) => scaled(value / 1000, 1000, ["kB/s", "MB/s", "GB/s"]),
  percent: (value) => `${Math.round(value)} %`,
};
// Memory has round numbers at powers of two.
const steps = { memory: Array.from({ length: 45 }, (none, power) => 2 ** power) };

function ago(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s ago`;
  return `${Math.floor(seconds / 60)} min ago`;
}

// --- Points ---

function add(list = [], fresh, count, kept) {
  // A series may appear later than the first point.
  const before = [...Array(Math.max(0, kept - list.length)).fill(null), ...list].slice(-kept || list.length);
  const values = fresh ?? Array(count).fill(null);
  return [...(kept ? before : []), ...values].slice(-CAPACITY);
}

function receive(answer) {
  // The portal has restarted: its clock and its numbers began anew.
  if (answer.first !== points.next) Object.assign(points, { seconds: [], series: {}, gpus: [] });
  const [kept, count] = [points.seconds.length, answer.seconds.length];
  const merge = (old, fresh) => {
    const names = new Set([...Object.keys(old), ...Object.keys(fresh)]);
    return Object.fromEntries([...names].map((name) => [name, add(old[name], fresh[name], count, kept)]));
  };
  points.series = merge(points.series, answer.series);
  points.gpus = answer.gpus.map((fresh, number) => merge(points.gpus[number] ?? {}, fresh));
  points.seconds = [...points.seconds, ...answer.seconds].slice(-CAPACITY);
  points.next = answer.next;
  draw();
}

// --- Charts ---

function description(host) {
  return host.dataset.series.split(",").map((pair) => pair.split("="));
}

function values(host) {
  const series = host.dataset.gpu === undefined ? points.series : (points.gpus[host.dataset.gpu] ?? {});
  const none = Array(points.seconds.length).fill(null);
  return [points.seconds, ...description(host).map(([name]) => series[name] ?? none)];
}

function create(host) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const show = format[host.dataset.unit];
  const latest = () => points.seconds.at(-1) ?? 0;
  const font = `11px ${getComputedStyle(document.body).fontFamily}`;
  const maximum = Number(host.dataset.maximum) || null;
  const least = { rate: 1000, percent: 10 }[host.dataset.unit] ?? 0;
  const most = host.dataset.unit === "percent" ? 100 : Infinity;
  const axis = { stroke: colour("--muted"), font, grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
  const begin = () => Math.min(points.seconds[0] ?? 0, latest() - 600);
  const step = () => (latest() - begin() > 1800 ? 900 : 300);
  return new uPlot(
    {
      width: host.clientWidth,
      height: HEIGHT,
      padding: [8, 16, 0, 0],
      cursor: { sync: { key: "system" }, drag: { x: false, y: false }, y: false, points: { size: 6 } },
      legend: { live: true, markers: { dash: (chart, index) => (DASHES[index - 1]?.length ? "dashed" : "solid") } },
      scales: {
        x: { time: false, range: () => [Math.max(begin(), latest() - HOUR), latest()] },
        y: { range: (chart, low, high) => [0, maximum ?? Math.min(most, Math.max(least, (high ?? 0) * 1.15))] },
      },
      axes: [
        {
          ...axis,
          size: 24,
          splits: () => {
            const places = [];
            for (let at = latest(); at >= Math.max(begin(), latest() - HOUR); at -= step()) places.unshift(at);
            return places;
          },
          values: (chart, places) => places.map((at) => (at === latest() ? "now" : `−${Math.round((latest() - at) / 60)} min`)),
        },
        { ...axis, size: 62, space: 36, incrs: steps[host.dataset.unit], values: (chart, places) => places.map(show) },
      ],
      series: [
        { label: "", value: (chart, at) => (at == null ? "" : ago(latest() - at)) },
        ...description(host).map(([, label], index) => ({
          label,
          stroke: colour(COLOURS[index]),
          fill: index === 0 ? `${colour(COLOURS[0])}1f` : undefined,
          dash: DASHES[index],
          width: 1.5,
          points: { show: false },
          spanGaps: host.dataset.gpu !== undefined,
          // While the cursor is elsewhere, the latest value.
          value: (chart, value, number, at) => {
            const shown = at == null ? chart.data[number].at(-1) : value;
            return shown == null ? "–" : show(shown);
          },
        })),
      ],
    },
    values(host),
    host,
  );
}

const resized = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const width = target.clientWidth;
    if (width) charts.get(target)?.chart.setSize({ width, height: HEIGHT });
  }
});

function draw() {
  for (const [host, { chart }] of charts) {
    if (!host.isConnected) {
      resized.unobserve(host);
      chart.destroy();
      charts.delete(host);
    }
  }
  for (const host of document.querySelectorAll(".chart[data-series]")) {
    const { series, unit, maximum, gpu } = host.dataset;
    const shape = [series, unit, maximum, gpu].join();
    const known = charts.get(host);
    if (known?.shape === shape) {
      known.chart.setData(values(host));
      continue;
    }
    known?.chart.destroy();
    // An empty element is hidden and has no width.
    host.classList.add("drawn");
    charts.set(host, { shape, chart: create(host) });
    resized.observe(host);
  }
}

// Charts have the colours of the scheme.
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const entry of charts.values()) entry.shape = "";
  draw();
});

every(5000, () => `/leonardo/system/history?after=${points.next}`, receive);
