/**
 * Named events with plain function handlers.
 *
 * A handler that throws is reported to the console and does not keep the others from running.
 */
export class Emitter {
  /** @type {Map<string, Set<(detail: any) => void>>} */
  #handlers = new Map();

  /**
   * Call `handler` for every `type` event.
   * @param {string} type
   * @param {(detail: any) => void} handler
   * @returns {() => void} stops it again
   */
  on(type, handler) {
    const handlers = this.#handlers.get(type) ?? new Set();
    this.#handlers.set(type, handlers.add(handler));
    return () => handlers.delete(handler);
  }

  /**
   * @param {string} type
   * @param {any} [detail]
   */
  emit(type, detail) {
    for (const handler of [...(this.#handlers.get(type) ?? [])]) {
      try {
        handler(detail);
      } catch (error) {
        reportError(error);
      }
    }
  }
}
