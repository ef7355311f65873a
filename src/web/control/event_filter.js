// Which events and log lines are shown: every word of the filter must be in the text, a word with a minus must not.

/** Makes the words out of what was typed. */
export function parseFilter(typed) {
  const words = typed.toLowerCase().split(/\s+/).filter((word) => word !== "" && word !== "-");
  return {
    wanted: words.filter((word) => !word.startsWith("-")),
    unwanted: words.filter((word) => word.startsWith("-")).map((word) => word.slice(1)),
  };
}

/** Whether `text` passes. */
export function passes(filter, text) {
  const low = text.toLowerCase();
  return filter.wanted.every((word) => low.includes(word)) && !filter.unwanted.some((word) => low.includes(word));
}

/** Keeps the newest `most` of a list, in place, and gives the list. */
export function bounded(list, most) {
  if (list.length > most) list.splice(0, list.length - most);
  return list;
}
