/**
 * Container and account replicas in memory, with the calls of the real services: rows, own states,
 * listings from a majority, the three steps of deletion. For tests of the proxy and the object
 * service alone: what is kept here is as durable as the test says.
 */

import { EMPTY_STATE, type EntryState, isLive, join, newestTimestamp } from '#base/entry.ts';
import { decodeState, encodeState } from '#base/entry-codec.ts';
import type {
  ListArgs,
  ListReply,
  OwnListing,
  OwnStateArgs,
  RowItem,
  RowOutcome,
  RowsArgs,
  SealArgs,
} from '#container/calls.ts';
import { settingsOf } from '#rows/row-state.ts';
import type { Handler } from '#wire/contract.ts';

interface Replica {
  own: EntryState;
  readonly rows: Map<string, EntryState>;
  seal: string | undefined;
}

type Kind = 'container' | 'account';

export class MemoryRows {
  /** Devices that answer as incomplete. */
  readonly incomplete = new Set<number>();
  /** Devices that refuse everything. */
  readonly broken = new Set<number>();
  /** By ring and device, then by hash. */
  readonly #replicas = new Map<string, Map<string, Replica>>();

  handlers(): [method: string, handler: Handler][] {
    const both = (['container', 'account'] as const).flatMap((kind) => [
      [`${kind}.rows`, (args: unknown) => this.#rows(kind, args as RowsArgs)],
      [`${kind}.write`, (args: unknown) => this.#write(kind, args as OwnStateArgs)],
      [`${kind}.list`, (args: unknown) => this.#list(kind, args as ListArgs)],
      [`${kind}.seal`, (args: unknown) => this.#seal(kind, args as SealArgs)],
      [`${kind}.unseal`, (args: unknown) => this.#unseal(kind, args as SealArgs)],
      [`${kind}.remove`, (args: unknown) => this.#remove(kind, args as SealArgs & OwnStateArgs)],
    ]) as [string, (args: unknown) => unknown][];
    return both.map(([method, answer]) => [
      method,
      (args) => {
        if (this.broken.has((args as { device: number }).device)) throw new Error('broken');
        return { result: answer(args) };
      },
    ]);
  }

  /** The row as this device has it. */
  row(kind: Kind, device: number, path: string, name: string): EntryState | undefined {
    for (const replica of this.#all(kind, device, path)) return replica.rows.get(name);
    return undefined;
  }

  /** Devices that hold a live row of the name. */
  holders(kind: Kind, path: string, name: string): number[] {
    const devices: number[] = [];
    for (const key of this.#replicas.keys()) {
      const [ring, device] = key.split(' ');
      if (ring !== kind) continue;
      if (isLive(this.row(kind, Number(device), path, name), 0)) devices.push(Number(device));
    }
    return devices.sort((a, b) => a - b);
  }

  /** This replica loses the container, as if it had missed everything about it. */
  forget(kind: Kind, device: number): void {
    this.#replicas.delete(`${kind} ${device}`);
  }

  *#all(kind: Kind, device: number, path: string): Iterable<Replica> {
    const replica = this.#replicas.get(`${kind} ${device}`)?.get(path);
    if (replica !== undefined) yield replica;
  }

  #of(kind: Kind, device: number, path: string): Replica {
    const key = `${kind} ${device}`;
    const byPath = this.#replicas.get(key) ?? new Map<string, Replica>();
    this.#replicas.set(key, byPath);
    const replica = byPath.get(path) ?? { own: EMPTY_STATE, rows: new Map(), seal: undefined };
    byPath.set(path, replica);
    return replica;
  }

  #rows(kind: Kind, { device, rows, intent }: RowsArgs): unknown {
    const outcomes = rows.map((row) => this.#row(kind, device, row, intent));
    return { outcomes, complete: !this.incomplete.has(device) };
  }

  #row(kind: Kind, device: number, row: RowItem, intent: 'write' | 'repair'): RowOutcome {
    const replica = this.#of(kind, device, row.path);
    const settings = settingsOf(replica.own);
    if (intent === 'write') {
      if (replica.seal !== undefined) return 'sealed';
      if (!isLive(replica.own, 0)) return 'no-container';
      const mismatch =
        settings !== undefined && row.policy != null && settings.policy !== row.policy;
      if (mismatch) return 'container-mismatch';
    }
    const before = replica.rows.get(row.name) ?? EMPTY_STATE;
    const state = decodeState(row.state);
    replica.rows.set(row.name, join(before, state));
    return newestTimestamp(before) > newestTimestamp(state) ? 'superseded' : 'stored';
  }

  #write(kind: Kind, args: OwnStateArgs): unknown {
    const { device, path, listing } = args;
    const replica = this.#of(kind, device, path);
    const complete = !this.incomplete.has(device);
    const state = decodeState(args.state);
    const newest = newestTimestamp(replica.own);
    if (newest > newestTimestamp(state)) {
      return { outcome: 'superseded', newest, complete, listedOn: [] };
    }
    replica.own = join(replica.own, state);
    const listedOn = this.#listed(path, state, listing);
    return { outcome: 'stored', newest: newestTimestamp(replica.own), complete, listedOn };
  }

  /** The container's row in the account replica that is named first. */
  #listed(path: string, state: EntryState, listing: OwnListing | undefined): number[] {
    if (listing == null || state.data === undefined) return [];
    const target = listing.targets[0]!;
    const name = path.slice(path.indexOf('/', 1) + 1);
    const account = this.#of('account', target.device, listing.accountPath);
    const row = account.rows.get(name) ?? EMPTY_STATE;
    account.rows.set(name, join(row, { data: state.data, groups: {} }));
    return [target.device];
  }

  /** From all replicas of the name, whichever is asked: the real service pulls from a majority. */
  #list(kind: Kind, { device, path, query }: ListArgs): ListReply & { live: boolean } {
    let own = EMPTY_STATE;
    const rows = new Map<string, EntryState>();
    for (const [key, byPath] of this.#replicas) {
      const replica = key.startsWith(`${kind} `) ? byPath.get(path) : undefined;
      if (replica === undefined) continue;
      own = join(own, replica.own);
      for (const [name, state] of replica.rows)
        rows.set(name, join(rows.get(name) ?? EMPTY_STATE, state));
    }
    const live = [...rows]
      .filter(([, state]) => isLive(state, 0))
      .sort(([a], [b]) => (a < b ? -1 : 1));
    const wanted = live.filter(
      ([name]) => name > (query.marker ?? '') && name.startsWith(query.prefix ?? ''),
    );
    const items = wanted.slice(0, query.limit).map(([name, { data }]) => {
      const { clientMicros, size, etag, contentType } = data!;
      return [name, clientMicros, size, etag, contentType, 0] as const;
    });
    const bytes = live.reduce((sum, [, state]) => sum + (state.data?.size ?? 0), 0);
    return {
      state: own === EMPTY_STATE ? null : encodeState(own),
      live: isLive(own, 0) || live.length > 0,
      complete: !this.incomplete.has(device),
      totals: { rows: live.length, bytes, objects: 0 },
      items,
      truncated: wanted.length > items.length,
    };
  }

  #seal(kind: Kind, { device, path, seal }: SealArgs): unknown {
    const replica = this.#of(kind, device, path);
    const newest = newestTimestamp(replica.own);
    const reply = { newest, complete: !this.incomplete.has(device) };
    if (!isLive(replica.own, 0)) return { ...reply, outcome: 'missing' };
    for (const state of replica.rows.values()) {
      if (isLive(state, 0)) return { ...reply, outcome: 'not-empty' };
    }
    replica.seal = seal;
    return { ...reply, outcome: 'sealed' };
  }

  #unseal(kind: Kind, { device, path, seal }: SealArgs): unknown {
    const replica = this.#of(kind, device, path);
    if (replica.seal === seal) replica.seal = undefined;
    return { outcome: 'unsealed' };
  }

  #remove(kind: Kind, args: SealArgs & OwnStateArgs): unknown {
    const { device, path, seal, listing } = args;
    const state = decodeState(args.state);
    const replica = this.#of(kind, device, path);
    const complete = !this.incomplete.has(device);
    const newest = newestTimestamp(replica.own);
    if (replica.seal !== seal) return { outcome: 'not-sealed', newest, complete, listedOn: [] };
    replica.own = join(replica.own, state);
    replica.seal = undefined;
    return { outcome: 'stored', newest, complete, listedOn: this.#listed(path, state, listing) };
  }
}
