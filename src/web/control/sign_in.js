// What is shown while this browser is not let in: how to get in, what the gateway said, and what it waits for. A secret
// that is typed here is used for one connect and kept nowhere.
import { el, setText } from "./dom.js";
import { shortId } from "./format.js";
import { nextStep } from "./protocol.js";

/** `signIn(secret)` tries with what was typed. Gives `{node, show(state)}` for the states of client.js. */
export function signInView({ signIn }) {
  const title = el("h1", { tabIndex: -1 }, "Sign in");
  const said = el("div", { class: "said", role: "alert" });
  const field = el("input", { type: "password", id: "secret", autocomplete: "off", spellcheck: false, required: true });
  const form = el("form", { class: "card" },
    el("label", { for: "secret" }, "Gateway token or password"),
    el("div", { class: "bar" }, field, el("button", { type: "submit", class: "button primary" }, "Sign in")),
    el("p", { class: "hint" }, "Used once and kept nowhere: afterwards this browser has a key of its own. The token is shown by ", el("code", {}, "clawgate token"), "."));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const secret = field.value;
    field.value = "";
    if (secret !== "") signIn(secret);
  });
  const link = el("div", { class: "card" },
    el("p", {}, "On the gateway's machine run"),
    el("pre", {}, "clawgate dashboard"),
    el("p", {}, "and open the link that it prints. It works once."));
  const ways = el("div", {}, link, el("p", { class: "or" }, "or"), form);
  return {
    node: el("main", { class: "gate" }, el("p", { class: "brand" }, "clawgate"), title, said, ways),
    show(state) {
      const { heading, lines, offers } = sayings(state);
      setText(title, heading);
      ways.hidden = !offers;
      const text = JSON.stringify(lines);
      if (said.text !== text) {
        said.text = text;
        said.replaceChildren(...lines.map((line) => (line.code ? el("pre", {}, line.code) : el("p", {}, line))));
      }
    },
  };
}

/** Heading, lines, and whether the ways in are offered. */
function sayings(state) {
  const { phase, error } = state;
  if (phase === "insecure") return { heading: "This address cannot be used", lines: INSECURE, offers: false };
  if (phase === "unable") return { heading: "This browser cannot be used", lines: [`It cannot make or keep a key: ${error.message}.`, UNABLE], offers: false };
  if (phase === "pairing") return { heading: "Waiting to be approved", lines: pairingLines(error), offers: false };
  if (phase === "waiting") return { heading: "Not connected", lines: [`${sentence(error.message)} Trying again.`], offers: false };
  if (phase === "refused" && state.isFirst && MISSING.has(error.code)) return { heading: "Sign in", lines: [], offers: true };
  if (phase === "refused") return { heading: "Not let in", lines: refusedLines(error), offers: true };
  return { heading: "Connecting", lines: [], offers: false };
}

/** What a browser hears that came without anything, which is no news to its person. */
const MISSING = new Set(["AUTH_TOKEN_MISSING", "AUTH_PASSWORD_MISSING", "AUTH_REQUIRED", "AUTH_UNAUTHORIZED"]);

const UNABLE = "A private window may forbid it. Browsers that can: Chrome and Edge 137, Firefox 129, Safari 17, and newer.";

const INSECURE = [
  "A browser makes no keys for a page that comes over plain http from another machine, and without a key nobody is let in.",
  "Bring this port to your own machine, then open http://127.0.0.1:18789/ there:",
  { code: "ssh -N -L 18789:127.0.0.1:18789 USER@GATEWAY" },
  "Or use https: the gateway's own TLS, tailscale serve, or a reverse proxy such as Caddy or nginx.",
];

function pairingLines(error) {
  const { requestId, deviceId } = error.details;
  return [
    sentence(error.message),
    "On the gateway's machine, or at another page that is signed in:",
    { code: requestId ? `clawgate devices approve ${requestId}` : "clawgate devices list" },
    `This browser is device ${shortId(deviceId)}. It goes on by itself once it is approved.`,
  ];
}

function refusedLines(error) {
  return [sentence(error.message), error.code && `Code: ${error.code}`, nextStep(error)].filter(Boolean);
}

function sentence(text) {
  const trimmed = text.trim();
  return `${trimmed.charAt(0).toUpperCase()}${trimmed.slice(1)}${/[.!?)]$/.test(trimmed) ? "" : "."}`;
}
