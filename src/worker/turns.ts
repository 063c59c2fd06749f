/**
 * Who is next where only some of many can be tried at a time: those that had no turn yet, in the order given.
 * Always the first ones would be the same ones for ever, where these can't be done and the others can.
 */
export class Turns<Item extends object> {
  readonly #had = new WeakSet<Item>();

  take(items: readonly Item[], atMost: number): readonly Item[] {
    let waiting = items.filter((item) => !this.#had.has(item));
    if (waiting.length === 0) {
      for (const item of items) this.#had.delete(item);
      waiting = [...items];
    }
    const taken = waiting.slice(0, atMost);
    for (const item of taken) this.#had.add(item);
    return taken;
  }
}
