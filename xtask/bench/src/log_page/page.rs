//! Scripts that record what the log page shows.

/// Milliseconds from the time in each new line (microseconds since the epoch) to the frame that shows it.
pub const RECORD_DELAYS: &str = r"
window.delays = [];
new MutationObserver((changes) => {
  for (const change of changes) for (const node of change.addedNodes) {
    const sent = node.querySelector?.('.text')?.textContent.match(/^(\d{16}) /);
    if (sent) requestAnimationFrame(() => delays.push(performance.timeOrigin + performance.now() - sent[1] / 1000));
  }
}).observe(document.getElementById('rows'), {childList: true});
";

/// Times between frames, and which lines of a flood were shown.
pub const RECORD_FLOOD: &str = r"
window.frames = []; window.shown = new Set(); window.recording = true;
let last = performance.now();
const frame = (now) => { frames.push(now - last); last = now; if (recording) requestAnimationFrame(frame); };
requestAnimationFrame(frame);
new MutationObserver((changes) => {
  for (const change of changes) for (const node of change.addedNodes) {
    const text = node.querySelector?.('.text')?.textContent;
    if (text) shown.add(text.startsWith('line ') ? Number(text.slice(5, 15)) : text);
  }
}).observe(document.getElementById('rows'), {childList: true});
";
