/** Elements. Text is only ever set as text, so that nothing from a session becomes markup. */

/** Make an element with attributes and children, each an element or a text. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) {
    made.setAttribute(attribute, value);
  }
  made.append(...children);
  return made;
}

/** Set an element's text if it differs, so that a live region speaks only of changes. */
export function setText(target, text) {
  if (target.textContent !== text) {
    target.textContent = text;
  }
}

/**
 * Make a list show items in their order, and keep the elements of those that it shows already.
 *
 * @param describe returns what an item looks like, as a text; an equal one is not drawn again.
 */
export function showList(list, items, keyOf, describe, make) {
  const old = new Map([...list.children].map((child) => [child.dataset.key, child]));
  const focused = list.contains(document.activeElement) ? document.activeElement : null;
  const place = focused === null ? null : placeOf(list, focused);
  let next = list.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    const look = describe(item);
    let child = old.get(key);
    old.delete(key);
    if (child === undefined || child.dataset.look !== look) {
      const made = make(item);
      made.dataset.key = key;
      made.dataset.look = look;
      if (child === next && child !== undefined) {
        next = made;
      }
      child?.replaceWith(made);
      child = made;
    }
    if (child === next) {
      next = next.nextElementSibling;
    } else {
      list.insertBefore(child, next);
    }
  }
  old.forEach((child) => child.remove());
  if (place !== null && document.activeElement !== focused) {
    restoreFocus(list, place);
  }
}

function placeOf(list, focused) {
  const child = [...list.children].find((each) => each.contains(focused));
  return { key: child?.dataset.key, name: focused.dataset.action };
}

function restoreFocus(list, { key, name }) {
  const child = [...list.children].find((each) => each.dataset.key === key);
  const same = [...(child?.querySelectorAll("[data-action]") ?? [])];
  same.find((each) => each.dataset.action === name)?.focus({ preventScroll: true });
}
