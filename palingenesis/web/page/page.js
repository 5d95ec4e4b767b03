/** The page: what the daemon says, and what a person does with it. */

import { Events, change, forgetKey, hasKey, logIn, read } from "./connection.js";
import { element, setText, showList } from "./dom.js";
import { Log, nameIn } from "./log.js";
import { drawSoon } from "./night.js";
import * as told from "./sessions.js";
import { clock, isTime, timeElement, zone } from "./times.js";
import { STATES } from "./words.js";

const ASLEEP = ["stopped", "waiting", "given-up"];
/** What a person can do with a session, when, and what is asked before. */
const ACTIONS = [
  {
    command: "REVIVE",
    label: "Revive",
    fits: (session) => ASLEEP.includes(session.state),
    ask: "Revive this session now?",
  },
  { command: "HOLD", label: "Hold", fits: (session) => session.held !== "on-hold", ask: "" },
  { command: "RELEASE", label: "Release", fits: (session) => session.held === "on-hold", ask: "" },
  {
    command: "END",
    label: "End",
    fits: (session) => session.state === "reviving",
    ask: "End this revival, and leave its session alone?",
  },
];

const at = (id) => document.getElementById(id);
const log = new Log();
/** The sessions; null for a daemon that has none to tell of. */
let sessions = null;
let status = null;
let mayChange = false;
let commands = new Set();
let drawing = false;
/** Since when the page shows what may have changed meanwhile; null while it is live. */
let oldSince = null;
/** Whether the daemon may have recorded more than it has sent. */
let isCut = false;
/** Entries that the daemon has at most. */
const ENTRIES = 1000;

/** Draw once for all that has come since the last frame. */
function drawNext() {
  if (!drawing) {
    drawing = true;
    setTimeout(draw, 0);
  }
}

function draw() {
  drawing = false;
  drawStatus();
  at("content").hidden = sessions === null;
  if (sessions === null) {
    return;
  }
  const names = new Map(sessions.map((each) => [told.keyOf(each), told.nameOf(each)]));
  const failed = told.failuresIn(log.entries);
  const failures = failed.filter((each) => !told.hasWorked(each, sessions));
  drawSentence(told.workedIn(log.entries), failures.length);
  drawNeeds();
  drawFailures(failures, names);
  drawSessions();
  const older = log.show(at("log"), names);
  at("log-none").hidden = log.entries.length > 0;
  at("more").hidden = older === 0;
  at("log-rest").hidden = older > 0 || !isCut;
}

function drawStatus() {
  const isLive = oldSince === null && status !== null;
  const state = isLive ? status.state : "not connected";
  const trouble = isLive ? [status.ledger, status.scan] : [];
  const words = [state, ...trouble.filter((each) => each && each !== "ok")];
  // An application has no such value.
  if (isLive && "keeper" in status && status.keeper !== true) {
    words.push("it revives nothing");
  }
  setText(at("status"), words.join("; "));
  at("pause").hidden = !mayChange || !isLive;
  setText(at("pause"), state === "paused" ? "Resume" : "Pause");
}

function drawSentence(worked, failed) {
  const sentence = told.sentence(sessions, status, worked, failed);
  setText(at("sentence"), sentence);
  document.title = `${oldSince === null ? "" : "Old: "}${sentence} - palingenesis`;
}

function drawNeeds() {
  const needing = sessions.filter((each) => told.need(each) !== null);
  const parts = (each) => {
    const line = told.continuation(each);
    return [told.nameOf(each), told.need(each), each.since, told.advice(each, line), line];
  };
  const look = (each) => JSON.stringify(parts(each));
  showList(at("needs"), needing, told.keyOf, look, (each) => card(...parts(each)));
  at("needs-none").hidden = needing.length > 0;
}

function drawFailures(failures, names) {
  const key = (entry) => `${entry.agent} ${entry.session}`;
  const look = (entry) => JSON.stringify(entry) + told.nextAttempt(entry, sessions);
  showList(at("failed"), failures, key, look, (entry) => {
    const when = isTime(entry.at) ? ` at ${clock(entry.at)}` : "";
    const why = `the revival${when} failed: ${entry.cause}${told.nextAttempt(entry, sessions)}`;
    // What was never started has printed nothing.
    const line = entry.output ? `palingenesis output ${entry.session}` : null;
    return card(nameIn(entry, names), why, null, line && "See what it printed:", line);
  });
  at("failed-section").hidden = failures.length === 0;
}

function card(name, reason, since, advice, line) {
  const made = element("li", {}, element("strong", {}, name), ` ${reason} `);
  if (isTime(since)) {
    made.append(element("span", { class: "note" }, "since ", timeElement(since)));
  }
  if (advice) {
    made.append(element("div", { class: "note" }, advice));
  }
  if (line !== null) {
    const copy = element("button", { type: "button", "data-action": "copy" }, "Copy");
    copy.setAttribute("aria-label", `Copy the command for ${name}`);
    copy.addEventListener("click", () => copyLine(line));
    made.append(element("div", { class: "line" }, element("code", {}, ...wordsOf(line)), copy));
  }
  return made;
}

/** Return a line's words, each of which breaks only if it is too long: not after a dash. */
function wordsOf(line) {
  return line.split(/( )/).map((part) => (part === " " ? part : element("span", {}, part)));
}

async function copyLine(line) {
  try {
    await navigator.clipboard.writeText(line);
    say("Copied.");
  } catch {
    say("The browser does not allow copying: select the command instead.");
  }
}

function drawSessions() {
  showList(at("sessions"), told.byUrgency(sessions), told.keyOf, lookOf, sessionElement);
  filterSessions();
}

/** Hide the sessions that do not fit: to make their elements again takes too long. */
function filterSessions() {
  const words = at("words").value.toLowerCase().split(/\s+/).filter(Boolean);
  const chosen = sessions.filter((each) => told.matches(each, at("state").value, words));
  const keys = new Set(chosen.map(told.keyOf));
  for (const child of at("sessions").children) {
    child.hidden = !keys.has(child.dataset.key);
  }
  const left = (status?.known_sessions ?? 0) - sessions.length;
  const rest = `. The ${left} least urgent ones are left out: type palingenesis sessions --all`;
  const shown = `${chosen.length} of ${sessions.length} sessions`;
  setText(at("count"), left > 0 ? shown + rest : shown);
}

function lookOf(session) {
  // The day is part of it, since a time of today is written without its day.
  const today = new Date().toDateString();
  return JSON.stringify([session, mayChange, [...commands], today]);
}

/** Return the class of a session that needs a person, or that nobody needs to look at. */
function lookOfNeed(session) {
  if (told.need(session) !== null) {
    return "needing";
  }
  return session.kind === "finished" ? "finished" : "";
}

function sessionElement(session) {
  const made = element(
    "li",
    { class: `session ${lookOfNeed(session)}` },
    element("strong", {}, told.nameOf(session)),
    element(
      "span",
      { class: `state ${STATES.includes(session.state) ? session.state : ""}` },
      told.stateOf(session),
    ),
    element("span", {}, told.storyOf(session)),
    element(
      "span",
      { class: "note" },
      [told.printable(session.directory ?? ""), `id ${told.shortId(session)}`]
        .filter(Boolean)
        .join(", "),
    ),
  );
  if (isTime(session.since)) {
    made.append(element("span", { class: "note" }, `last active ${clock(session.since)}`));
  }
  const buttons = ACTIONS.filter(
    (each) => mayChange && commands.has(each.command) && each.fits(session),
  );
  if (buttons.length > 0) {
    made.append(
      element("div", { class: "actions" }, ...buttons.map((each) => button(each, session))),
    );
  }
  return made;
}

function button(action, session) {
  const made = element("button", { type: "button", "data-action": action.command }, action.label);
  made.setAttribute("aria-label", `${action.label} ${told.nameOf(session)}`);
  made.addEventListener("click", async () => {
    if (action.ask === "" || confirm(`${told.nameOf(session)}: ${action.ask}`)) {
      const why = await change(`api/v1/commands/${action.command}`, { arguments: [session.id] });
      say(why || `${action.label} ${told.nameOf(session)}: done.`);
    }
  });
  return made;
}

/** Say how an action went, also if the last one went the same way. */
function say(text) {
  at("outcome").textContent = text;
}

/** Show a text on top, whose commands are between backticks. */
function showNews(text) {
  const news = at("news");
  if (news.dataset.text !== text) {
    news.dataset.text = text;
    const parts = text.split("`");
    news.replaceChildren(
      ...parts.map((part, number) => (number % 2 ? element("code", {}, part) : part)),
    );
  }
}

/** Say that nothing new comes, and why; what is there stays, and is marked as old. */
function mark(text) {
  oldSince ??= Date.now() / 1000;
  const old = sessions === null ? "" : ` What you see is from ${clock(oldSince)}.`;
  showNews(text + old);
  document.body.classList.add("gone");
  drawNext();
}

function askForCode(text) {
  mark(text);
  at("login").hidden = false;
  at("code").value = "";
}

/** Read what no event brings. */
async function readRest() {
  const [access, help, entries] = await Promise.all([
    read("api/v1/access"),
    read("api/v1/commands"),
    read("api/v1/log?count=1000"),
  ]);
  mayChange = access?.changes === true;
  commands = new Set(Object.keys(help ?? {}).map((usage) => usage.split(" ")[0]));
  log.add(entries ?? []);
  isCut ||= (entries ?? []).length >= ENTRIES;
  drawNext();
  drawSoon();
}

const events = new Events({
  open() {
    oldSince = null;
    at("login").hidden = true;
    showNews("Live");
    document.body.classList.remove("gone");
    readRest();
  },
  gone(why) {
    mark(`${why}. Trying again; after a restart, type \`palingenesis web\` in a terminal.`);
  },
  denied() {
    forgetKey();
    askForCode(
      "This log-in has ended, as each one does when the daemon restarts. " +
        "Type `palingenesis web` in a terminal for a new code.",
    );
  },
  status(value) {
    status = value;
    drawNext();
  },
  sessions(value) {
    if (sessions === null || told.planOf(sessions) !== told.planOf(value)) {
      drawSoon();
    }
    sessions = value;
    drawNext();
  },
  log(entry) {
    log.add([entry]);
    drawNext();
    drawSoon();
  },
});

async function enter(code) {
  const why = await logIn(code);
  if (why === "") {
    events.follow();
  } else if (oldSince === null && status !== null) {
    say(why);
  } else {
    askForCode(`${why} Type \`palingenesis web\` in a terminal for a new code.`);
  }
}

at("login").addEventListener("submit", (event) => {
  event.preventDefault();
  // The address with the code may be pasted as a whole.
  enter(
    at("code")
      .value.trim()
      .replace(/^.*#code=/, ""),
  );
});
at("pause").addEventListener("click", async () => {
  const action = status?.state === "paused" ? "resume" : "pause";
  say((await change(`api/v1/${action}`)) || `${action === "pause" ? "Paused" : "Resumed"}.`);
});
at("filter").addEventListener("input", filterSessions);
at("more").addEventListener("click", () => {
  log.showMore();
  drawNext();
});
STATES.forEach((state) =>
  at("state").append(element("option", { value: state }, told.stateOf({ state }))),
);
setText(at("zone"), zone());

/** Log in with the code in the address, and return whether there is one. */
function enterByAddress() {
  const code = new URLSearchParams(location.hash.slice(1)).get("code");
  if (code === null) {
    return false;
  }
  // The code must not stay in the history.
  history.replaceState(null, "", location.pathname);
  enter(code);
  return true;
}

// A new address in the same tab loads nothing.
window.addEventListener("hashchange", enterByAddress);
if (!enterByAddress()) {
  if (hasKey() || (await read("api/v1/status")) !== null) {
    events.follow();
  } else {
    askForCode("Type `palingenesis web` in a terminal for a code.");
  }
}
