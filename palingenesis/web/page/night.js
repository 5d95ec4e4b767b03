/** The picture of the night, which the daemon draws, and the same facts as a table. */

import { ask, read } from "./connection.js";
import { element } from "./dom.js";
import { nameOf } from "./sessions.js";
import { clock } from "./times.js";
import { MARKS, SEGMENTS } from "./words.js";

/** Events within this time lead to one new picture. */
const PAUSE_MS = 1000;
/** The line for now moves that often, at least. */
const AGAIN_MS = 60_000;

const place = document.getElementById("night");
const hours = document.getElementById("hours");
let timer = null;
/** Whether an event waits to be drawn. */
let isDue = false;

/** Draw the picture soon. */
export function drawSoon() {
  if (!isDue) {
    isDue = true;
    drawIn(PAUSE_MS);
  }
}

function drawIn(milliseconds) {
  clearTimeout(timer);
  timer = setTimeout(draw, milliseconds);
}

async function draw() {
  isDue = false;
  const offset = -60 * new Date().getTimezoneOffset();
  const span = `hours=${hours.value}`;
  try {
    const response = await ask(`api/v1/night?${span}&offset=${offset}`);
    if (response.ok) {
      show(await response.text());
      const since = Date.now() / 1000 - 3600 * Number(hours.value);
      showRows((await read(`api/v1/report?since=${since}`)) ?? { lanes: [] });
      document.getElementById("night-section").hidden = false;
    }
  } catch {
    // The page says already that the daemon is gone.
  }
  if (!isDue) {
    drawIn(AGAIN_MS);
  }
}

function showRows({ lanes, now }) {
  const rows = [];
  const end = (at) => (at === now ? "now" : clock(at));
  for (const lane of lanes) {
    const told = [
      ...lane.segments.map((each) => [each.from, `${SEGMENTS[each.what]} until ${end(each.to)}`]),
      ...lane.marks.map((each) => [
        each.at,
        MARKS[each.event] + each.words.slice(each.event.length),
      ]),
    ];
    told.sort(([a], [b]) => a - b);
    if (lane.planned !== null) {
      told.push([lane.planned, "planned: revival"]);
    }
    const name = nameOf({ ...lane, id: lane.session });
    for (const [at, words] of told) {
      const cells = [name, clock(at), words].map((text) => element("td", {}, text));
      rows.push(element("tr", {}, ...cells));
    }
  }
  document.getElementById("night-rows").replaceChildren(...rows);
}

function show(text) {
  const picture = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
  if (picture.localName !== "svg") {
    return;
  }
  const lane = [...place.querySelectorAll("[tabindex]")].indexOf(document.activeElement);
  place.replaceChildren(document.adoptNode(picture));
  if (lane >= 0) {
    place.querySelectorAll("[tabindex]")[lane]?.focus({ preventScroll: true });
  }
  const description = picture.querySelector("desc")?.textContent ?? "";
  document.getElementById("night-legend").textContent = description;
}

hours.addEventListener("change", draw);
