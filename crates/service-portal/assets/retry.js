// The page of a service that does not respond: loads it again once the service responds or is starting. A page that reloads at
// an interval would take away the keyboard's focus and the place in the log.
const INTERVAL = 3000;

async function retry() {
  try {
    const { status, headers } = await fetch(location.href, { method: "HEAD", cache: "no-store", redirect: "manual" });
    if (![502, 503, 504].includes(status) || headers.has("refresh")) return location.reload();
  } catch {
    // The container or the network is down as well.
  }
  setTimeout(retry, INTERVAL);
}

setTimeout(retry, INTERVAL);
