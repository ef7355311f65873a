// This browser as a node with a canvas: not there yet, and said so.

/** Says through `onStatus` that there is no browser node. */
export function attachNode({ onStatus = () => {} }) {
  onStatus({ state: "failed", code: "UNAVAILABLE", message: "this page has no browser node" });
  return { detach() {} };
}
