// The page of a service that does not respond: loads it again once the service responds or is starting. A page that reloads at
// an interval would take away the keyboard's focus and the place in the log.
const INTERVAL = 3000;

async function retry() {
  try {
    // A service may answer HEAD and fail with GET.
    const { status, headers, body } = await fetch(location.href, { cache: "no-store", redirect: "manual" });
    await body?.cancel();
    if (![502, 503, 504].includes(status) || headers.has("refresh")) return location.reload();
  } catch {
    // The container or the network is down as well.
  }
  setTimeout(retry, INTERVAL);
}

setTimeout(retry, INTERVAL);
