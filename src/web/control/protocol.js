// What this page says and hears on the wire, as plain values: the connect request, the text a device signs, and what a
// refusal means for the next attempt. No socket, no clock, no key: tests/control holds it to its promises.

/** What the owner's page may do; a link of `clawgate dashboard` grants these and no others. */
export const OWNER_SCOPES = [
  "operator.admin",
  "operator.approvals",
  "operator.pairing",
  "operator.questions",
  "operator.read",
  "operator.talk.secrets",
  "operator.write",
];

/** Who this page says it is. The platform is part of the pairing, so it must not change between visits. */
export const PAGE_CLIENT = { id: "openclaw-control-ui", mode: "webchat", version: "1", platform: "web" };

const PROTOCOL_MIN = 3;
const PROTOCOL_MAX = 4;

/** The secret that a signature covers: the first that is there, as the gateway looks for it. A password is not signed. */
export function signedSecret(auth) {
  return auth.token || auth.deviceToken || auth.bootstrapToken || "";
}

/** The text that the device's key signs. The challenge's own time is used, so that this machine's clock does not matter. */
export function signedText({ deviceId, client, role, scopes, auth, challenge }) {
  const parts = ["v3", deviceId, client.id, client.mode, role, scopes.join(","), challenge.ts, signedSecret(auth)];
  return [...parts, challenge.nonce, plain(client.platform), plain(client.deviceFamily)].join("|");
}

function plain(text = "") {
  return text.trim().replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}

/** The params of `connect`; `device` is the proof: `{id, publicKey, signature, signedAt, nonce}`. */
export function connectParams({ client, role, scopes, caps = [], commands = [], auth, device, locale, userAgent }) {
  const params = { minProtocol: PROTOCOL_MIN, maxProtocol: PROTOCOL_MAX, client, role, scopes, caps, auth, device };
  if (role === "node") params.commands = commands;
  if (locale) params.locale = locale;
  if (userAgent) params.userAgent = userAgent.slice(0, 256);
  return params;
}

/** Takes the one-time secret out of an address's fragment: `{bootstrapToken, rest}`, `rest` without it. */
export function takeLink(hash) {
  const parts = hash.replace(/^#/, "").split("&");
  const found = parts.find((part) => part.startsWith("bootstrapToken="));
  if (found === undefined) return { rest: hash };
  const rest = parts.filter((part) => part !== found).join("&");
  return { bootstrapToken: decodeSafely(found.slice("bootstrapToken=".length)), rest: rest === "" ? "" : `#${rest}` };
}

function decodeSafely(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** A refused connect or request: the gateway's own sentence with its codes. */
export class GatewayError extends Error {
  constructor({ code = "", message = "the gateway gave no reason", details, retryAfterMs } = {}) {
    super(message);
    this.code = typeof details?.code === "string" ? details.code : code;
    this.details = details ?? {};
    this.retryAfterMs = Number.isFinite(retryAfterMs) ? retryAfterMs : undefined;
  }
}

/** Refusals that the same attempt would only meet again: a person has to do something first. */
const FINAL = new Set([
  "AUTH_TOKEN_MISSING",
  "AUTH_TOKEN_MISMATCH",
  "AUTH_TOKEN_NOT_CONFIGURED",
  "AUTH_PASSWORD_MISSING",
  "AUTH_PASSWORD_MISMATCH",
  "AUTH_PASSWORD_NOT_CONFIGURED",
  "AUTH_BOOTSTRAP_TOKEN_INVALID",
  "AUTH_DEVICE_TOKEN_MISMATCH",
  "AUTH_SCOPE_MISMATCH",
  "AUTH_IDENTITY_HEADER_REQUIRED",
  "AUTH_REQUIRED",
  "AUTH_UNAUTHORIZED",
  "CONTROL_UI_DEVICE_IDENTITY_REQUIRED",
  "CONTROL_UI_ORIGIN_NOT_ALLOWED",
  "DEVICE_IDENTITY_REQUIRED",
  "DEVICE_AUTH_SIGNATURE_INVALID",
  "PROTOCOL_MISMATCH",
]);

/** What to do after a refused connect: `pairing` and `retry` try again by themselves, `ask` waits for a person. */
export function afterRefusal(error) {
  if (error.code === "PAIRING_REQUIRED") return "pairing";
  return FINAL.has(error.code) ? "ask" : "retry";
}

/** Whether the stored device token is worth nothing any more. */
export function tokenIsDead(error) {
  return error.code === "AUTH_DEVICE_TOKEN_MISMATCH" || error.code === "AUTH_SCOPE_MISMATCH";
}

const RETRY_FIRST_MS = 1_000;
const RETRY_MOST_MS = 30_000;
/** While somebody is about to approve: they look at the page and wait. */
const PAIRING_MOST_MS = 5_000;

/**
 * How long to wait before attempt number `attempt` (from 0); `random` in 0..1 spreads pages that lost the same gateway,
 * `isPairing` says that a person's approval is waited for.
 */
export function retryAfter(attempt, random, askedMs = 0, isPairing = false) {
  const most = isPairing ? PAIRING_MOST_MS : RETRY_MOST_MS;
  const grown = Math.min(RETRY_FIRST_MS * 2 ** Math.min(attempt, 10), most);
  return Math.round(Math.max(askedMs, grown * (0.75 + random / 2)));
}

const NEXT_STEPS = {
  AUTH_BOOTSTRAP_TOKEN_INVALID: "A link works once and for ten minutes. Run clawgate dashboard again and open the new one.",
  AUTH_DEVICE_TOKEN_MISMATCH: "This browser's access was revoked or replaced. Run clawgate dashboard to sign in again.",
  AUTH_RATE_LIMITED: "Too many wrong attempts. Wait, then try again.",
  CONTROL_UI_ORIGIN_NOT_ALLOWED: "Open the page by the gateway's own address, or add this one to gateway.controlUi.allowedOrigins.",
  PROTOCOL_MISMATCH: "Reload this page: it belongs to another release of the gateway.",
};
const RECOMMENDED = {
  update_auth_configuration: "Run clawgate dashboard for a link, or paste the gateway's token or password.",
  update_auth_credentials: "Paste the current token or password, or run clawgate dashboard for a link.",
  retry_with_device_token: "Paste the current token or password, or run clawgate dashboard for a link.",
  review_auth_configuration: "Look at gateway.auth in the configuration: clawgate doctor names what does not fit.",
  wait_then_retry: "Wait a moment, then try again.",
};

/** One sentence on what to do about it; empty when the gateway's own says it all. */
export function nextStep(error) {
  return NEXT_STEPS[error.code] ?? RECOMMENDED[error.details.recommendedNextStep] ?? "";
}
