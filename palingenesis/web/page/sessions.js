/** What the sessions say: the sentence, what needs a person, and their order. */

import { clock, isTime } from "./times.js";
import { KINDS, REASONS, cause } from "./words.js";

const CALLING = ["asking", "refused", "context"];
const UNPRINTABLE = /(?! )[\p{C}\p{Z}]/gu;
/** Seconds for which the page says how a revival went. */
const DAY = 86_400;
const BLOCKED = ["given-up", "directory", "no-binary", "too-far"];
/** How a person goes on with a session. */
const CONTINUE = {
  claude: (id) => ["claude", "--resume", id],
  codex: (id) => ["codex", "resume", id],
  copilot: (id) => ["copilot", `--resume=${id}`],
  opencode: (id) => ["opencode", "--session", id],
  qwen: (id) => ["qwen", "--resume", id],
};

/** Return the key that no other session has. */
export function keyOf(session) {
  return `${session.agent} ${session.id}`;
}

/** Return what the night's picture shows of sessions, as a text: of growth alone it shows nothing. */
export function planOf(sessions) {
  return JSON.stringify(sessions.map((each) => [keyOf(each), each.state, dueOf(each)]).sort());
}

/** Return how a session is called: by its agent and the end of its directory. */
export function nameOf(session) {
  const directory = String(session.directory ?? "").replace(/\/+$/, "");
  return printable(
    `${session.agent ?? ""} ${directory.split("/").pop() || shortId(session)}`,
  ).trim();
}

/** Escape what a page cannot show or what changes how the rest is shown, as the daemon does. */
export function printable(text) {
  return text.replace(UNPRINTABLE, (character) => `\\u{${character.codePointAt(0).toString(16)}}`);
}

/** Return a session's state as a word for people. */
export function stateOf({ state }) {
  return String(state).replaceAll("-", " ");
}

/** Return the beginning of an id, which is enough for a command. */
export function shortId(session) {
  return String(session.id ?? "").slice(0, 8);
}

/** Return what a session needs from a person, and what to do; null if nothing. */
export function need({ needs, kind, held }) {
  if (!needs) {
    return null;
  }
  const told = CALLING.includes(kind) ? KINDS[kind] : REASONS[BLOCKED.includes(held) && held];
  return told ?? needs;
}

/** Return the last failure of each session that has not worked since, the newest first. */
export function failuresIn(entries, now = Date.now() / 1000) {
  const failures = new Map();
  const killed = new Map();
  for (const entry of entries) {
    const key = `${entry.agent} ${entry.session}`;
    if (entry.event === "killed") {
      killed.set(key, entry);
    } else if (entry.event === "failed") {
      const by = killed.get(key);
      const isKilled = by !== undefined && by.attempt === entry.attempt;
      const why = isKilled ? `ended by the daemon: ${by.reason}` : cause(entry);
      failures.set(key, { ...entry, cause: why });
    } else if (entry.event === "worked") {
      failures.delete(key);
    }
  }
  const late = [...failures.values()].filter((entry) => now - entry.at < DAY);
  return late.sort((a, b) => b.at - a.at);
}

/** Return how many revivals have worked in the last 24 hours. */
export function workedIn(entries, now = Date.now() / 1000) {
  return entries.filter((entry) => entry.event === "worked" && now - entry.at < DAY).length;
}

/** Return whether a session has worked by other means since a failure. */
export function hasWorked(entry, sessions) {
  const session = sessions.find((each) => keyOf(each) === `${entry.agent} ${entry.session}`);
  return session?.state === "working" || (session?.kind === "finished" && session.since > entry.at);
}

/** Return when a session goes on: its own due time may pass before its home's limit does. */
function dueOf(session) {
  return isTime(session.until) ? session.until : session.due;
}

/** Return when a session is revived again after a failure, as the end of a sentence. */
export function nextAttempt(entry, sessions) {
  const session = sessions.find((each) => keyOf(each) === `${entry.agent} ${entry.session}`);
  const due = session?.state === "waiting" ? dueOf(session) : null;
  return isTime(due) ? `; the next attempt is at ${clock(due)}` : "";
}

/** Return whether the program of a session is open, as far as is known. */
function isOpen(session) {
  return ["program", "server"].includes(session.owner);
}

/** Return how a person goes on with a session, before the line to type, if there is one. */
export function advice(session, line) {
  if (isOpen(session)) {
    return `It is still open${session.who ? ` (${session.who})` : ""}: continue there.`;
  }
  if (line === null) {
    return "";
  }
  return session.owner === "gone"
    ? "Type in a terminal:"
    : "If its window is still open, continue there. If not, type in a terminal:";
}

/** Return the line with which a person goes on with a session; null for one that is open. */
export function continuation(session) {
  if (!Object.hasOwn(CONTINUE, session.agent) || isOpen(session)) {
    return null;
  }
  const line = CONTINUE[session.agent](session.id).map(quoted).join(" ");
  const variables = Object.entries(session.variables ?? {});
  const values = [session.directory ?? "", ...variables.map(([, value]) => value)];
  if (values.some((value) => printable(value) !== value)) {
    return null;
  }
  const typed = [...variables.map(([name, value]) => `${name}=${quoted(value)}`), line].join(" ");
  return session.directory ? `cd ${quoted(session.directory)} && ${typed}` : typed;
}

/** Quote a word for a POSIX shell. */
function quoted(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/**
 * Say in one sentence how the sessions are, and then how their revivals went.
 *
 * @param status counts the sessions that are left out too.
 * @param worked how many revivals have worked.
 * @param failed how many have failed, in sessions that have not worked since.
 */
export function sentence(sessions, status, worked = 0, failed = 0) {
  const needing = sessions.filter((each) => need(each) !== null);
  const waiting = sessions.filter((each) => each.state === "waiting" && !needing.includes(each));
  const active = sessions.filter((each) => ["working", "reviving"].includes(each.state));
  // The least urgent ones may be left out.
  const isCut = status?.known_sessions > sessions.length;
  const known = isCut ? status.sessions : {};
  const blocked = needing.filter((each) => each.state === "waiting");
  const needs = Math.max(needing.length, isCut ? status.needs_you : 0);
  const waits = Math.max(waiting.length, (known.waiting ?? 0) - blocked.length);
  const works = Math.max(active.length, (known.working ?? 0) + (known.reviving ?? 0));
  const due = waiting.filter((each) => isTime(dueOf(each))).sort((a, b) => dueOf(a) - dueOf(b))[0];
  let next = "";
  if (waits > waiting.length) {
    next = isTime(status.next_revival) ? ` (the next at ${clock(status.next_revival)})` : "";
  } else if (due !== undefined) {
    const at = clock(dueOf(due));
    next = waits === 1 ? ` until ${at}` : ` (the next is ${nameOf(due)}, at ${at})`;
  }
  const parts = [
    counted(needs, "needs you", "need you"),
    counted(waits, "waits for a reset or a retry", "wait for a reset or a retry") + next,
    counted(works, "works", "work"),
  ].filter(Boolean);
  const how = parts.join(", ") || "Nothing needs you, nothing waits, nothing works";
  const went = [
    counted(worked, "revival worked", "revivals worked"),
    counted(failed, worked ? "failed" : "revival failed", worked ? "failed" : "revivals failed"),
  ].filter(Boolean);
  const paused = status?.state === "paused" ? "paused: nothing is revived" : "";
  return [how, went.join(", "), paused].filter(Boolean).join("; ");
}

function counted(number, one, several) {
  return number === 0 ? "" : `${number} ${number === 1 ? one : several}`;
}

/** Return the sessions in the daemon's order, but those that need a person first. */
export function byUrgency(sessions) {
  const calling = (session) => need(session) !== null;
  return [...sessions.filter(calling), ...sessions.filter((session) => !calling(session))];
}

/** Return whether a session has a state, and each of some words anywhere. */
export function matches(session, state, words) {
  if (state !== "" && session.state !== state) {
    return false;
  }
  const text = [session.agent, session.id, session.directory, session.state, session.kind]
    .concat(session.held, session.home, session.who, REASONS[session.held], KINDS[session.kind])
    .join(" ")
    .toLowerCase();
  return words.every((word) => text.includes(word));
}

/** Say how a session stopped, when it goes on, and why it is not revived. */
export function storyOf(session) {
  const parts = [];
  if (session.kind) {
    parts.push(KINDS[session.kind] ?? session.kind);
  } else if (session.state === "quiet") {
    parts.push("in the middle of a turn, with nothing new for a while");
  }
  const due = dueOf(session);
  const waits = session.held === "not-due" && isTime(due);
  if (isTime(due) && session.held !== "given-up") {
    parts.push(`${waits ? "will be revived at" : "due"} ${clock(due)}`);
  }
  if (session.held && session.held !== "kind" && !waits) {
    parts.push(REASONS[session.held] ?? session.held);
  }
  if (session.who) {
    parts.push(session.who);
  }
  if (session.attempts > 0) {
    parts.push(`${session.attempts} ${session.attempts === 1 ? "attempt" : "attempts"}`);
  }
  return parts.join("; ");
}
