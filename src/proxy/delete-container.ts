/**
 * Deletes a container in three steps, so that a row can't slip in between the check and the deletion:
 *
 *   seal     W replicas check that they have no live row and refuse rows of new writes from then on
 *   check    one listing, brought up to date from a majority as any listing: still nothing
 *   remove   the tombstone on W replicas; or unseal, when something was found or could not be asked
 *
 * A seal ends by itself after its deadline, so a proxy that dies in between blocks nobody for long.
 */
import type { EntryState } from '#base/entry.ts';
import { encodeState } from '#base/entry-codec.ts';
import {
  ACCOUNT_RING,
  accountPath,
  CONTAINER_RING,
  type ContainerName,
  containerPath,
} from '#base/names.ts';
import { microsOf, type Timestamp, ZERO_TIMESTAMP } from '#base/timestamp.ts';
import type { OwnListing, RemoveReply, SealArgs, SealReply } from '#container/calls.ts';
import { newWriteId, type ProxyContext, unavailable } from './context.ts';
import type { Operation } from './contract.ts';
import { callList } from './listing-call.ts';
import { accountListing } from './own-state.ts';
import { type Place, placeOf, type Replica } from './placement.ts';
import { failureCode } from './replica-calls.ts';
import type { Trace } from './trace.ts';

const SEAL_MS = 15_000;

export type Deletion = 'deleted' | 'not-empty' | 'no-container';

/** @throws OperatingError `unavailable` */
export async function deleteContainer(
  context: ProxyContext,
  operation: Operation,
  trace: Trace,
  name: ContainerName,
): Promise<Deletion> {
  return new ContainerDeletion(context, operation, trace, name).run();
}

class ContainerDeletion {
  readonly #context: ProxyContext;
  readonly #operation: Operation;
  readonly #trace: Trace;
  readonly #name: ContainerName;
  readonly #place: Place;
  readonly #seal: string;
  #newest: Timestamp = ZERO_TIMESTAMP;

  constructor(context: ProxyContext, operation: Operation, trace: Trace, name: ContainerName) {
    this.#context = context;
    this.#operation = operation;
    this.#trace = trace;
    this.#name = name;
    this.#place = placeOf(context.cluster.current(), CONTAINER_RING, containerPath(name));
    this.#seal = newWriteId(context.env);
  }

  async run(): Promise<Deletion> {
    const sealed = await this.#sealAll();
    if (sealed !== 'sealed') {
      await this.#unseal();
      return sealed;
    }
    try {
      if (await this.#isEmpty()) {
        await this.#remove();
        return 'deleted';
      }
    } catch (error) {
      await this.#unseal();
      throw error;
    }
    await this.#unseal();
    return 'not-empty';
  }

  async #sealAll(): Promise<'sealed' | 'not-empty' | 'no-container'> {
    const outcomes = new Map<SealReply['outcome'], Set<number>>();
    const codes = await this.#each('container.seal', this.#sealArgs(), (replica, reply) => {
      const { outcome, newest, complete } = reply as SealReply;
      if (newest > this.#newest) this.#newest = newest;
      if (!this.#place.quorum.countsIn(replica.device, complete) && outcome !== 'not-empty') return;
      const devices = outcomes.get(outcome) ?? new Set();
      outcomes.set(outcome, devices.add(replica.device));
    });
    const { quorum } = this.#place;
    const sealed = outcomes.get('sealed') ?? new Set<number>();
    const missing = outcomes.get('missing') ?? new Set<number>();
    if (quorum.isWrite(sealed)) return 'sealed';
    if (sealed.size === 0 && quorum.isRead(missing)) return 'no-container';
    await this.#unseal();
    // A replica that missed a deletion says `not-empty` too: what a majority knows decides.
    if (outcomes.has('not-empty') && !(await this.#isEmpty())) return 'not-empty';
    throw unavailable('container deletion', codes);
  }

  async #isEmpty(): Promise<boolean> {
    const query = { limit: 1 };
    const operation = { ...this.#operation, read: 'quorum' as const };
    const { path } = this.#place;
    const { totals, items } = await callList(
      this.#context,
      operation,
      this.#trace,
      'container',
      path,
      query,
    );
    return totals.rows === 0 && items.length === 0;
  }

  async #remove(): Promise<void> {
    const { clock, env, cluster } = this.#context;
    const timestamp = clock.above(this.#newest);
    const writeId = newWriteId(env);
    const kind = 'deleted' as const;
    const clientMicros = microsOf(timestamp);
    const data = { timestamp, kind, writeId, clientMicros, etag: '', size: 0, contentType: '' };
    const account = placeOf(cluster.current(), ACCOUNT_RING, accountPath(this.#name.account));
    const args = {
      ...this.#sealArgs(),
      state: encodeState({ data, groups: {} }),
      listing: accountListing(account, 0),
    };
    const removed = new Set<number>();
    const listed = new Set<number>();
    const codes = await this.#each('container.remove', args, (replica, reply) => {
      const { outcome, complete, listedOn } = reply as RemoveReply;
      for (const device of listedOn) listed.add(device);
      const done = outcome === 'stored' || outcome === 'superseded';
      if (done && this.#place.quorum.countsIn(replica.device, complete))
        removed.add(replica.device);
    });
    if (!this.#place.quorum.isWrite(removed)) throw unavailable('container deletion', codes);
    if (!account.quorum.isWrite(listed)) await this.#unlist(account, listed, { data, groups: {} });
  }

  /** The account must not show it any more: what the replicas could not tell, the proxy does. */
  async #unlist(account: Place, listed: ReadonlySet<number>, state: EntryState): Promise<void> {
    const { hash, path } = account;
    const row = { hash, path, name: this.#name.container, state: encodeState(state) };
    const { txn } = this.#trace;
    const options = { txn, ringVersion: account.ringVersion, intent: 'write' as const };
    const missing = account.primaries.filter((replica) => !listed.has(replica.device));
    const sent = missing.map((target) => this.#context.containerRows.send(target, row, options));
    // The container is deleted whatever comes of it; its replicas report it again.
    await Promise.allSettled(sent);
  }

  async #unseal(): Promise<void> {
    await this.#each('container.unseal', this.#sealArgs(), () => undefined);
  }

  #sealArgs(): Omit<SealArgs, 'device'> {
    const { hash, path, ringVersion } = this.#place;
    return { hash, path, ringVersion, seal: this.#seal, deadlineMs: SEAL_MS };
  }

  /** Calls all replicas at once and waits for all; gives the codes of those that failed. */
  async #each(
    method: string,
    args: Omit<SealArgs, 'device'> & { state?: Buffer; listing?: OwnListing },
    answered: (replica: Replica, reply: unknown) => void,
  ): Promise<string[]> {
    const { calls, limits } = this.#context;
    const { ringVersion, primaries } = this.#place;
    const codes: string[] = [];
    await Promise.all(
      primaries.map(async (replica) => {
        try {
          const options = { ringVersion, deadlineMs: limits.readDeadlineMs };
          const { device } = replica;
          const { result } = await calls.call(
            this.#trace,
            replica,
            method,
            { ...args, device },
            options,
          );
          answered(replica, result);
        } catch (error) {
          codes.push(failureCode(error));
        }
      }),
    );
    return codes;
  }
}
