// Starts the page: takes the one-time secret out of the address, opens this browser's key, connects, and shows either
// the way in or the views. Once the views are there they stay, whatever happens to the connection.
import { approvalView } from "./approvals.js";
import { canvasView } from "./canvas.js";
import { GatewayClient, socketUrl } from "./client.js";
import { setBusy } from "./dom.js";
import { eventsView } from "./events.js";
import { browserName } from "./format.js";
import { canHaveKey, openIdentity } from "./identity.js";
import { logView } from "./log.js";
import { Model } from "./model.js";
import { nodesView } from "./nodes.js";
import { overviewView } from "./overview.js";
import { pairingView } from "./pairing.js";
import { peopleView } from "./people.js";
import { OWNER_SCOPES, PAGE_CLIENT, takeLink } from "./protocol.js";
import { refusalsView } from "./refusals.js";
import { shell } from "./shell.js";
import { signInView } from "./sign_in.js";

const REDRAW_MS = 1_000;

const link = takeLink(location.hash);
if (link.bootstrapToken !== undefined) history.replaceState(null, "", `${location.pathname}${location.search}${link.rest}`);

const gate = signInView({ signIn: (secret) => enter({ token: secret, password: secret }) });
let identity;
let client;
let model;
let desk;
/** Whether the last attempt had nothing to show: its refusal is no news. */
let isBare = false;

const show = (node) => document.body.firstElementChild !== node && document.body.replaceChildren(node);

function enter(once) {
  isBare = once === undefined && !identity.token;
  client.start(once);
}

function changed(state) {
  if (state.phase === "open") {
    if (!desk) makeDesk();
    model.opened(state.hello);
    show(desk.node);
    desk.connection("Connected", "good", location.host);
    return;
  }
  // A link that was used before must not lock out a browser that is paired already.
  if (state.phase === "refused" && state.error.code === "AUTH_BOOTSTRAP_TOKEN_INVALID" && identity.token) {
    enter();
    return;
  }
  if (desk && (state.phase === "waiting" || state.phase === "connecting")) {
    desk.connection(state.error ? `Not connected: ${state.error.message}` : "Connecting", "bad", location.host);
    return;
  }
  if (state.phase === "stopped" || (state.phase === "connecting" && gate.isWaiting)) return;
  gate.isWaiting = state.phase === "pairing" || state.phase === "waiting";
  gate.show({ ...state, isFirst: isBare });
  show(gate.node);
}

/** Asks the gateway to do something for the button `at`, and says how it went. */
async function act(at, method, params, done) {
  setBusy(at, true);
  try {
    await client.request(method, params);
    desk.say(done, "good");
  } catch (error) {
    desk.say(`${error.message}${error.code ? ` (${error.code})` : ""}`, "bad");
    setBusy(at, false);
  }
  model.ageAll();
}

function makeDesk() {
  const say = (text, kind) => desk.say(text, kind);
  const context = { model, act, say, ownDevice: () => identity.deviceId };
  desk = shell([
    { id: "overview", title: "Overview", path: "M4 13h6V4H4zM14 20h6V11h-6zM4 20h6v-3H4zM14 7h6V4h-6z", view: overviewView(context) },
    { id: "pairing", title: "Pairing", path: "M9 12l2 2 4-5M12 3l7 3v5c0 5-3 8-7 10-4-2-7-5-7-10V6z", view: pairingView(context), count: () => model.pairings().length },
    { id: "approvals", title: "Approvals", path: "M8 12h8M12 8v8M4 4h16v16H4z", view: approvalView(context), count: () => model.approvals().length },
    { id: "nodes", title: "Nodes", path: "M7 3h10v18H7zM11 18h2", view: nodesView(context) },
    { id: "people", title: "People", path: "M12 12a4 4 0 100-8 4 4 0 000 8zM4 21c1-5 4-7 8-7s7 2 8 7", view: peopleView(context) },
    { id: "events", title: "Events", path: "M3 12h4l3-8 4 16 3-8h4", view: eventsView(context) },
    { id: "canvas", title: "Canvas", path: "M3 5h18v12H3zM9 21h6M12 17v4", view: canvasView(context) },
    { id: "refusals", title: "Refusals", path: "M12 21a9 9 0 100-18 9 9 0 000 18zM6 6l12 12", view: refusalsView(context) },
    { id: "log", title: "Log", path: "M5 6h14M5 11h14M5 16h9", view: logView({ ...context, isShown: () => desk?.isOpen("log") }) },
  ]);
  desk.start();
  // Facts come in bursts: one drawing a frame is enough, and one a second keeps the times right.
  let drawing = false;
  const draw = () => {
    if (drawing || document.hidden) return;
    drawing = true;
    requestAnimationFrame(() => {
      drawing = false;
      desk.update();
    });
  };
  model.onChange(draw);
  setInterval(draw, REDRAW_MS);
  document.addEventListener("visibilitychange", draw);
}

async function start() {
  if (!canHaveKey()) {
    gate.show({ phase: "insecure" });
    show(gate.node);
    return;
  }
  try {
    identity = await openIdentity("control-page");
  } catch (error) {
    gate.show({ phase: "unable", error });
    show(gate.node);
    return;
  }
  client = new GatewayClient({
    url: socketUrl(),
    identity,
    client: { ...PAGE_CLIENT, displayName: browserName(navigator.userAgent) },
    role: "operator",
    scopes: OWNER_SCOPES,
    onState: changed,
    onEvent: (frame) => model.heard(frame),
    onGap: () => model.ageAll(),
  });
  model = new Model(client);
  enter(link.bootstrapToken === undefined ? undefined : { bootstrapToken: link.bootstrapToken });
}

start();
