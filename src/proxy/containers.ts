/** Containers: creation, settings, listings, and the three steps of deletion. */
import { type EntryState, isLive } from '#base/entry.ts';
import { OperatingError } from '#base/errors.ts';
import {
  accountPath,
  type ContainerName,
  containerPath,
  isInternal,
  type PolicyIndex,
} from '#base/names.ts';
import { microsOf } from '#base/timestamp.ts';
import type { ListedRow, ListQuery } from '#container/calls.ts';
import type { ConsistencyMode, StoragePolicy } from '#ring/cluster.ts';
import { LINK_ROLE, MARKER_ROLE, ROLES } from '#rows/query.ts';
import { toldChecksums } from '#rows/row-checksum.ts';
import {
  type ContainerSettings,
  settingsGroup,
  settingsOf,
  settingsTime,
} from '#rows/row-state.ts';
import { type Accounts, clientMicrosOf } from './accounts.ts';
import { ContainerCache } from './container-cache.ts';
import { newWriteId, nowSeconds, type ProxyContext } from './context.ts';
import type { ContainerInfo, HeaderChanges, ListedObject, Operation, Page } from './contract.ts';
import { callList, type Listing } from './listing-call.ts';
import { headerGroups, headersOf, writeOwnState } from './own-state.ts';
import type { Trace } from './trace.ts';

export interface CreateOptions {
  readonly policy?: PolicyIndex;
  readonly mode?: ConsistencyMode;
  readonly changes: HeaderChanges;
  readonly leaveExisting?: boolean;
}

export class Containers {
  readonly #context: ProxyContext;
  readonly #accounts: Accounts;
  readonly #cache: ContainerCache;
  /** What one replica said: for those who ask for no more. */
  readonly #nearest: ContainerCache;

  constructor(context: ProxyContext, accounts: Accounts) {
    const { env, limits } = context;
    this.#context = context;
    this.#accounts = accounts;
    const options = {
      env,
      ttlMs: limits.containerCacheMs,
      staleMs: limits.containerStaleMs,
      entries: limits.containerCacheEntries,
    };
    this.#cache = new ContainerCache(options);
    this.#nearest = new ContainerCache(options);
  }

  /**
   * An answer of at most two seconds ago, when there is one. A container that can't be asked now
   * (`unavailable`) is taken as it was up to a minute ago: objects may be reachable when it is not.
   */
  async info(
    operation: Operation,
    trace: Trace,
    name: ContainerName,
  ): Promise<ContainerInfo | undefined> {
    const path = containerPath(name);
    const cache = operation.read === 'nearest' ? this.#nearest : this.#cache;
    const cached = this.#cache.peek(path) ?? cache.peek(path);
    if (cached !== undefined) return cached;
    try {
      return await cache.load(path, () => this.#fetch(operation, trace, name));
    } catch (error) {
      const stale = this.#cache.peekStale(path) ?? cache.peekStale(path);
      if (stale !== undefined && isUnavailable(error)) return stale;
      throw error;
    }
  }

  /** What is cached and counts. */
  known(name: ContainerName): ContainerInfo | undefined {
    return this.#cache.peek(containerPath(name));
  }

  async freshInfo(
    operation: Operation,
    trace: Trace,
    name: ContainerName,
  ): Promise<ContainerInfo | undefined> {
    const info = await this.#fetch(operation, trace, name);
    if (info === undefined) this.forget(name);
    return info;
  }

  /**
   * Before anybody is told that something is not there, or not as it has to be: since the container was asked it may have
   * been deleted, and made again in another policy. Rows are refused then, reads are not.
   * @throws OperatingError `container-mismatch`, `unavailable`
   */
  async expectUnmoved(
    operation: Operation,
    trace: Trace,
    { name, policy }: ContainerInfo,
  ): Promise<void> {
    const { policies } = this.#context.cluster.current();
    if (policies.length === 1 || operation.read === 'nearest') return;
    const now = await this.freshInfo(operation, trace, name);
    if (now === undefined || isIn(policy.index, now)) return;
    this.forget(name);
    const facts = { policy: policy.index, now: now.policy.index };
    throw new OperatingError('container-mismatch', 'the container is in another policy', facts);
  }

  forget(name: ContainerName): void {
    for (const cache of [this.#cache, this.#nearest]) cache.forget(containerPath(name));
  }

  async list(
    operation: Operation,
    trace: Trace,
    name: ContainerName,
    query: ListQuery,
  ): Promise<(Page<ListedObject> & { info: ContainerInfo }) | undefined> {
    const path = containerPath(name);
    const told = { ...query, checksums: true };
    const listing = await callList(this.#context, operation, trace, 'container', path, told);
    const info = this.#infoOf(name, listing);
    if (info === undefined) return undefined;
    const items = listing.items.map((item) =>
      typeof item === 'string' ? { prefix: item } : listedObject(item),
    );
    return { info, items, truncated: listing.truncated };
  }

  async create(
    operation: Operation,
    trace: Trace,
    name: ContainerName,
    options: CreateOptions,
  ): Promise<'created' | 'exists' | 'policy-conflict'> {
    const listing = await this.#ask(operation, trace, name);
    const present = this.#infoOf(name, listing);
    if (present !== undefined) {
      if (conflicts(present, options)) return 'policy-conflict';
      // Kept alive by a late row alone: from now on it must not go with that row.
      const isCreated = isLive(listing.state, nowSeconds(this.#context.env));
      const settings = isCreated ? undefined : present;
      const isLeft = options.leaveExisting === true || Object.keys(options.changes).length === 0;
      if (settings === undefined && isLeft) return this.#confirm(trace, name, listing.state!);
      const written = await this.#write(trace, name, options.changes, settings);
      return written === 'conflict' ? 'policy-conflict' : 'exists';
    }
    const created = this.#policyFor(name, options, settingsOf(listing.state));
    if (created === undefined) return 'policy-conflict';
    this.forget(name);
    await this.#accounts.ensure(operation, trace, name.account);
    const written = await this.#write(trace, name, options.changes, created);
    return written === 'conflict' ? 'policy-conflict' : 'created';
  }

  async update(
    operation: Operation,
    trace: Trace,
    name: ContainerName,
    changes: HeaderChanges,
  ): Promise<'updated' | 'no-container'> {
    if ((await this.freshInfo(operation, trace, name)) === undefined) return 'no-container';
    const written = await this.#write(trace, name, changes);
    return written === 'written' ? 'updated' : 'no-container';
  }

  /**
   * `former`: of one that was deleted. In a policy that it had left by a move it is not made again: a device that was away
   * then has there what was deleted since (policy-move/README.md). Undefined: that is what was asked for. What a bucket
   * keeps in containers of the store's own may be in another policy than the bucket.
   */
  #policyFor(
    { account }: ContainerName,
    options: CreateOptions,
    former: ContainerSettings | undefined,
  ): Created | undefined {
    const { policies } = this.#context.cluster.current();
    const find = (index: number | undefined): StoragePolicy | undefined =>
      policies.find((known) => known.index === index);
    const byDefault = policies.find((known) => known.isDefault) ?? policies[0];
    const was = former?.was ?? [];
    const hasLeft = (wanted: StoragePolicy): boolean => was.includes(wanted.index);
    const asked = options.policy === undefined ? byDefault : find(options.policy);
    const isOpen = options.policy === undefined || isInternal(account);
    const policy = isOpen && asked !== undefined && hasLeft(asked) ? find(former?.policy) : asked;
    if (policy === undefined) {
      throw new OperatingError('no-policy', 'there is no such storage policy', { ...options });
    }
    if (hasLeft(policy)) return undefined;
    return { policy, mode: options.mode ?? policy.mode, ...(was.length > 0 && { was }) };
  }

  /**
   * A majority is to have what its creator may have left on one replica before anybody is told that it is there; who has
   * it writes nothing (simulator, brief seed 6006004). Whoever has it only now, reports it to the account.
   */
  async #confirm(
    trace: Trace,
    name: ContainerName,
    known: EntryState,
  ): Promise<'exists' | 'policy-conflict'> {
    const path = containerPath(name);
    const write = { trace, ring: 'container', path, stateAt: () => known, isKnown: true } as const;
    const written = await writeOwnState(this.#context, write);
    return written === 'conflict' ? 'policy-conflict' : 'exists';
  }

  async #write(
    trace: Trace,
    name: ContainerName,
    changes: HeaderChanges,
    created?: Created,
  ): ReturnType<typeof writeOwnState> {
    const path = containerPath(name);
    const writeId = newWriteId(this.#context.env);
    this.forget(name);
    const written = await writeOwnState(this.#context, {
      trace,
      ring: 'container',
      path,
      account: { path: accountPath(name.account), name: name.container },
      hasRivals: created !== undefined,
      stateAt: (timestamp): EntryState => {
        const groups = headerGroups(changes, timestamp);
        if (created === undefined) return { groups };
        const settings = settingsGroup(settingsFor(created), timestamp);
        const clientMicros = microsOf(timestamp);
        const data = {
          timestamp,
          kind: 'live' as const,
          writeId,
          clientMicros,
          etag: '',
          size: 0,
          contentType: '',
        };
        return { data, groups: { ...groups, container: settings } };
      },
    });
    this.forget(name);
    return written;
  }

  async #fetch(
    operation: Operation,
    trace: Trace,
    name: ContainerName,
  ): Promise<ContainerInfo | undefined> {
    return this.#infoOf(name, await this.#ask(operation, trace, name));
  }

  #ask(operation: Operation, trace: Trace, name: ContainerName): Promise<Listing> {
    const path = containerPath(name);
    return callList(this.#context, operation, trace, 'container', path, { limit: 0 });
  }

  #infoOf(name: ContainerName, { state, totals }: Listing): ContainerInfo | undefined {
    // A late row brings a deleted container back rather than orphaning the object.
    if (!isLive(state, nowSeconds(this.#context.env)) && totals.rows === 0) return undefined;
    const { policies } = this.#context.cluster.current();
    const settings = settingsOf(state);
    const known = (index: number | undefined): StoragePolicy | undefined =>
      policies.find((policy) => policy.index === index);
    const byDefault = policies.find((policy) => policy.isDefault) ?? policies[0];
    const policy = known(settings?.policy) ?? byDefault;
    if (policy === undefined) throw new OperatingError('no-policy', 'the cluster has no policies');
    const former = known(settings?.from);
    const left = known(settings?.left);
    return {
      name,
      policy,
      ...(former && { former }),
      ...(left && { left }),
      ...(settings?.was && { was: settings.was }),
      mode: settings?.mode ?? policy.mode,
      since: settingsTime(state),
      headers: headersOf(state),
      objects: totals.rows,
      bytes: totals.bytes,
      clientMicros: clientMicrosOf(state),
    };
  }
}

type Created = Pick<ContainerInfo, 'policy' | 'mode' | 'former' | 'left' | 'was'>;

/** As the container's own state keeps them. */
export function settingsFor({ policy, mode, former, left, was }: Created): ContainerSettings {
  return {
    policy: policy.index,
    mode,
    ...(former && { from: former.index }),
    ...(left && { left: left.index }),
    ...(was && { was }),
  };
}

/** Whether objects of the container are placed there. */
function isIn(index: PolicyIndex, { policy, former }: ContainerInfo): boolean {
  return index === policy.index || index === former?.index;
}

/** Whether the container knows nothing of the policy: what is there of it will be neither read nor retired. */
export function isForeign(index: PolicyIndex, info: ContainerInfo): boolean {
  return !isIn(index, info) && index !== info.left?.index && !info.was?.includes(index);
}

function conflicts(present: ContainerInfo, { policy, mode }: CreateOptions): boolean {
  if (policy !== undefined && policy !== present.policy.index) return true;
  return mode !== undefined && mode !== present.mode;
}

function isUnavailable(error: unknown): boolean {
  return error instanceof OperatingError && error.code === 'unavailable';
}

function listedObject(row: ListedRow): ListedObject {
  const [name, clientMicros, bytes, etag, contentType, count] = row;
  const checksums = toldChecksums(Math.floor(count / ROLES));
  const item = { name, clientMicros, bytes, etag, contentType, ...(checksums && { checksums }) };
  const role = count % ROLES;
  if (role === LINK_ROLE) return { ...item, role: 'link' };
  return role === MARKER_ROLE ? { ...item, role: 'marker' } : item;
}
