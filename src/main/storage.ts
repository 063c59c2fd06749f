/** The storage role: this node's devices, the services on them, and their background jobs. */
import { createAccountService } from '#account/server.ts';
import { ACCOUNT_RING, CONTAINER_RING } from '#base/names.ts';
import { type ListingAuditorOptions, RowListingAuditor } from '#container/listing-auditor.ts';
import { createContainerService } from '#container/server.ts';
import type { Device } from '#device/contract.ts';
import type { DeviceLimits } from '#device/limits.ts';
import type { Auditor } from '#object/auditor.ts';
import type { BodyPuller } from '#object/body-puller.ts';
import type { DeviceReport } from '#object/calls.ts';
import { createCompaction } from '#object/compaction.ts';
import type { DebtBySite } from '#object/debt.ts';
import type { DurabilityReport } from '#object/durability-report.ts';
import { HeldObjects } from '#object/held-objects.ts';
import { ObjectListingAuditor } from '#object/listing-auditor.ts';
import { splitPath } from '#object/object-path.ts';
import type { PeerBoard } from '#object/peer-board.ts';
import { createObjectService } from '#object/server.ts';
import { createProxy, type ProxyStore } from '#proxy/proxy.ts';
import { lossOf, type RingLoss } from '#repair/loss.ts';
import { type Held, Recall } from '#repair/recall.ts';
import { createRepair, EXCHANGE_START_MS } from '#repair/server.ts';
import type { MoveReport } from '#ring/move-progress.ts';
import { HeldRows } from '#rows/service/held-rows.ts';
import type { Job, JobStatus } from '#worker/job.ts';
import { JobRunner } from '#worker/runner.ts';
import { DeviceImport } from './device-import.ts';
import { NodeDevices, type OpenDevice } from './devices.ts';
import type { Foundation } from './foundation.ts';
import { RepairSettings } from './repair-settings.ts';

export interface StorageRole {
  readonly auditor: Auditor;
  readonly repair: RepairSettings;
  /** What `anello repair show` prints. */
  repairStatus(): unknown;
  /** No background job makes a step for so long; 0: they go on. Calls of peers and clients are served. */
  hold(ms: number): void;
  /** Copies on stand-ins that wait for a site, as all nodes told. */
  debt(): DebtBySite;
  /** At most so old. */
  durability(maxAgeMs: number): Promise<DurabilityReport>;
  /** The last that was measured, without asking anybody. */
  lastDurability(): DurabilityReport | undefined;
  devices(): ReadonlyMap<number, Device>;
  open(): ReadonlyMap<number, OpenDevice>;
  reports(): DeviceReport[];
  /** Of removed devices. */
  readonly imports: DeviceImport;
  /** What a device of this node misses; undefined: it is not here. */
  loss(device: number): RingLoss[] | undefined;
  /** An operator's decision: the device makes do with what is left. */
  acceptLoss(device: number): void;
  /** How far this node's devices are with a ring change. */
  moves(): MoveReport[];
  jobs(): JobStatus[];
  close(): Promise<void>;
}

export interface StorageOptions {
  /** The simulator makes segments small, so that they rotate and are compacted in seconds. */
  readonly deviceLimits?: Partial<DeviceLimits>;
  /** How often devices that are out of service are looked at. */
  readonly lookMs?: number;
}

export async function startStorage(
  foundation: Foundation,
  options: StorageOptions = {},
): Promise<StorageRole> {
  const { env, config, clock, cluster, wire } = foundation;
  const local = new NodeDevices(foundation, options.deviceLimits, options.lookMs);
  await local.openAll();
  const { open, devices } = local;
  const self = { node: config.name, site: config.site };
  const common = { env, wire, cluster, self };
  const repair = createRepair({
    ...common,
    devices: () => open,
    debt: () => objects.debt(),
    clearedAtMs: (device, ring) => {
      if (ring.policy === CONTAINER_RING) return containers.rows.handover.clearedAtMs(device);
      if (ring.policy === ACCOUNT_RING) return accounts.handover.clearedAtMs(device);
      return objects.clearedAtMs(device, ring);
    },
    limits: () => objects.budget.limits,
  });
  const { board } = repair;
  const objects = createObjectService({
    ...common,
    board,
    devices: () => devices,
    kept: () => new Map([...local.kept].map(([id, { device }]) => [id, device])),
  });
  const { differs, tookIn, isReclaimed } = repair;
  const rowOptions = { ...common, clock, differs, tookIn, isReclaimed, devices: () => open };
  const store = proxyOf(foundation);
  const reassert = reassertion(store);
  const containers = createContainerService({ ...rowOptions, reassert });
  const accounts = createAccountService(rowOptions);
  const held = new HeldObjects(wire);
  const heldRows = new Map([
    [CONTAINER_RING, new HeldRows(containers.rows.context)],
    [ACCOUNT_RING, new HeldRows(accounts.context)],
  ]);
  const recall = new Recall({
    env,
    cluster,
    kept: () => local.kept,
    admit: (device) => local.admit(device),
    heldOf: ({ policy }) => (heldRows.get(policy) ?? held) as Held<unknown>,
  });
  const jobs: Job[] = [
    recall,
    ...objects.jobs,
    ...containers.jobs,
    ...accounts.jobs,
    repair.exchange,
    repair.reclaim,
    local.keeper,
    createCompaction(() => local.devices),
  ];
  local.onDamage = objects.damaged;
  const settings = new RepairSettings(env, config.data, cluster, objects.budget);
  await settings.load();
  const share = (): number => objects.budget.limits.share;
  const runners = jobs.map((job) => {
    const startMs = START_MS[job.name] ?? 0;
    const isPaused = (): boolean => PAUSED_JOBS.has(job.name) && settings.limits.paused;
    return new JobRunner(env, pausable(job, isPaused), { share, startMs });
  });
  const imports = new DeviceImport(foundation, store);
  const statuses = (): JobStatus[] => runners.map((runner) => runner.status());
  objects.auditor.wake = () => runners[jobs.indexOf(objects.auditor)]!.wake();
  objects.auditor.onRun = (ids) => {
    for (const [i, job] of jobs.entries()) {
      if (!(job instanceof ObjectListingAuditor || job instanceof RowListingAuditor)) continue;
      job.pacer.hurry(ids);
      runners[i]!.wake();
    }
  };
  // A new ring is work for most of them: a device that joins must not wait for their next round.
  const unsubscribe = cluster.subscribe(() => {
    for (const runner of runners) runner.wake();
  });
  wakeOnEvents(runners, { board, puller: objects.puller, local });
  return {
    auditor: objects.auditor,
    repair: settings,
    debt: () => board.debt(),
    repairStatus: () => ({
      limits: settings.limits,
      changes: settings.changes,
      jobs: statuses().filter(({ name }) => REPAIR_JOBS.has(name)),
      received: objects.budget.received(),
      debt: [...board.debt()].map(([site, debt]) => ({ site, ...debt })),
      tooMuch: objects.brake.tooMuch(),
      slowedWrites: objects.brake.slowed,
    }),
    hold: (ms) => {
      env.log.warn('repair.held', { ms });
      for (const runner of runners) runner.hold(ms);
    },
    durability: (maxAgeMs) => objects.durability.report(maxAgeMs),
    lastDurability: () => objects.durability.last,
    devices: () => devices,
    open: () => open,
    reports: () => objects.reports(),
    moves: () => objects.moves(),
    imports,
    loss: (id) => {
      const device = devices.get(id) ?? local.kept.get(id)?.device;
      return device && lossOf(device, cluster.current().rings.values(), board);
    },
    acceptLoss: (id) => {
      env.log.warn('device.loss-accepted', { device: id });
      for (const job of [recall, objects, containers.rows.rejoin, accounts.rejoin])
        job.acceptLoss(id);
      for (const runner of runners) if (/\.(recall|rejoin)$/.test(runner.name)) runner.wake();
    },
    jobs: statuses,
    close: async () => {
      unsubscribe();
      await imports.close();
      await Promise.all(runners.map((runner) => runner.stop()));
      await objects.close();
      await local.closeAll();
    },
  };
}

/** A storage node has none of its own until it is needed. */
function proxyOf({ env, wire, cluster, name, config, clock }: Foundation): () => ProxyStore {
  let proxy: ProxyStore | undefined;
  const self = { node: name, site: config.site };
  return () => (proxy ??= createProxy({ env, wire, cluster, clock, self }));
}

function reassertion(store: () => ProxyStore): ListingAuditorOptions['reassert'] {
  return async (path, above) => {
    const name = splitPath(path);
    const { signal } = new AbortController();
    const operation = { txn: 'container.listings', signal, read: 'quorum' } as const;
    return name !== undefined && (await store().reassert(operation, name, above));
  };
}

/** What needs the other nodes waits until there are connections. */
const START_MS: Readonly<Record<string, number>> = {
  'repair.exchange': EXCHANGE_START_MS,
  'container.listings': 15_000,
};

/** What `paused` stops: copying that can wait. Exchange, updater, expirer and the auditor go on. */
const PAUSED_JOBS: ReadonlySet<string> = new Set([
  'object.rejoin',
  'object.compare',
  'object.bodies',
  'object.handover',
  'container.rejoin',
  'container.handover',
  'account.rejoin',
  'account.handover',
  'device.compaction',
  'repair.reclaim',
]);
const REPAIR_JOBS: ReadonlySet<string> = new Set([...PAUSED_JOBS, 'repair.exchange']);
const PAUSE_MS = 2_000;

function pausable(job: Job, isPaused: () => boolean): Job {
  return {
    name: job.name,
    facts: () => ({ ...job.facts?.(), ...(isPaused() && { paused: true }) }),
    step: async (signal, rest) =>
      isPaused() ? { kind: 'idle', waitMs: PAUSE_MS } : await job.step(signal, rest),
  };
}

/** What a job would find at its next look anyway, it finds at once. */
function wakeOnEvents(
  runners: readonly JobRunner[],
  sources: {
    readonly board: PeerBoard;
    readonly puller: BodyPuller;
    readonly local: NodeDevices;
  },
): void {
  const wake = (...names: readonly string[]): void => {
    for (const runner of runners) if (names.includes(runner.name)) runner.wake();
  };
  const rejoins = ['device.recall', 'object.rejoin', 'container.rejoin', 'account.rejoin'];
  sources.board.onDifference(() => wake('object.compare', 'container.rejoin', 'account.rejoin'));
  sources.puller.onLow(() => wake('object.bodies'));
  sources.local.onOpened(() => wake('repair.exchange', ...rejoins));
}
