/**
 * Listens to what proxies send, to know the timestamps under which a write was tried: the checkers
 * judge order by them. Only observes; what passes is not changed.
 */
import { newestTimestamp } from '#base/entry.ts';
import { decodeState } from '#base/entry-codec.ts';
import type { Timestamp } from '#base/timestamp.ts';
import type { Caller } from '#wire/contract.ts';

export interface Attempt {
  readonly kind: 'live' | 'deleted' | 'groups';
  readonly timestamp: Timestamp;
}

export class Tap {
  readonly #listeners = new Map<string, (attempt: Attempt) => void>();

  /** Attempts of writes with this transaction id. */
  listen(txn: string, attempt: (attempt: Attempt) => void): void {
    this.#listeners.set(txn, attempt);
  }

  on(caller: Caller): Caller {
    return {
      call: (node, method, args, options) => {
        if (method === 'object.write') this.#seen(options.txn, args);
        return caller.call(node, method, args, options);
      },
    };
  }

  #seen(txn: string, args: unknown): void {
    const listener = this.#listeners.get(txn);
    if (listener === undefined) return;
    const { state: bytes, intent } = args as { state: Uint8Array; intent: string };
    if (intent !== 'write') return;
    const state = decodeState(Buffer.from(bytes));
    const kind = state.data === undefined ? 'groups' : state.data.kind;
    if (kind !== 'live' && kind !== 'deleted' && kind !== 'groups') return;
    listener({ kind, timestamp: newestTimestamp(state) });
  }
}
