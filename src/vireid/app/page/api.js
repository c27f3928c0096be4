// Requests to the server: with the token, with retries while it is busy, with readable errors.

const KEY = "vireid-token";
const MAX_ATTEMPTS = 6;

export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

let requestToken = null;
let pending = null;

/** Set the function that requests a token from the user: `request(refused)` promises one. */
export function setTokenRequest(request) {
  requestToken = request;
}

async function renew(used) {
  // Several requests may be refused at once; request one token for all of them.
  if (sessionStorage.getItem(KEY) !== used) return;
  pending ??= requestToken(used !== null).then((token) => {
    sessionStorage.setItem(KEY, token);
    pending = null;
  });
  await pending;
}

async function detailOf(response) {
  try {
    return (await response.json()).detail;
  } catch {
    return `The server returned status ${response.status} without details; see its log.`;
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
      throw new Problem(0, "The server does not respond. Is vireid serve still running?");
    }
    if (response.ok) return response;
    if (response.status === 401) {
      await renew(token);
    } else if (response.status === 503 && response.headers.has("Retry-After")
        && ++refusals < MAX_ATTEMPTS) {
      const seconds = Number(response.headers.get("Retry-After")) || 1;
      await new Promise((done) => setTimeout(done, 1000 * seconds));
    } else {
      throw new Problem(response.status, await detailOf(response));
    }
  }
}

export async function get(path, options) {
  return (await send(path, options)).json();
}

/** Send a FormData, or anything else as JSON. The header marks requests of this page. */
export async function post(path, body, options) {
  return (await posted(path, body, options)).json();
}

/** Change something by JSON. */
export async function patch(path, body) {
  return (await posted(path, body, { method: "PATCH" })).json();
}

/** Delete something. */
export async function erase(path) {
  return (await posted(path, {}, { method: "DELETE" })).json();
}

/** Save the response to a FormData as a file. */
export async function download(path, form, name) {
  const url = URL.createObjectURL(await (await posted(path, form)).blob());
  Object.assign(document.createElement("a"), { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

async function posted(path, body, { method = "POST", signal } = {}) {
  const headers = { "X-Vireid": "1" };
  const form = body instanceof FormData;
  if (!form) headers["Content-Type"] = "application/json";
  const options = { method, headers, signal, body: form ? body : JSON.stringify(body) };
  return send(path, options);
}

const urls = new Map();
const CACHED = 400;

/** An object URL of an entry's image, so that no URL contains the token. */
export function imageUrl(id, { full = false } = {}) {
  const path = `api/entries/${id}/${full ? "image" : "thumbnail"}`;
  if (!urls.has(path)) {
    const url = send(path).then(async (response) => URL.createObjectURL(await response.blob()));
    urls.set(path, url);
    url.catch(() => urls.delete(path));
    if (urls.size > CACHED) {
      const [oldest, old] = urls.entries().next().value;
      urls.delete(oldest);
      old.then(URL.revokeObjectURL, () => {});
    }
  }
  return urls.get(path);
}
