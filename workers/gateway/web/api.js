// Requests to the gateway. An error is a problem document (RFC 9457): its detail is for people.

export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

let onSignedOut = () => {};
export const whenSignedOut = (callback) => { onSignedOut = callback; };

export async function call(method, path, body) {
  const response = await send(method, path, body);
  if (response.status === 204) return null;
  return response.json();
}

async function send(method, path, body) {
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
      redirect: "error",
    });
  } catch (error) {
    if (error instanceof TypeError) throw new Problem(0, "The gateway does not answer.");
    throw error;
  }
  if (response.ok) return response;
  const problem = await problemOf(response);
  if (response.status === 401 && path !== "/v1/session") onSignedOut();
  throw problem;
}

async function problemOf(response) {
  const type = response.headers.get("Content-Type") ?? "";
  if (!type.startsWith("application/problem+json")) {
    return new Problem(response.status, `The gateway answered ${response.status} ${response.statusText}.`);
  }
  const document = await response.json();
  return new Problem(response.status, document.detail ?? document.title);
}

export const streamPath = (id, rest = "") => `/v1/streams/${encodeURIComponent(id)}${rest}`;
export const snapshotPath = (id, epoch, seq) => streamPath(id, `/snapshots/${epoch}-${seq}.jpg`);
