// Opens the login form on the portal's port if that port belongs to this container's portal, otherwise the form on this port.
const portal = document.getElementById("portal");
const here = document.getElementById("here");
const storageKey = "leonardo-login";

async function isOurPortal() {
  const address = new URL(`/leonardo/identity?nonce=${portal.dataset.nonce}`, portal.href);
  try {
    const response = await fetch(address, { cache: "no-store", credentials: "omit", signal: AbortSignal.timeout(4000) });
    return response.ok && (await response.text()) === portal.dataset.identity;
  } catch {
    return false;
  }
}

// If the visitor was here seconds ago, the browser does not keep cookies: redirecting again would loop.
const last = Number(sessionStorage.getItem(storageKey));
if (Date.now() - last > 10000) {
  isOurPortal().then((isOurs) => {
    sessionStorage.setItem(storageKey, String(Date.now()));
    location.replace(isOurs ? portal.href : here.href);
  });
}
