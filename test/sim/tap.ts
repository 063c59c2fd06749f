/**
 * Listens to what proxies send, to know the timestamps under which a write was tried: the checkers
 * judge order by them. Only observes; what passes is not changed.
 *
 * A conditional round may stamp a record anew on behalf of somebody else (it settles what is undecided),
 * so whose content an attempt carries is told by the content, not by the operation that sends it.
 */
import { newestTimestamp } from '#base/entry.ts';
import { decodeState } from '#base/entry-codec.ts';
import type { Timestamp } from '#base/timestamp.ts';
import type { WriteArgs, WriteReply } from '#object/calls.ts';
import type { Caller, Links } from '#wire/contract.ts';

export interface Attempt {
  readonly txn: string;
  readonly path: string;
  readonly kind: 'live' | 'deleted' | 'groups';
  readonly timestamp: Timestamp;
  readonly writeId: string | undefined;
  readonly contentType: string | undefined;
  /** Of the user group. */
  readonly user: Readonly<Record<string, string>> | undefined;
}

interface Listener {
  readonly attempt: (attempt: Attempt) => void;
  /** A replica has taken a deletion, and says that it can't tell any more what was there before. */
  readonly forgotten: () => void;
}

export class Tap {
  readonly #listeners = new Map<string, Listener>();
  /** Everything that is sent to be acknowledged. */
  onAttempt: (attempt: Attempt) => void = () => undefined;
  /** The name of every call, before it is sent. */
  onCall: (method: string) => void = () => undefined;

  /** Attempts of writes with this transaction id. */
  listen(txn: string, listener: Listener): void {
    this.#listeners.set(txn, listener);
  }

  on(caller: Caller & Links): Caller & Links {
    return {
      rttMs: (node) => caller.rttMs(node),
      call: (node, method, args, options) => {
        this.onCall(method);
        if (method === 'object.write' || method === 'object.accept') this.#seen(options.txn, args);
        const answer = caller.call(node, method, args, options);
        if (method === 'object.write') void this.#heard(options.txn, args as WriteArgs, answer);
        return answer;
      },
    };
  }

  /** The same of a wire that is used otherwise, too. */
  over<Wire extends Caller & Links>(wire: Wire): Wire {
    const { call } = this.on(wire);
    return new Proxy(wire, {
      get: (target, name) => {
        const value: unknown = name === 'call' ? call : Reflect.get(target, name);
        return typeof value === 'function' && name !== 'call' ? value.bind(target) : value;
      },
    });
  }

  #seen(txn: string, args: unknown): void {
    const { state: bytes, intent, path } = args as WriteArgs;
    if (intent === 'join') return;
    const state = decodeState(Buffer.from(bytes));
    const kind = state.data === undefined ? 'groups' : state.data.kind;
    if (kind !== 'live' && kind !== 'deleted' && kind !== 'groups') return;
    const attempt: Attempt = {
      txn,
      path,
      kind,
      timestamp: newestTimestamp(state),
      writeId: state.data?.writeId,
      contentType: state.data?.contentType,
      user: state.groups['user']?.values,
    };
    this.#listeners.get(txn)?.attempt(attempt);
    this.onAttempt(attempt);
  }

  async #heard(txn: string, args: WriteArgs, answer: ReturnType<Caller['call']>): Promise<void> {
    const listener = this.#listeners.get(txn);
    if (listener === undefined || args.intent === 'join') return;
    if (decodeState(Buffer.from(args.state)).data?.kind !== 'deleted') return;
    const reply = await answer.catch(() => undefined);
    if (reply !== undefined && (reply.result as WriteReply).previous === undefined)
      listener.forgotten();
  }
}
