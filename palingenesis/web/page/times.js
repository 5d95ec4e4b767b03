/** Times in the reader's zone; a moment is in seconds since the epoch, as the daemon sends it. */

const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const WEEKDAY = new Intl.DateTimeFormat("en-GB", { weekday: "short" });
const DATE = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });
/** Days for which the name of the day says which one it is. */
const WEEK = 6 * 86_400;

/** Return the name of the reader's zone. */
export function zone() {
  return Intl.DateTimeFormat().resolvedOptions().timeZone;
}

/** Return a time of day, with the day if that is not today. */
export function clock(at, now = Date.now() / 1000) {
  const date = new Date(at * 1000);
  const time = CLOCK.format(date);
  if (date.toDateString() === new Date(now * 1000).toDateString()) {
    return time;
  }
  return `${Math.abs(at - now) < WEEK ? WEEKDAY.format(date) : DATE.format(date)} ${time}`;
}

/** Return the element for a time. */
export function timeElement(at) {
  const made = document.createElement("time");
  made.dateTime = new Date(at * 1000).toISOString();
  made.textContent = clock(at);
  return made;
}

/** Return whether a value is a moment. */
export function isTime(value) {
  return Number.isFinite(value) && Math.abs(value) < 8.64e12;
}
