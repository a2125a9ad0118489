// Sends what is painted to the server: soon after each stroke, one request at a time, and again until it is answered.

import { ServerError, postPixels } from "./api.js";

const WAIT_MS = 150;
const AGAIN_MS = 1000;

export class Autosave {
  /** @param {(state: string, message?: string) => void} tell of "saved", "busy", "lost" or "refused" */
  constructor(tell) {
    this.tell = tell;
    this.waiting = new Map(); // slice -> what is to be sent
    this.number = 0;
    this.running = null;
  }

  get isSaved() {
    return !this.waiting.size && !this.running;
  }

  /** The number of the next change; the server takes the highest for the last. */
  next() {
    return ++this.number;
  }

  /** Keep the slice as it is now. */
  mark(query, pixels) {
    this.waiting.set(JSON.stringify(query), { query: { ...query, number: this.next() }, pixels });
    this.tell("busy");
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.flush().catch(() => {}), WAIT_MS);
  }

  /** Send all that waits; resolves when it is kept, rejects where the server refuses it. */
  async flush() {
    clearTimeout(this.timer);
    while (this.waiting.size || this.running) {
      this.running ??= this.#send().finally(() => (this.running = null));
      await this.running;
    }
  }

  async #send() {
    const [key, { query, pixels }] = this.waiting.entries().next().value;
    try {
      await postPixels(query, pixels);
    } catch (error) {
      const refused = error instanceof ServerError && error.status > 0 && error.status < 500;
      this.tell(refused ? "refused" : "lost", error.message);
      if (refused) this.waiting.delete(key);
      else this.timer = setTimeout(() => this.flush().catch(() => {}), AGAIN_MS);
      throw error;
    }
    if (this.waiting.get(key)?.query === query) this.waiting.delete(key);
    if (!this.waiting.size) this.tell("saved");
  }
}
