// Asking the server: with the token, patiently where it is busy, and with errors in words.

const KEY = "vireid-token";
const PATIENCE = 6;

export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

let ask = null;
let asked = null;

/** Who asks the visitor for a token: `ask(refused)` promises one. */
export function askWith(asker) {
  ask = asker;
}

async function renew(used) {
  // Several requests may be refused at once; the visitor is asked once.
  if (sessionStorage.getItem(KEY) !== used) return;
  asked ??= ask(used !== null).then((token) => {
    sessionStorage.setItem(KEY, token);
    asked = null;
  });
  await asked;
}

async function words(response) {
  try {
    return (await response.json()).detail;
  } catch {
    return `The server answered ${response.status} without saying why; its log may tell more.`;
  }
}

async function send(path, options = {}) {
  for (let refusals = 0; ; ) {
    const token = sessionStorage.getItem(KEY);
    const headers = { ...options.headers };
    if (token !== null) headers.Authorization = `Bearer ${token}`;
    let response;
    try {
      response = await fetch(path, { ...options, headers, cache: "no-store", redirect: "error" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem(0, "The server does not answer. Is vireid serve still running?");
    }
    if (response.ok) return response;
    if (response.status === 401) {
      await renew(token);
    } else if (response.status === 503 && response.headers.has("Retry-After")
        && ++refusals < PATIENCE) {
      const seconds = Number(response.headers.get("Retry-After")) || 1;
      await new Promise((done) => setTimeout(done, 1000 * seconds));
    } else {
      throw new Problem(response.status, await words(response));
    }
  }
}

export async function get(path, options) {
  return (await send(path, options)).json();
}

/** Send a FormData, or anything else as JSON. The header marks it as this page's own doing. */
export async function post(path, body, { signal } = {}) {
  const headers = { "X-Vireid": "1" };
  const form = body instanceof FormData;
  if (!form) headers["Content-Type"] = "application/json";
  const options = { method: "POST", headers, signal, body: form ? body : JSON.stringify(body) };
  return (await send(path, options)).json();
}

const urls = new Map();
const KEPT = 400;

/** A URL of an entry's picture inside this page: no token is ever part of an address. */
export function picture(id, { whole = false } = {}) {
  const path = `api/entries/${id}/${whole ? "picture" : "thumbnail"}`;
  if (!urls.has(path)) {
    const url = send(path).then(async (response) => URL.createObjectURL(await response.blob()));
    urls.set(path, url);
    url.catch(() => urls.delete(path));
    if (urls.size > KEPT) {
      const [oldest, old] = urls.entries().next().value;
      urls.delete(oldest);
      old.then(URL.revokeObjectURL, () => {});
    }
  }
  return urls.get(path);
}
