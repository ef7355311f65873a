// The key by which a browser is the same node again: Ed25519, made here, not to be taken out, kept in this browser's own
// storage under its name, with the token that the gateway gave it.

const DATABASE = "clawgate-node";
const STORE = "identities";

/** The identity of that name: what it is called, what it signs with, and its token. Made when there is none yet. */
export async function browserIdentity(name) {
  const database = await opened();
  let kept = await asked(database, "readonly", (store) => store.get(name));
  if (kept === undefined) {
    const pair = await crypto.subtle.generateKey({ name: "Ed25519" }, false, ["sign", "verify"]);
    const raw = new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey));
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", raw));
    const deviceId = Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
    kept = { deviceId, publicKey: base64url(raw), privateKey: pair.privateKey, token: null };
    await asked(database, "readwrite", (store) => store.put(kept, name));
  }
  return {
    deviceId: kept.deviceId,
    publicKey: kept.publicKey,
    get token() {
      return kept.token;
    },
    async sign(text) {
      const signed = await crypto.subtle.sign("Ed25519", kept.privateKey, new TextEncoder().encode(text));
      return base64url(new Uint8Array(signed));
    },
    async keepToken(token) {
      kept = { ...kept, token };
      await asked(database, "readwrite", (store) => store.put(kept, name));
    },
  };
}

function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

function opened() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function asked(database, mode, ask) {
  return new Promise((resolve, reject) => {
    const transaction = database.transaction(STORE, mode);
    const request = ask(transaction.objectStore(STORE));
    transaction.oncomplete = () => resolve(request.result);
    transaction.onerror = () => reject(transaction.error);
    transaction.onabort = () => reject(transaction.error);
  });
}
