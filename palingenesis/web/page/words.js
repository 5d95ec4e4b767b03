/** What the daemon's words mean, and what to do. */

/** How a session stopped. */
export const KINDS = {
  limit: "a usage limit",
  transient: "an error of the service or of the network",
  context: "the context is exhausted; begin a new session",
  refused: "the service refuses: look at the billing, the credit or the log-in",
  user: "its user interrupted or left it",
  finished: "finished",
  asking: "a question waits for you; answer it in the agent",
  died: "it ended in the middle of a turn, and its process is gone",
  continued: "it goes on under another id",
  unknown: "how it ended cannot be read; look at it in the agent",
};

/** Why a session is not revived. */
export const REASONS = {
  paused: "the monitor is paused",
  "no-method": "no command is named for it in the configuration",
  "not-the-keeper": "another daemon of yours revives it",
  ledger: "nothing can be recorded or started; type palingenesis doctor to see why",
  kind: "waiting does not cure this stop",
  crashes: "a crash may be a closed terminal, and is not revived unless the configuration says so",
  "on-hold": "on hold: you want it left alone",
  project: "the configuration leaves its directory alone",
  "given-up": "its revivals failed; continue it yourself",
  "newer-record": "its transcript has grown since; it is judged again",
  "too-far": "its reset is more than 8 days ahead; continue it yourself then",
  "too-old": "it stopped too long ago; continue it yourself",
  windows: "it was brought back as often as the configuration allows; write in it to go on",
  spend: "going on costs more than the plan",
  "not-due": "it is revived when it is due",
  hours: "it is revived when the configuration's hours begin",
  "already-running": "its revival is running",
  "owner-alive": "its agent still runs; continue it there",
  "owner-unknown":
    "its window may still be open, and the daemon cannot tell; if it is closed, continue it yourself",
  directory: "its directory is gone or not yours; restore it",
  attempts: "it has used up its attempts; continue it yourself",
  "at-once": "another session of its account goes first; it follows",
  "hourly-limit": "it is revived within the hour",
  "no-binary": "its command's program cannot be run; install it",
};

/** The states, the most urgent first. */
export const STATES = ["given-up", "waiting", "reviving", "stopped", "working", "quiet", "left"];

/** What an entry of the log says. */
export const EVENTS = {
  stopped: (entry) => `stopped: ${KINDS[entry.kind] ?? entry.kind ?? "unknown"}`,
  intent: (entry) => `${revival(entry)} begins`,
  started: (entry) => `${revival(entry)} started, pid ${entry.pid ?? "unknown"}`,
  worked: (entry) => `${revival(entry)} worked`,
  failed: (entry) => `${revival(entry)} failed: ${cause(entry)}`,
  "gave-up": () => "given up",
  left: () => "left by its user",
  ended: (entry) => `${revival(entry)} ended (${exit(entry)})`,
  killed: (entry) => because("revival ended by the daemon", entry),
  continued: () => "goes on under another id",
  "needs-you": (entry) => because("needs you", entry),
  "on-hold": (entry) => by("on hold", entry),
  released: (entry) => by("released", entry),
  asked: (entry) => by("revival asked for", entry),
  paused: (entry) => by("paused", entry),
  resumed: (entry) => by("resumed", entry),
  digest: () => "the digest is sent",
  kept: () => "this daemon revives for a further account from now on",
};

function revival(entry) {
  return `revival ${entry.attempt ?? "of unknown number"}`;
}

/** What the picture of the night shows of a session, over a time and at a moment. */
export const SEGMENTS = {
  working: "working",
  waiting: "stopped, and waiting",
  stopped: "stopped",
  reviving: "being revived",
  unknown: "not known",
};
export const MARKS = {
  started: "revival started",
  worked: "revival worked",
  failed: "revival failed",
  "needs-you": "needs you",
  "gave-up": "given up",
  left: "left by its user",
  killed: "ended by the daemon",
  ended: "revival ended",
  continued: "goes on under another id",
};

/** Return why a revival failed, as far as its entry tells. */
export function cause(entry) {
  if (!entry.reason) {
    return exit(entry);
  }
  return entry.exit ? `${entry.reason} (${exit(entry)})` : entry.reason;
}

/** Return how a command ended. */
function exit(entry) {
  if (!Number.isInteger(entry.exit)) {
    return "its exit status is unknown";
  }
  return entry.exit < 0 ? `signal ${-entry.exit}` : `exit status ${entry.exit}`;
}

function because(words, entry) {
  return entry.reason ? `${words}: ${entry.reason}` : words;
}

function by(words, entry) {
  return entry.by ? `${words} by ${entry.by}` : words;
}
