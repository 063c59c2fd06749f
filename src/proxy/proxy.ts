/**
 * The proxy: the Store that the HTTP dialects use. This file only puts the operations together; each
 * has a file of its own, and README.md says how they hold the promises of the design.
 */

import { Registry } from 'prom-client';
import { type EntryState, isLive } from '#base/entry.ts';
import type { HybridClock } from '#base/hybrid-clock.ts';
import { type ObjectName, objectPath } from '#base/names.ts';
import type { Env } from '#env/env.ts';
import { RowSender } from '#object/row-sender.ts';
import type { ClusterSource } from '#ring/cluster.ts';
import type { Caller } from '#wire/contract.ts';
import { Accounts } from './accounts.ts';
import type { Condition } from './condition.ts';
import { Containers } from './containers.ts';
import { nowSeconds, type ProxyContext, traced } from './context.ts';
import type {
  ContainerInfo,
  Found,
  MetadataGroups,
  ObjectReader,
  Operation,
  Store,
} from './contract.ts';
import { deleteContainer } from './delete-container.ts';
import { withFreshRing } from './fresh-ring.ts';
import { DEFAULT_PROXY_LIMITS, type ProxyLimits } from './limits.ts';
import { ProxyMetrics } from './metrics.ts';
import { type PeerStatus, Peers } from './peers.ts';
import { placeOf } from './placement.ts';
import { type CurrentQuery, Puts } from './put-object.ts';
import { type ObjectRead, openObject, readState } from './read-object.ts';
import { Repairs } from './repair.ts';
import { ReplicaCalls } from './replica-calls.ts';
import { type Trace, Tracer } from './trace.ts';
import { type ObjectChange, updateGroups, updateObject } from './update-object.ts';
import { deleteObject } from './write-tombstone.ts';

export interface ProxyOptions {
  readonly env: Env;
  readonly wire: Caller;
  readonly cluster: ClusterSource;
  readonly self: { readonly node: string; readonly site: string };
  readonly clock: HybridClock;
  readonly limits?: Partial<ProxyLimits>;
  /** Where the metrics are registered; main serves it at /metrics. */
  readonly registry?: Registry;
}

export interface ProxyStore extends Store {
  /** For `anello trace TXID`. */
  readonly tracer: Tracer;
  /** Latency and error limits of the devices, for `anello status`. */
  peers(): PeerStatus[];
}

export function createProxy(options: ProxyOptions): ProxyStore {
  const { env, wire, cluster, self, clock, registry = new Registry() } = options;
  const limits = { ...DEFAULT_PROXY_LIMITS, ...options.limits };
  const peers = new Peers(env, self);
  const context: ProxyContext = {
    env,
    cluster,
    self,
    clock,
    limits,
    peers,
    calls: new ReplicaCalls(env, wire, peers),
    tracer: new Tracer(env, limits.traceOperations),
    metrics: new ProxyMetrics(registry, peers),
    objectRows: new RowSender(env, wire, 'container.rows'),
    containerRows: new RowSender(env, wire, 'account.rows'),
  };
  return { ...accountOperations(context), tracer: context.tracer, peers: () => peers.statuses() };
}

function accountOperations(context: ProxyContext): Store {
  const accounts = new Accounts(context);
  const containers = new Containers(context, accounts);
  return {
    accountInfo: (operation, account) =>
      traced(context, operation, 'account.info', `/${account}`, (trace) =>
        accounts.info(operation, trace, account),
      ),
    updateAccount: (operation, account, changes) =>
      traced(context, operation, 'account.update', `/${account}`, async (trace) => {
        const { exists } = await accounts.info(operation, trace, account);
        await accounts.update(trace, account, changes, exists);
      }),
    listContainers: (operation, account, query) =>
      traced(context, operation, 'account.list', `/${account}`, (trace) =>
        accounts.list(operation, trace, account, query),
      ),
    ...containerOperations(context, containers),
    ...objectOperations(context, containers),
    policies: () => context.cluster.current().policies,
  };
}

type ContainerOperation =
  | 'createContainer'
  | 'containerInfo'
  | 'updateContainer'
  | 'deleteContainer'
  | 'listObjects';

function containerOperations(
  context: ProxyContext,
  containers: Containers,
): Pick<Store, ContainerOperation> {
  const path = (name: { account: string; container: string }): string =>
    `/${name.account}/${name.container}`;
  return {
    createContainer: (operation, name, options) =>
      traced(context, operation, 'container.create', path(name), (trace) =>
        containers.create(operation, trace, name, options),
      ),
    containerInfo: (operation, name, fresh) =>
      traced(context, operation, 'container.info', path(name), (trace) =>
        fresh
          ? containers.freshInfo(operation, trace, name)
          : containers.info(operation, trace, name),
      ),
    updateContainer: (operation, name, changes) =>
      traced(context, operation, 'container.update', path(name), (trace) =>
        containers.update(operation, trace, name, changes),
      ),
    deleteContainer: (operation, name) =>
      traced(context, operation, 'container.delete', path(name), async (trace) => {
        const info = await containers.freshInfo(operation, trace, name);
        if (info === undefined) return 'no-container';
        if (info.objects > 0) return 'not-empty';
        try {
          return await withFreshRing(context, () =>
            deleteContainer(context, operation, trace, name),
          );
        } finally {
          containers.forget(name);
        }
      }),
    listObjects: (operation, name, query) =>
      traced(context, operation, 'container.list', path(name), (trace) =>
        containers.list(operation, trace, name, query),
      ),
  };
}

type ObjectOperation =
  | 'putObject'
  | 'openObject'
  | 'statObject'
  | 'updateObject'
  | 'updateGroups'
  | 'deleteObject';

function objectOperations(
  context: ProxyContext,
  containers: Containers,
): Pick<Store, ObjectOperation> {
  const repairs = new Repairs(context);
  const objects = new Objects(context, containers, repairs);
  const puts = new Puts(context, containers, (put) => objects.current(put));
  return {
    putObject: (operation, name, request) =>
      traced(
        context,
        operation,
        'object.put',
        objectPath(name),
        (trace) => puts.put(operation, trace, name, request),
        (result) => result.ack ?? result.kind,
      ),
    openObject: (operation, name) =>
      traced(context, operation, 'object.get', objectPath(name), (trace) =>
        withFreshRing(context, () => objects.open(operation, trace, name)),
      ),
    statObject: (operation, name) =>
      traced(context, operation, 'object.head', objectPath(name), (trace) =>
        withFreshRing(context, () => objects.stat(operation, trace, name)),
      ),
    updateObject: (operation, name, change, condition) =>
      traced(context, operation, 'object.post', objectPath(name), (trace) =>
        withFreshRing(context, () => objects.update(operation, trace, name, change, condition)),
      ),
    updateGroups: (operation, name, groups, condition) =>
      traced(context, operation, 'object.post', objectPath(name), (trace) =>
        withFreshRing(context, () =>
          objects.updateGroups(operation, trace, name, groups, condition),
        ),
      ),
    deleteObject: (operation, name, condition) =>
      traced(context, operation, 'object.delete', objectPath(name), (trace) =>
        withFreshRing(context, () => objects.delete(operation, trace, name, condition)),
      ),
  };
}

class Objects {
  readonly #context: ProxyContext;
  readonly #containers: Containers;
  readonly #repairs: Repairs;

  constructor(context: ProxyContext, containers: Containers, repairs: Repairs) {
    this.#context = context;
    this.#containers = containers;
    this.#repairs = repairs;
  }

  async open(operation: Operation, trace: Trace, name: ObjectName): Promise<Found<ObjectReader>> {
    const found = await this.#find(operation, trace, name, true);
    return found && openObject(this.#context, this.#repairs, found.read);
  }

  async stat(operation: Operation, trace: Trace, name: ObjectName): Promise<Found<EntryState>> {
    const found = await this.#find(operation, trace, name, false);
    if (found === undefined) return undefined;
    const { state } = await readState(this.#context, this.#repairs, found.read);
    return isLive(state, nowSeconds(this.#context.env)) ? state : undefined;
  }

  async update(
    operation: Operation,
    trace: Trace,
    name: ObjectName,
    change: ObjectChange,
    condition?: Condition,
  ): Promise<'updated' | 'not-found' | 'precondition-failed'> {
    const update = await this.#findLive(operation, trace, name);
    if (update === undefined) return 'not-found';
    if (condition?.holds(update.state) === false) return 'precondition-failed';
    await updateObject(this.#context, { ...update, change });
    return 'updated';
  }

  async updateGroups(
    operation: Operation,
    trace: Trace,
    name: ObjectName,
    groups: MetadataGroups,
    condition?: Condition,
  ): Promise<'updated' | 'not-found' | 'precondition-failed'> {
    const update = await this.#findLive(operation, trace, name);
    if (update === undefined) return 'not-found';
    if (condition?.holds(update.state) === false) return 'precondition-failed';
    await updateGroups(this.#context, { ...update, groups });
    return 'updated';
  }

  /** What a metadata update needs; undefined: there is no such object. */
  async #findLive(operation: Operation, trace: Trace, name: ObjectName) {
    const { txn, signal } = operation;
    const found = await this.#find({ txn, signal, read: 'quorum' }, trace, name, false);
    if (found === undefined) return undefined;
    const { state } = await readState(this.#context, this.#repairs, found.read);
    if (!isLive(state, nowSeconds(this.#context.env))) return undefined;
    const { read, container } = found;
    return { trace, place: read.place, container, state };
  }

  async delete(
    operation: Operation,
    trace: Trace,
    name: ObjectName,
    condition?: Condition,
  ): Promise<'deleted' | 'not-found' | 'no-container' | 'precondition-failed'> {
    const found = await this.#find(operation, trace, name, false);
    if (found === undefined) return 'no-container';
    const { read, container } = found;
    if (condition !== undefined && !condition.holds(await this.current(read))) {
      return 'precondition-failed';
    }
    const { previous } = await deleteObject(this.#context, { trace, place: read.place, container });
    return previous.live ? 'deleted' : 'not-found';
  }

  async current({ operation, trace, place }: CurrentQuery): Promise<Found<EntryState>> {
    const read: ObjectRead = {
      operation: { ...operation, read: 'quorum' },
      trace,
      place,
      mayDegrade: false,
      wantsBody: false,
    };
    const { state } = await readState(this.#context, this.#repairs, read);
    return isLive(state, nowSeconds(this.#context.env)) ? state : undefined;
  }

  /** Undefined: there is no such container. */
  async #find(
    operation: Operation,
    trace: Trace,
    name: ObjectName,
    wantsBody: boolean,
  ): Promise<{ read: ObjectRead; container: ContainerInfo } | undefined> {
    const container = await this.#containers.info(operation, trace, name);
    if (container === undefined) return undefined;
    const view = this.#context.cluster.current();
    const place = placeOf(view, container.policy.index, objectPath(name));
    const mayDegrade = container.mode !== 'strict';
    return { container, read: { operation, trace, place, mayDegrade, wantsBody } };
  }
}
