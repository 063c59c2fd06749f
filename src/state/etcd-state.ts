/** State on etcd, three or more members, for clusters of several sites. */
import { OperatingError } from '#base/errors.ts';
import type { Env } from '#env/env.ts';
import { EtcdClient, type EtcdOptions } from './etcd-client.ts';
import {
  checked,
  decodePair,
  decodeResult,
  encodeCompare,
  encodeOperation,
  encodeRange,
  keepAliveResponse,
  leaseResponse,
  rangeResponse,
  txnResponse,
} from './etcd-codec.ts';
import { EtcdWatch } from './etcd-watch.ts';
import { checkKey, checkTransaction, rangeLimit } from './limits.ts';
import type {
  KeyRange,
  KeyValue,
  LeaseId,
  RangeOptions,
  RangeResult,
  Revision,
  State,
  Transaction,
  TransactionResult,
  Watch,
  WatchListener,
} from './state.ts';

export type { EtcdOptions };

export function openEtcdState(env: Pick<Env, 'clock' | 'log'>, options: EtcdOptions): State {
  return new EtcdState(env, options);
}

class EtcdState implements State {
  readonly #env: Pick<Env, 'clock' | 'log'>;
  readonly #client: EtcdClient;
  readonly #watches = new Set<Watch>();
  #closed = false;

  constructor(env: Pick<Env, 'clock' | 'log'>, options: EtcdOptions) {
    this.#env = env;
    this.#client = new EtcdClient(env, options);
  }

  async get(key: string): Promise<KeyValue | undefined> {
    const question = { key: checkKey(key).toString('base64') };
    const answer = await this.#call('/v3/kv/range', question, 'safe');
    const [found] = checked(rangeResponse, answer).kvs;
    return found && decodePair(found);
  }

  async range(range: KeyRange, options?: RangeOptions): Promise<RangeResult> {
    rangeLimit(options);
    const answer = await this.#call('/v3/kv/range', encodeRange(range, options), 'safe');
    const { kvs, more, header } = checked(rangeResponse, answer);
    return { items: kvs.map(decodePair), more, revision: header.revision };
  }

  async txn(transaction: Transaction): Promise<TransactionResult> {
    checkTransaction(transaction);
    const { compare = [], success, failure = [] } = transaction;
    const body = {
      compare: compare.map(encodeCompare),
      success: success.map(encodeOperation),
      failure: failure.map(encodeOperation),
    };
    const readsOnly = [...success, ...failure].every(({ kind }) => kind === 'range');
    const answer = await this.#call('/v3/kv/txn', body, readsOnly ? 'safe' : 'unsafe');
    const { succeeded, header, responses } = checked(txnResponse, answer);
    const branch = succeeded ? success : failure;
    const results = branch.map((operation, i) => decodeResult(operation, responses[i]));
    return { succeeded, revision: header.revision, results };
  }

  watch(range: KeyRange, fromRevision: Revision, listener: WatchListener): Watch {
    const watch = new EtcdWatch(this.#env, this.#client, range, fromRevision, listener);
    this.#watches.add(watch);
    return {
      heardAtMs: () => watch.heardAtMs(),
      close: () => {
        this.#watches.delete(watch);
        watch.close();
      },
    };
  }

  async grantLease(ttlSeconds: number): Promise<LeaseId> {
    const body = { TTL: String(Math.max(1, Math.ceil(ttlSeconds))) };
    // Repeated, it may leave a lease that nobody uses, which ends by itself.
    return checked(leaseResponse, await this.#call('/v3/lease/grant', body, 'safe')).ID;
  }

  async keepAlive(lease: LeaseId): Promise<boolean> {
    const answer = await this.#call('/v3/lease/keepalive', { ID: lease }, 'safe');
    return checked(keepAliveResponse, answer).result.TTL > 0;
  }

  async revokeLease(lease: LeaseId): Promise<void> {
    try {
      await this.#call('/v3/lease/revoke', { ID: lease }, 'safe');
    } catch (error) {
      if (!(error instanceof OperatingError) || error.code !== 'no-lease') throw error;
    }
  }

  async compact(revision: Revision): Promise<void> {
    const body = { revision: String(revision), physical: true };
    await this.#call('/v3/kv/compaction', body, 'unsafe');
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const watch of this.#watches) watch.close();
    this.#watches.clear();
  }

  async #call(path: string, body: unknown, repeat: 'safe' | 'unsafe'): Promise<unknown> {
    if (this.#closed) throw new OperatingError('state-unavailable', 'the state store is closed');
    return this.#client.call(path, body, repeat);
  }
}
