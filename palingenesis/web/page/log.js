/** The log: its entries in order, each once, however it reached the page. */

import { element, showList } from "./dom.js";
import { nameOf } from "./sessions.js";
import { timeElement } from "./times.js";
import { EVENTS } from "./words.js";

/** Entries that are kept, and that are shown until more are asked for. */
const KEPT = 10_000;
const STEP = 50;

/** The entries of the log. */
export class Log {
  #keys = new Set();
  #shown = STEP;
  entries = [];

  /** Take entries, the oldest first. */
  add(entries) {
    let latest = this.entries.at(-1)?.at ?? -Infinity;
    let sorted = true;
    for (const entry of entries) {
      const key = JSON.stringify(entry);
      if (!this.#keys.has(key)) {
        this.#keys.add(key);
        this.entries.push(entry);
        sorted &&= entry.at >= latest;
        latest = entry.at;
      }
    }
    if (!sorted) {
      this.entries.sort((a, b) => a.at - b.at);
    }
    for (const entry of this.entries.splice(0, Math.max(0, this.entries.length - KEPT))) {
      this.#keys.delete(JSON.stringify(entry));
    }
  }

  /** Show more of them from now on. */
  showMore() {
    this.#shown += STEP * 4;
  }

  /** Show the newest ones, and return how many are not shown. */
  show(list, names) {
    const newest = this.entries.slice(-this.#shown).reverse();
    list.start = this.entries.length;
    showList(
      list,
      newest,
      JSON.stringify,
      (entry) => nameIn(entry, names),
      (entry) => entryElement(entry, names),
    );
    return this.entries.length - newest.length;
  }
}

/** Return what an entry says, in words. */
export function inWords(entry) {
  const words = Object.hasOwn(EVENTS, entry.event) ? EVENTS[entry.event](entry) : entry.event;
  return String(words);
}

/** Return how the entry's session is called, as far as that is known. */
export function nameIn(entry, names) {
  if (!entry.session) {
    return "";
  }
  const known = names.get(`${entry.agent} ${entry.session}`);
  return known ?? nameOf({ agent: entry.agent, id: entry.session });
}

function entryElement(entry, names) {
  return element(
    "li",
    {},
    Number.isFinite(entry.at) ? timeElement(entry.at) : "no time",
    " ",
    element("strong", {}, nameIn(entry, names)),
    " ",
    inWords(entry),
  );
}
