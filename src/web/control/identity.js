// This browser's device key. The private half cannot be read by any script; it lies in IndexedDB beside the device token
// that the gateway gave for it, one record for each name (the page itself, its browser node) and place of a gateway.

const DATABASE = "clawgate-control";
const STORE = "identities";

/** Whether this page may make keys at all: browsers allow it on https and on this machine's own addresses only. */
export function canHaveKey() {
  return globalThis.isSecureContext === true && globalThis.crypto?.subtle !== undefined;
}

/**
 * The identity kept under `name`, made at the first call. Gives `{deviceId, publicKey, sign(text)}`, and for the device
 * token `token` and `keepToken(token)`, with `null` to forget it. Rejects where the browser cannot make or keep such a key.
 */
export async function openIdentity(name) {
  const place = `${name}@${new URL(".", location.href).pathname}`;
  const database = await open();
  const record = (await read(database, place)) ?? (await addOnce(database, place, await makeRecord()));
  return {
    deviceId: record.deviceId,
    publicKey: record.publicKey,
    async sign(text) {
      const signed = await crypto.subtle.sign("Ed25519", record.privateKey, new TextEncoder().encode(text));
      return base64url(new Uint8Array(signed));
    },
    get token() {
      return record.token;
    },
    async keepToken(token) {
      record.token = token;
      await write(database, place, record);
    },
  };
}

async function makeRecord() {
  const pair = await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
  const raw = new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey));
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", raw));
  const deviceId = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return { privateKey: pair.privateKey, publicKey: base64url(raw), deviceId, token: null };
}

function base64url(bytes) {
  const text = btoa(String.fromCharCode(...bytes));
  return text.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

function open() {
  return new Promise((resolve, reject) => {
    const asked = indexedDB.open(DATABASE, 1);
    asked.onupgradeneeded = () => asked.result.createObjectStore(STORE);
    asked.onsuccess = () => resolve(asked.result);
    asked.onerror = () => reject(asked.error);
  });
}

function read(database, place) {
  return settled(database.transaction(STORE).objectStore(STORE).get(place));
}

function write(database, place, record) {
  return settled(database.transaction(STORE, "readwrite").objectStore(STORE).put(record, place));
}

/** Two tabs may make a key at the same time: the first one in is the one that both use. */
function addOnce(database, place, record) {
  return new Promise((resolve, reject) => {
    const store = database.transaction(STORE, "readwrite").objectStore(STORE);
    const there = store.get(place);
    there.onerror = () => reject(there.error);
    there.onsuccess = () => {
      if (there.result) return resolve(there.result);
      settled(store.put(record, place)).then(() => resolve(record), reject);
    };
  });
}

function settled(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
