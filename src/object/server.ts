/**
 * The object service of one storage node: registers its calls on the wire and offers its background
 * jobs. It keeps no state of its own but staged bodies; everything durable is the devices'.
 */
import type { Device, EntryKey } from '#device/contract.ts';
import type { Env } from '#env/env.ts';
import type { ClusterSource } from '#ring/cluster.ts';
import type { MoveReport } from '#ring/move-progress.ts';
import type { Ring } from '#ring/ring.ts';
import type { Caller, Handler } from '#wire/contract.ts';
import type { Job } from '#worker/job.ts';
import { Auditor, type AuditorOptions } from './auditor.ts';
import { BodyPuller } from './body-puller.ts';
import { BodyScan } from './body-scan.ts';
import { RepairBudget } from './budget.ts';
import type { DeviceReport, DevicesReply, MovesReply } from './calls.ts';
import { Commits } from './commit.ts';
import { Compare } from './compare.ts';
import { DebtBrake, type DebtBySite } from './debt.ts';
import { DurabilityMeter } from './durability-meter.ts';
import { digestsCall, fenceCall, statesCall } from './exchange.ts';
import { createExpirer, type ExpirerOptions } from './expirer.ts';
import { ExpiryCheck } from './expiry-check.ts';
import { type Devices, Guard } from './guard.ts';
import { Handover } from './handover.ts';
import { holdingDigests, holdingStates, holdingVersions } from './holdings.ts';
import { Lister } from './lister.ts';
import { ObjectListingAuditor } from './listing-auditor.ts';
import { MarkKeeper } from './mark-keeper.ts';
import { MoveReports } from './move-reports.ts';
import type { PeerBoard } from './peer-board.ts';
import { Reads } from './reads.ts';
import { Rejoin } from './rejoin.ts';
import { Relister } from './relister.ts';
import { Retirer } from './retirer.ts';
import { RowSender } from './row-sender.ts';
import { StagedWrites } from './staged-writes.ts';
import { Stages } from './stages.ts';
import { createUpdater, type UpdaterOptions } from './updater.ts';
import { Writes } from './writes.ts';

export interface ObjectServiceOptions {
  readonly env: Env;
  /** Calls other nodes, and takes calls. */
  readonly wire: Caller & { handle(method: string, handler: Handler): void };
  readonly cluster: ClusterSource;
  readonly self: { readonly node: string; readonly site: string };
  /** Devices of this process by id; asked on every call. */
  readonly devices: Devices;
  /** Those that are open and not in service yet. */
  readonly kept?: Devices;
  readonly updater?: UpdaterOptions;
  readonly expirer?: ExpirerOptions;
  readonly auditor?: AuditorOptions;
  /** What is known of the peers' devices; whoever asks the peers keeps it (src/repair). */
  readonly board: PeerBoard;
}

export interface ObjectService {
  /** Run each with a JobRunner. */
  readonly jobs: readonly Job[];
  readonly budget: RepairBudget;
  readonly puller: BodyPuller;
  readonly brake: DebtBrake;
  /** What this node's stand-ins hold for other sites. */
  debt(): DebtBySite;
  /** When a device was last found to hold nothing of others in a ring, in monotonic time. */
  clearedAtMs(device: number, ring: Ring): number | undefined;
  reports(): DeviceReport[];
  readonly auditor: Auditor;
  readonly durability: DurabilityMeter;
  /** The body of an entry turned out damaged: a good one is fetched at once. */
  damaged(device: number, key: EntryKey): void;
  /** See Rejoin. */
  acceptLoss(device: number): void;
  /** How far the devices are with a ring change. */
  moves(): MoveReport[];
  close(): Promise<void>;
}

export function createObjectService(options: ObjectServiceOptions): ObjectService {
  const { env, wire, cluster, self, devices, board, kept = NO_DEVICES } = options;
  const guard = new Guard(devices, cluster);
  const sender = new RowSender(env, wire);
  const relister = new Relister(sender, cluster);
  const retirer = new Retirer({ env, wire, cluster, guard, relister });
  const budget = new RepairBudget(env, cluster, self);
  const puller = new BodyPuller({ env, caller: wire, cluster, devices, board, budget });
  const brake = new DebtBrake(env, cluster, board, budget);
  const stages = new Stages(env);
  const staged = new StagedWrites(guard, stages);
  const commits = new Commits(guard, puller, staged);
  const lister = new Lister(sender, cluster, self.site);
  const writes = new Writes({ env, guard, commits, lister, puller, brake });
  const reads = new Reads(guard, puller, env.clock);
  const rejoin = new Rejoin(env, wire, cluster, devices, puller, board, self);
  const handover = new Handover(env, wire, cluster, devices, self);
  const auditor = new Auditor(env, devices, options.auditor);
  const durability = new DurabilityMeter(env, wire, cluster);
  const reports = (): DeviceReport[] => [
    ...[...devices().values()].map((device) => reportOf(device, cluster, rejoin, auditor)),
    ...[...kept().values()].map((device) => keptReport(reportOf(device, cluster, rejoin, auditor))),
  ];
  const moves = new MoveReports(devices, cluster);
  const listingAuditor = new ObjectListingAuditor(env, cluster, devices, guard, relister, retirer);

  wire.handle('object.write', writes.write);
  wire.handle('object.promise', writes.promise);
  wire.handle('object.accept', writes.accept);
  wire.handle('object.stage', staged.stage);
  wire.handle('object.staged', staged.staged);
  wire.handle('object.abandon', staged.abandon);
  wire.handle('object.retire', retirer.call);
  wire.handle('object.audited', listingAuditor.audited);
  wire.handle('object.stat', reads.stat);
  wire.handle('object.read', reads.read);
  wire.handle('object.bodies', reads.bodies);
  wire.handle('object.digests', (args) => digestsCall(guard, args));
  wire.handle('object.states', (args) => statesCall(guard, env.clock, args));
  wire.handle('object.fence', (args) => fenceCall(guard, args));
  wire.handle('object.versions', (args) => holdingVersions(guard, args));
  wire.handle('device.digests', (args) => holdingDigests(guard, args));
  wire.handle('device.states', (args) => holdingStates(guard, args));
  wire.handle('device.status', () => ({ result: { devices: reports() } satisfies DevicesReply }));
  wire.handle('device.moves', () => ({
    result: { reports: moves.reports() } satisfies MovesReply,
  }));

  return {
    jobs: [
      createUpdater(devices, relister, retirer, options.updater),
      createExpirer(env, devices, relister, new ExpiryCheck(wire, cluster), options.expirer),
      rejoin,
      new Compare(env, wire, cluster, devices, puller, board),
      new BodyScan(cluster, devices, puller, board),
      handover,
      new MarkKeeper(cluster, devices),
      auditor,
      listingAuditor,
    ],
    budget,
    puller,
    brake,
    debt: () => handover.debt(),
    clearedAtMs: (device, ring) => handover.clearedAtMs(device, ring),
    reports,
    auditor,
    durability,
    damaged: (device, key) => void puller.enqueue({ device, ...key }),
    acceptLoss: (device) => rejoin.acceptLoss(device),
    moves: () => moves.reports(),
    close: async () => {
      puller.close();
      await stages.close();
    },
  };
}

const NO_DEVICES: Devices = () => new Map();

/** It serves nobody, whatever it could. */
function keptReport(report: DeviceReport): DeviceReport {
  const complete = Object.keys(report.complete).map((ring) => [ring, 0] as const);
  const status = report.status === 'ok' || report.status === 'full' ? 'recalling' : report.status;
  return { ...report, status, complete: Object.fromEntries(complete) };
}

function reportOf(
  device: Device,
  cluster: ClusterSource,
  rejoin: Rejoin,
  auditor: Auditor,
): DeviceReport {
  const rings = [...cluster.current().rings.values()];
  return {
    id: device.id,
    name: device.name,
    path: device.path,
    status: device.status,
    incarnation: device.incarnation,
    facts: device.facts(),
    audit: auditor.report(device),
    complete: Object.fromEntries(
      rings.map((ring) => [String(ring.policy), rejoin.completeShare(device, ring)]),
    ),
  };
}
