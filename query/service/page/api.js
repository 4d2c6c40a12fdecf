// Requests to the service. Every failure is an error with a title and the service's own reason.

class Refused extends Error {
  constructor(status, code, reason) {
    super(reason);
    this.status = status;
    this.code = code;
    this.title = TITLES[status] ?? "The request failed";
  }
}

const TITLES = {
  0: "The service cannot be reached",
  401: "An access token is needed",
  403: "Hidden",
  404: "Not found",
  409: "Not possible now",
  413: "Too large",
  422: "Invalid input",
  503: "The service is busy",
  504: "Timeout",
};

const READER = "synthtrace.reader"; // code of a blinded reader: it stays, so that a reader goes on another day
const SESSION = "synthtrace.session"; // for this tab and this origin, port included; a cookie would go to every port of the host
let asked = null; // while somebody is asked for the token

/** Whoever is to ask for the token: a function that resolves once there is a session. */
export function onUnauthorised(ask) {
  asked = ask;
}

/** Gives the token once; what comes back is sent with every request. */
export async function enter(token) {
  const { session } = await send("POST", "/v1/session", { token });
  sessionStorage.setItem(SESSION, session);
}

/** Has every request say who reads blinded; null for nobody. */
export function readAs(code) {
  if (code) localStorage.setItem(READER, code);
  else localStorage.removeItem(READER);
}

/** The code of the reader in this browser; null without one. */
export function readerCode() {
  return localStorage.getItem(READER);
}

/** The parsed JSON of an answer. params: of the query, empty ones left out. */
export async function get(path, params = {}, signal) {
  return (await request(path, { params, signal })).json();
}

/** A picture or a file, as a blob. */
export async function bytes(path, params = {}) {
  return (await request(path, { params })).blob();
}

/** Sends JSON, or a file as it is; the parsed answer, null where there is none. */
export async function send(method, path, body, { params = {}, signal } = {}) {
  const raw = body instanceof Blob;
  const answer = await request(path, {
    method,
    params,
    signal,
    body: body === undefined || raw ? body : JSON.stringify(body),
    headers: { "content-type": raw ? "application/octet-stream" : "application/json" },
  });
  return answer.status === 204 ? null : answer.json();
}

/** The address of an answer. */
export function address(path, params = {}) {
  const query = new URLSearchParams(Object.entries(params).filter(([, value]) => value !== null && value !== undefined && value !== ""));
  return `${path.replace(/^\//, "")}${query.size ? `?${query}` : ""}`;
}

async function request(path, { params, ...options }) {
  const session = sessionStorage.getItem(SESSION);
  const reader = readerCode();
  const headers = { ...options.headers, ...(session && { authorization: `Bearer ${session}` }), ...(reader && { "synthtrace-reader": reader }) };
  let answer;
  try {
    answer = await fetch(address(path, params), { ...options, headers, credentials: "omit", cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "unreachable", "Is synthtrace serve still running? Saved reviews are not lost.");
  }
  if (answer.ok) return answer;
  const refused = await reason(answer);
  if (answer.status === 401 && asked && path !== "/v1/session") {
    await asked();
    return request(path, { params, ...options });
  }
  throw refused;
}

async function reason(answer) {
  try {
    const { error } = await answer.json();
    return new Refused(answer.status, error.code, error.reason);
  } catch {
    return new Refused(answer.status, "unknown", `The service answered ${answer.status} without a reason.`);
  }
}
