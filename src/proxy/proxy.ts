/**
 * The proxy: the Store that the HTTP dialects use. This file only puts the operations together; each
 * has a file of its own, and README.md says how they hold the promises of the design.
 */

import { Registry } from 'prom-client';
import type { HybridClock } from '#base/hybrid-clock.ts';
import { type ObjectName, objectPath } from '#base/names.ts';
import type { Timestamp } from '#base/timestamp.ts';
import type { Env } from '#env/env.ts';
import { RowSender } from '#object/row-sender.ts';
import type { ClusterSource } from '#ring/cluster.ts';
import type { Caller, Links } from '#wire/contract.ts';
import { AccountQuotas } from './account-quotas.ts';
import { Accounts } from './accounts.ts';
import { BucketUsage } from './bucket-usage.ts';
import { Containers } from './containers.ts';
import { type ProxyContext, traced } from './context.ts';
import type { AccountInfo, Operation, Store } from './contract.ts';
import { deleteContainer } from './delete-container.ts';
import { Encryption, type KeySource, NO_KEYS } from './encryption/encryption.ts';
import { withFreshRing } from './fresh-ring.ts';
import { DEFAULT_PROXY_LIMITS, type ProxyLimits } from './limits.ts';
import { ProxyMetrics } from './metrics.ts';
import { UploadsUnderWay } from './multipart/under-way.ts';
import { Objects } from './objects.ts';
import { type PeerStatus, Peers } from './peers.ts';
import { PolicyMoves } from './policy-move/policy-moves.ts';
import { Puts } from './put-object.ts';
import { ReplicaCalls } from './replica-calls.ts';
import { Tracer } from './trace.ts';
import { Turns } from './turns.ts';

export interface ProxyOptions {
  readonly env: Env;
  readonly wire: Caller & Links;
  readonly cluster: ClusterSource;
  readonly self: { readonly node: string; readonly site: string };
  readonly clock: HybridClock;
  readonly limits?: Partial<ProxyLimits>;
  /** Where the metrics are registered; main serves it at /metrics. */
  readonly registry?: Registry;
  /** What objects are encrypted with; without it only customers' own keys can be used. */
  readonly keys?: KeySource;
}

export interface ProxyStore extends Store {
  /** For `anello trace TXID`. */
  readonly tracer: Tracer;
  /** What is known of an account at once; it is asked for behind the caller's back when that is old. */
  accountHeaders(account: string): AccountInfo['headers'] | undefined;
  /** Containers that change their policy. */
  readonly moves: PolicyMoves;
  /**
   * For storage nodes, whose listing tells of a write that no device knows: what the object is, is written
   * anew above the row's timestamp. False: there is no such container. @throws the errors of a write
   */
  reassert(operation: Operation, name: ObjectName, above: Timestamp): Promise<boolean>;
  /** Latency and error limits of the devices, for `anello status`. */
  peers(): PeerStatus[];
}

export function createProxy(options: ProxyOptions): ProxyStore {
  const { env, wire, cluster, self, clock, registry = new Registry(), keys = NO_KEYS } = options;
  const limits = { ...DEFAULT_PROXY_LIMITS, ...options.limits };
  const peers = new Peers(env, self, wire);
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
    objectRows: new RowSender(env, wire, 'container.rows', limits.writeDeadlineMs),
    containerRows: new RowSender(env, wire, 'account.rows', limits.writeDeadlineMs),
    turns: new Turns(env),
    encryption: new Encryption(env.random, keys),
  };
  const accounts = new Accounts(context);
  const containers = new Containers(context, accounts);
  const { listObjects } = containerOperations(context, containers);
  const underWay = new UploadsUnderWay({ listObjects }, env.clock);
  const quotas = new AccountQuotas(context, accounts, underWay);
  const usage = new BucketUsage(containers, underWay);
  const objects = new Objects(context, containers);
  return {
    ...accountOperations(context, accounts, quotas),
    ...containerOperations(context, containers),
    ...objectOperations(context, objects, new Puts(context, containers, objects, quotas, usage)),
    policies: () => context.cluster.current().policies,
    reassert: (operation, name, above) =>
      traced(context, operation, 'object.reassert', objectPath(name), (trace) =>
        objects.reassert({ operation, trace, name }, above),
      ),
    moves: new PolicyMoves(context, containers),
    tracer: context.tracer,
    peers: () => peers.statuses(),
    accountHeaders: (account) => quotas.headersOf(account),
  };
}

type AccountOperation = 'accountInfo' | 'updateAccount' | 'listContainers';

function accountOperations(
  context: ProxyContext,
  accounts: Accounts,
  quotas: AccountQuotas,
): Pick<Store, AccountOperation> {
  return {
    accountInfo: (operation, account) =>
      traced(context, operation, 'account.info', `/${account}`, (trace) =>
        accounts.info(operation, trace, account),
      ),
    updateAccount: (operation, account, changes) =>
      traced(context, operation, 'account.update', `/${account}`, async (trace) => {
        const { exists } = await accounts.info(operation, trace, account);
        await accounts.update(trace, account, changes, exists);
        await quotas.changed(account);
      }),
    listContainers: (operation, account, query) =>
      traced(context, operation, 'account.list', `/${account}`, (trace) =>
        accounts.list(operation, trace, account, query),
      ),
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
    containerInfo: (operation, name, fresh) => {
      // Asked again at many steps of one request: what is at hand is no operation of its own.
      const known = fresh ? undefined : containers.known(name);
      if (known !== undefined) return Promise.resolve(known);
      return traced(context, operation, 'container.info', path(name), (trace) =>
        fresh
          ? containers.freshInfo(operation, trace, name)
          : containers.info(operation, trace, name),
      );
    },
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
  | 'peekObject'
  | 'updateObject'
  | 'updateGroups'
  | 'deleteObject';

function objectOperations(
  context: ProxyContext,
  objects: Objects,
  puts: Puts,
): Pick<Store, ObjectOperation> {
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
        objects.open({ operation, trace, name }),
      ),
    statObject: (operation, name) =>
      traced(context, operation, 'object.head', objectPath(name), (trace) =>
        objects.stat({ operation, trace, name }),
      ),
    peekObject: (operation, name) =>
      traced(context, operation, 'object.peek', objectPath(name), (trace) =>
        objects.peek({ operation, trace, name }),
      ),
    updateObject: (operation, name, change, condition) =>
      traced(context, operation, 'object.post', objectPath(name), (trace) =>
        objects.update({ operation, trace, name, condition }, change),
      ),
    updateGroups: (operation, name, groups, condition) =>
      traced(context, operation, 'object.post', objectPath(name), (trace) =>
        objects.updateGroups({ operation, trace, name, condition }, groups),
      ),
    deleteObject: (operation, name, condition, marker) =>
      traced(context, operation, 'object.delete', objectPath(name), (trace) =>
        objects.delete({ operation, trace, name, condition, marker }),
      ),
  };
}
