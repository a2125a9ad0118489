// Requests to rada-annotate. Addresses are relative to the page's own, which carries the token.

export const PAGE = Array.from(crypto.getRandomValues(new Uint32Array(4)), (n) => n.toString(36)).join("-");

/** What the server refuses, in words for the person at the page; `status` is 0 where no answer came. */
export class ServerError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

async function request(path, options) {
  let response;
  try {
    response = await fetch(`api/${path}`, options);
  } catch {
    throw new ServerError("rada-annotate does not answer", 0);
  }
  if (response.ok) return response;
  const content = await response.json().catch(() => ({}));
  throw new ServerError(content.error ?? response.statusText, response.status);
}

export async function post(path, content) {
  const response = await request(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ page: PAGE, ...content }),
  });
  return response.json();
}

export async function postPixels(query, pixels) {
  const response = await request(`save?${new URLSearchParams({ page: PAGE, ...query })}`, {
    method: "POST",
    headers: { "Content-Type": "application/octet-stream" },
    body: pixels,
  });
  return response.json();
}

export async function getJson(path) {
  return (await request(path)).json();
}

export async function getBytes(path, query) {
  const response = await request(`${path}?${new URLSearchParams(query)}`);
  return response.arrayBuffer();
}

/** Hear of the preview, and of the server's end, as long as this page is open. */
export function listen(heard, gone) {
  const source = new EventSource(`api/events?page=${PAGE}`);
  source.onmessage = (event) => heard(JSON.parse(event.data));
  source.onerror = () => {
    source.close();
    gone();
  };
}
