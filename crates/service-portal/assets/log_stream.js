// Live messages over a WebSocket; a streamed POST if no message arrives that way, then polling. Continues at its cursor.
const FIRST_MESSAGE_MS = 4000;
const SILENCE_MS = 60000;
const MAX_DELAY_MS = 10000;
const POLL_MS = 300;
const TRANSPORTS = ["socket", "stream", "poll"];
const NAMES = { socket: "", stream: "streamed", poll: "polled" };
const SILENT = "silent";
const TRANSPORT_KEY = "leonardo-log-transport";

class Closed extends Error {}

// Reads the messages of a response, one JSON object a line.
export async function readMessages(response, onMessage) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) if (line) onMessage(JSON.parse(line));
  }
}

export const postJson = (path, body, signal) =>
  fetch(`/leonardo/logs/${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
    credentials: "same-origin",
    cache: "no-store",
    signal,
  });

export class LogStream {
  // `onMessage` gets rows, skipped, notice, error and end; `onState` gets what the connection does, in words.
  constructor(onMessage, onState) {
    Object.assign(this, { onMessage, onState, state: "Connecting…", request: null, abort: null, failures: 0, hasSocket: false });
    this.transport = Math.max(0, TRANSPORTS.indexOf(sessionStorage.getItem(TRANSPORT_KEY)));
  }

  get isOpen() {
    return this.abort !== null;
  }

  start(request) {
    this.stop();
    this.request = request;
    this.failures = 0;
    this.abort = new AbortController();
    this.#run(this.abort.signal);
  }

  stop() {
    this.abort?.abort();
    this.abort = null;
  }

  async #run(signal) {
    while (!signal.aborted) {
      this.gotMessage = false;
      const name = TRANSPORTS[this.transport];
      let reason = "";
      try {
        await this[`_${name}`](signal);
        if (name === "poll") {
          await this.#wait(POLL_MS, signal);
          continue;
        }
      } catch (error) {
        if (signal.aborted) return;
        // Logged out, or a request with the cursors of too many logs.
        if (["401", "413"].includes(error.message)) return location.reload();
        reason = error.message;
      }
      if (signal.aborted) return;
      if (!this.gotMessage) this.transport = this.#next(name, reason);
      this.failures += 1;
      this.#show(this.failures === 1 && !this.gotMessage ? "Connecting…" : "Reconnecting…");
      await this.#wait(this.gotMessage ? 300 : Math.min(MAX_DELAY_MS, 250 * 2 ** this.failures), signal);
    }
  }

  #show(state) {
    this.state = state;
    this.onState(state);
  }

  // Waits until the time is over, the network is back or the stream is stopped.
  #wait(ms, signal) {
    return new Promise((resume) => {
      const over = new AbortController();
      const end = () => (clearTimeout(timer), over.abort(), resume());
      const timer = setTimeout(end, ms);
      addEventListener("online", end, { signal: over.signal });
      signal.addEventListener("abort", end, { signal: over.signal });
    });
  }

  // Returns the transport to try after one that brought no message; sockets that did are tried twice. A server that is down says
  // nothing about transports.
  #next(name, reason) {
    const hadSocket = this.hasSocket;
    if (name === "socket") this.hasSocket = false;
    if (name === "socket") return hadSocket ? 0 : 1;
    return name === "stream" && reason === SILENT ? 2 : 0;
  }

  #receive(message, signal) {
    if (signal.aborted) return;
    if (!this.gotMessage) {
      this.gotMessage = true;
      this.failures = 0;
      const name = TRANSPORTS[this.transport];
      this.hasSocket ||= name === "socket";
      sessionStorage.setItem(TRANSPORT_KEY, name);
      this.#show(NAMES[name] ? `Live (${NAMES[name]})` : "Live");
    }
    if (message.cursor) this.request.cursor = message.cursor;
    if (message.type === "end") return location.reload();
    if (message.type === "error") this.stop();
    if (message.type !== "ping") this.onMessage(message);
  }

  // Calls `fail` if the first message, or later any, does not arrive in time.
  #watch(fail, ms = FIRST_MESSAGE_MS) {
    let timer = setTimeout(fail, ms);
    return {
      reset: () => (clearTimeout(timer), (timer = setTimeout(fail, SILENCE_MS))),
      end: () => clearTimeout(timer),
    };
  }

  _socket(signal) {
    return new Promise((resolve, reject) => {
      const address = new URL("/leonardo/logs/socket", location.href);
      address.protocol = address.protocol.replace("http", "ws");
      const socket = new WebSocket(address);
      const finish = () => {
        watch.end();
        socket.close();
        resolve();
      };
      const watch = this.#watch(finish);
      signal.addEventListener("abort", finish, { once: true });
      socket.onopen = () => socket.send(JSON.stringify(this.request));
      socket.onmessage = ({ data }) => {
        watch.reset();
        try {
          this.#receive(JSON.parse(data), signal);
        } catch (error) {
          finish();
          reject(error);
        }
      };
      socket.onclose = finish;
    });
  }

  _stream(signal) {
    return this.#read("stream", signal, FIRST_MESSAGE_MS);
  }

  _poll(signal) {
    return this.#read("poll", signal, SILENCE_MS);
  }

  // Reads the messages of a response; fails if the first does not arrive within some milliseconds.
  async #read(path, signal, ms) {
    // AbortSignal.any needs Safari 17.4 or Firefox 124.
    const own = new AbortController();
    const abort = () => own.abort();
    signal.addEventListener("abort", abort);
    const watch = this.#watch(abort, ms);
    try {
      const response = await postJson(path, this.request, own.signal);
      if (!response.ok) throw new Closed(String(response.status));
      await readMessages(response, (message) => {
        watch.reset();
        this.#receive(message, signal);
      });
    } catch (error) {
      throw own.signal.aborted ? new Closed(SILENT) : error;
    } finally {
      watch.end();
      signal.removeEventListener("abort", abort);
    }
  }
}
