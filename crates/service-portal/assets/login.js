// Goes to the form on the portal's own port, if that is found to be this container's portal; else to the form here.
const portal = document.getElementById("portal");
const here = document.getElementById("here");
const key = "leonardo-login";

async function isPortal() {
  const address = new URL(`/leonardo/identity?nonce=${portal.dataset.nonce}`, portal.href);
  try {
    const answer = await fetch(address, { cache: "no-store", credentials: "omit", signal: AbortSignal.timeout(4000) });
    return answer.ok && (await answer.text()) === portal.dataset.identity;
  } catch {
    return false;
  }
}

// Back here within seconds: the browser keeps no cookie, and another round would change nothing.
const last = Number(sessionStorage.getItem(key));
if (Date.now() - last > 10000) {
  isPortal().then((found) => {
    sessionStorage.setItem(key, String(Date.now()));
    location.replace(found ? portal.href : here.href);
  });
}
