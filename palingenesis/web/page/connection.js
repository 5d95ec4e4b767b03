/** The requests to the daemon, and its events. */

// The key is in sessionStorage and never in a cookie: a cookie would be sent to every port of
// this host, RFC 6265 section 8.5.
const KEY = "palingenesis-key";
const RETRY_MS = 2000;
const GONE = "The daemon does not answer";
/** A comment comes each 15 seconds; after three without one the daemon is gone. */
const SILENCE_MS = 45_000;

/** Return whether the browser has a key, which may have ended. */
export function hasKey() {
  return sessionStorage.getItem(KEY) !== null;
}

/** Forget the key. */
export function forgetKey() {
  sessionStorage.removeItem(KEY);
}

/** Send a request with the key, and return the response. */
export function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (hasKey()) {
    headers.Authorization = `Bearer ${sessionStorage.getItem(KEY)}`;
  }
  return fetch(path, { ...options, headers, cache: "no-store", credentials: "omit" });
}

/** Return the JSON at a path, or null if it cannot be had. */
export async function read(path) {
  try {
    const response = await ask(path);
    return response.ok ? await response.json() : null;
  } catch {
    return null;
  }
}

/** Have the daemon do something; return an empty text, or why it did not. */
export async function change(path, body) {
  const options = { method: "POST" };
  if (body !== undefined) {
    options.headers = { "Content-Type": "application/json" };
    options.body = JSON.stringify(body);
  }
  try {
    const response = await ask(path, options);
    return response.ok ? "" : await reasonOf(response);
  } catch {
    return `${GONE}.`;
  }
}

async function reasonOf(response) {
  try {
    return (await response.json()).detail;
  } catch {
    return response.statusText;
  }
}

/** Exchange a code for a key; return an empty text, or why that failed. */
export async function logIn(code) {
  let response;
  try {
    response = await ask("api/v1/login", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ code }),
    });
  } catch {
    return `${GONE}.`;
  }
  if (response.status === 401) {
    return "The code is used, old or wrong.";
  }
  if (!response.ok) {
    return reasonOf(response);
  }
  sessionStorage.setItem(KEY, (await response.json()).key);
  return "";
}

/**
 * The daemon's events, for as long as the key is right.
 *
 * An EventSource cannot send Authorization, so the stream is read by fetch.
 */
export class Events {
  #lastId = null;
  #follows = false;

  /** @param on functions by event: `open`, `gone` with the reason, `denied`, the daemon's own. */
  constructor(on) {
    this.on = on;
  }

  /** Read events, and connect again whenever the daemon has gone; once is enough. */
  async follow() {
    if (this.#follows) {
      return;
    }
    this.#follows = true;
    for (;;) {
      let why = GONE;
      try {
        why = await this.#read();
      } catch {
        // The daemon is gone, or the connection: both may come back.
      }
      if (why === null) {
        break;
      }
      this.on.gone(why);
      await new Promise((done) => setTimeout(done, RETRY_MS));
    }
    this.#follows = false;
    this.on.denied();
  }

  /** Read events until they end; return why they do, or null if the key is not right. */
  async #read() {
    const aborted = new AbortController();
    let silence = setTimeout(() => aborted.abort(), SILENCE_MS);
    try {
      const headers = this.#lastId === null ? {} : { "Last-Event-ID": this.#lastId };
      const response = await ask("api/v1/events", { headers, signal: aborted.signal });
      if (!response.ok) {
        return response.status === 401 ? null : `The daemon says: ${await reasonOf(response)}`;
      }
      this.on.open();
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) {
          return GONE;
        }
        clearTimeout(silence);
        silence = setTimeout(() => aborted.abort(), SILENCE_MS);
        const blocks = (text + value).split("\n\n");
        text = blocks.pop();
        blocks.forEach((block) => this.#dispatch(block));
      }
    } finally {
      clearTimeout(silence);
    }
  }

  #dispatch(block) {
    const fields = new Map(
      block.split("\n").map((line) => {
        const colon = line.indexOf(": ");
        return [line.slice(0, colon), line.slice(colon + 2)];
      }),
    );
    this.#lastId = fields.get("id") ?? this.#lastId;
    this.on[fields.get("event")]?.(JSON.parse(fields.get("data")));
  }
}
