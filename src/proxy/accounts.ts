/** Accounts: made by the first container in them, or by the first metadata set on them. */
import { type EntryState, isLive } from '#base/entry.ts';
import { accountPath } from '#base/names.ts';
import { microsOf } from '#base/timestamp.ts';
import type { ListedRow, ListQuery } from '#container/calls.ts';
import { newWriteId, nowSeconds, type ProxyContext } from './context.ts';
import type { AccountInfo, HeaderChanges, ListedContainer, Operation, Page } from './contract.ts';
import { callList, type Listing } from './listing-call.ts';
import { headerGroups, headersOf, writeOwnState } from './own-state.ts';
import type { Trace } from './trace.ts';

export class Accounts {
  readonly #context: ProxyContext;
  /** Accounts seen to exist: they are not deleted, so that is remembered. Bounded. */
  readonly #known = new Set<string>();

  constructor(context: ProxyContext) {
    this.#context = context;
  }

  async info(operation: Operation, trace: Trace, account: string): Promise<AccountInfo> {
    const query = { limit: 0 };
    const path = accountPath(account);
    return this.#infoOf(await callList(this.#context, operation, trace, 'account', path, query));
  }

  async list(
    operation: Operation,
    trace: Trace,
    account: string,
    query: ListQuery,
  ): Promise<(Page<ListedContainer> & { info: AccountInfo }) | undefined> {
    const path = accountPath(account);
    const listing = await callList(this.#context, operation, trace, 'account', path, query);
    const info = this.#infoOf(listing);
    if (!info.exists) return undefined;
    const items = listing.items.map((item) =>
      typeof item === 'string' ? { prefix: item } : listedContainer(item),
    );
    return { info, items, truncated: listing.truncated };
  }

  async update(
    trace: Trace,
    account: string,
    changes: HeaderChanges,
    exists: boolean,
  ): Promise<void> {
    const writeId = newWriteId(this.#context.env);
    await writeOwnState(this.#context, {
      trace,
      ring: 'account',
      path: accountPath(account),
      stateAt: (timestamp) => ({
        ...(!exists && {
          data: {
            timestamp,
            kind: 'live',
            writeId,
            clientMicros: microsOf(timestamp),
            etag: '',
            size: 0,
            contentType: '',
          },
        }),
        groups: headerGroups(changes, timestamp),
      }),
    });
  }

  /** Makes the account where there is none yet. */
  async ensure(operation: Operation, trace: Trace, account: string): Promise<void> {
    if (this.#known.has(account)) return;
    const { exists } = await this.info(operation, trace, account);
    if (!exists) await this.update(trace, account, {}, false);
    if (this.#known.size >= MAX_KNOWN) this.#known.clear();
    this.#known.add(account);
  }

  #infoOf({ state, totals }: Listing): AccountInfo {
    return {
      exists: isLive(state, nowSeconds(this.#context.env)) || totals.rows > 0,
      headers: headersOf(state),
      containers: totals.rows,
      objects: totals.objects,
      bytes: totals.bytes,
      clientMicros: clientMicrosOf(state),
    };
  }
}

const MAX_KNOWN = 100_000;

export function clientMicrosOf(state: EntryState | undefined): number {
  return state?.data?.clientMicros ?? 0;
}

function listedContainer([name, clientMicros, bytes, , , objects]: ListedRow): ListedContainer {
  return { name, clientMicros, bytes, objects };
}
