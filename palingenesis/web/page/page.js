"use strict";

// The key is in sessionStorage and never in a cookie: a cookie would be sent to every port of
// this host, RFC 6265 section 8.5.
const KEY = "palingenesis-key";
const RETRY_MS = 2000;

const news = document.getElementById("news");
const login = document.getElementById("login");
const list = document.getElementById("status");

function ask(path, options = {}) {
  const key = sessionStorage.getItem(KEY);
  const headers = { ...options.headers };
  if (key !== null) {
    headers.Authorization = `Bearer ${key}`;
  }
  return fetch(path, { ...options, headers, cache: "no-store", credentials: "omit" });
}

async function logIn(code) {
  const response = await ask("api/v1/login", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ code }),
  });
  if (!response.ok) {
    return false;
  }
  sessionStorage.setItem(KEY, (await response.json()).key);
  return true;
}

function show(status) {
  list.replaceChildren();
  for (const [name, value] of Object.entries(status)) {
    const term = document.createElement("dt");
    const description = document.createElement("dd");
    term.textContent = name;
    description.textContent = typeof value === "string" ? value : JSON.stringify(value);
    list.append(term, description);
  }
}

function askForCode(text) {
  sessionStorage.removeItem(KEY);
  news.textContent = text;
  login.hidden = false;
}

// An EventSource cannot send Authorization.
async function listen() {
  const response = await ask("api/v1/events");
  if (response.status === 401) {
    askForCode("Log in with a new code.");
    return false;
  }
  if (!response.ok) {
    throw new Error(response.statusText);
  }
  login.hidden = true;
  news.textContent = "Live";
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) {
      return true;
    }
    const events = (text + value).split("\n\n");
    text = events.pop();
    for (const event of events) {
      const lines = event.split("\n");
      const data = lines.find((line) => line.startsWith("data: "));
      if (lines.includes("event: status") && data !== undefined) {
        show(JSON.parse(data.slice("data: ".length)));
      }
    }
  }
}

async function stayConnected() {
  for (;;) {
    try {
      if (!(await listen())) {
        return;
      }
    } catch {
      // The daemon is gone, or the connection: both may come back.
    }
    news.textContent = "The daemon does not answer. Trying again.";
    await new Promise((done) => setTimeout(done, RETRY_MS));
  }
}

login.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (await logIn(document.getElementById("code").value.trim())) {
    stayConnected();
  } else {
    askForCode("The code is used, old or wrong.");
  }
});

async function begin() {
  const code = new URLSearchParams(location.hash.slice(1)).get("code");
  if (code !== null) {
    // The code must not stay in the history.
    history.replaceState(null, "", location.pathname);
    if (!(await logIn(code))) {
      askForCode("The code is used, old or wrong.");
      return;
    }
  }
  if (sessionStorage.getItem(KEY) === null) {
    askForCode("Type palingenesis web in a terminal for a code.");
    return;
  }
  stayConnected();
}

begin();
