/**
 * `anello device`: for a person with a disk in hand. Offline, no cluster and no index are needed; but for
 * `quarantine`, which asks the nodes that run.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';
import type { Command } from 'commander';
import { newestTimestamp } from '#base/entry.ts';
import { decodeState } from '#base/entry-codec.ts';
import { codeOf, OperatingError } from '#base/errors.ts';
import { HybridClock } from '#base/hybrid-clock.ts';
import { formatSeconds, microsOf } from '#base/timestamp.ts';
import { type CheckReport, DeviceCheck } from '#device/check.ts';
import { FLAG_UNLISTED, type RecordHeader } from '#device/format.ts';
import { IdleRows } from '#device/idle-rows.ts';
import { DeviceInspector } from '#device/inspect.ts';
import { openDevice } from '#device/open.ts';
import { createNodeEnv, type NodeEnv } from '#env/node/node-env.ts';
import { ProgressBar } from '../authority/progress-bar.ts';
import { registerAcceptLoss } from '../device/accept-loss.ts';
import { registerImport } from '../device/import.ts';
import { processesUsing } from '../device/in-use.ts';
import { registerQuarantine } from '../device/quarantine.ts';
import { addExamples } from '../examples.ts';

interface Options {
  readonly json?: boolean;
}

interface DumpOptions extends Options {
  readonly prefix?: string;
  readonly kind?: string;
}

export function register(program: Command): void {
  const device = program
    .command('device')
    .description('check, dump or rebuild a device that no process has open; see its quarantine');
  const verb = (name: string, text: string): Command =>
    device
      .command(name)
      .description(text)
      .argument('<path>', 'folder of the device, with device.json in it')
      .option('--json', 'machine-readable output');
  verb('check', 'read every byte, verify every checksum, change nothing').action(check);
  verb('dump', 'one line for each record of the log, in order; changes nothing')
    .option('--prefix <path>', 'only names that begin so, such as /AUTH_demo/photos/')
    .option('--kind <kind>', 'only records of this kind, such as tombstone')
    .action(dump);
  registerQuarantine(device);
  registerAcceptLoss(device);
  registerImport(device);
  verb('rebuild', 'make the index anew from the log and the blobs').action(rebuild);
  addExamples(device, [
    'anello device check /srv/disk1',
    'anello device dump /srv/disk1 --prefix /AUTH_demo/photos/ | head',
    'anello device rebuild /srv/disk1',
    'anello device quarantine list',
    'anello device quarantine clear --device 3',
    'anello device accept-loss 3',
    'anello device import /mnt/old-disk --dry-run',
  ]);
}

async function check(folder: string, options: Options): Promise<void> {
  await withEnv(folder, 'warn', async (env) => {
    const inspector = await DeviceInspector.open(env.disk, folder);
    const report = await new DeviceCheck(inspector).run(progressBar(options));
    await inspector.close();
    if (options.json)
      console.log(JSON.stringify({ device: inspector.identity, ...report }, null, 2));
    else printReport(inspector, report);
    if (report.problems.length > 0) process.exitCode = 1;
  });
}

function progressBar({ json }: Options): (share: number) => void {
  if (json) return () => undefined;
  const bar = new ProgressBar('stderr');
  return (share) => (share === 1 ? bar.clear() : bar.show(Math.round(100 * share), 100, '% read'));
}

function printReport(inspector: DeviceInspector, report: CheckReport): void {
  const { name, deviceId, clusterId, incarnation, genesis } = inspector.identity;
  const born = genesis ? ', there from the start' : '';
  console.log(
    `device ${deviceId} (${name}) of cluster ${clusterId}, incarnation ${incarnation}${born}`,
  );
  const end = report.clean ? 'shut down cleanly' : 'not shut down cleanly';
  console.log(
    `log: ${report.segments} segments, ${size(report.logBytes)}, ${report.batches} batches, ${end}`,
  );
  for (const [kind, count] of Object.entries(report.records)) console.log(`  ${kind}: ${count}`);
  console.log(
    `blobs: ${report.blobs}, ${size(report.blobBytes)}, ${report.orphans} of them not in use`,
  );
  for (const { where, what } of report.problems) console.log(`PROBLEM ${where}: ${what}`);
  console.log(
    report.problems.length === 0 ? 'everything is good' : `${report.problems.length} problems`,
  );
}

function size(bytes: number): string {
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

async function dump(folder: string, options: DumpOptions): Promise<void> {
  // `dump | head` is a good use.
  process.stdout.once('error', (error) => process.exit(codeOf(error) === 'EPIPE' ? 0 : 1));
  await withEnv(folder, 'warn', async (env) => {
    const inspector = await DeviceInspector.open(env.disk, folder);
    for (const { segment } of await inspector.segments()) {
      for await (const batch of inspector.batches(segment)) {
        for (const { header, data } of batch.records) {
          if (options.prefix !== undefined && !header.path.startsWith(options.prefix)) continue;
          if (options.kind !== undefined && header.kind !== options.kind) continue;
          const line = describe(header, data !== undefined);
          console.log(options.json ? JSON.stringify(line) : textOf(line));
        }
        for (const { from, to } of batch.bad) {
          const line = { segment, offset: from, kind: 'unreadable', bytes: to - from };
          console.log(options.json ? JSON.stringify(line) : textOf(line));
        }
      }
    }
    await inspector.close();
  });
}

function describe(header: RecordHeader, isBodyGood: boolean): Record<string, unknown> {
  const state = header.state.length > 0 ? decodeState(header.state) : undefined;
  const newest = state && newestTimestamp(state);
  return {
    segment: header.segment,
    offset: header.offset,
    kind: header.kind,
    policy: header.policy,
    hash: header.hash.toString('hex'),
    path: header.path,
    ...(newest !== undefined && { newest, seconds: formatSeconds(microsOf(newest)) }),
    ...(state?.data !== undefined && {
      state: state.data.kind,
      size: state.data.size,
      etag: state.data.etag,
    }),
    ...(header.dataLength > 0 && { body: header.dataLength }),
    ...(header.flags & FLAG_UNLISTED && { unlisted: true }),
    ...(!isBodyGood && { damaged: true }),
  };
}

function textOf(line: Record<string, unknown>): string {
  return Object.entries(line)
    .map(([name, value]) => (name === 'path' ? JSON.stringify(value) : `${name}=${String(value)}`))
    .join(' ');
}

async function rebuild(folder: string, options: Options): Promise<void> {
  const users = processesUsing(folder);
  if (users.length > 0) {
    throw new OperatingError(
      'device-in-use',
      `process ${users.join(', ')} has the device open; stop it first`,
    );
  }
  await withEnv(folder, 'info', async (env) => {
    const { identity } = await DeviceInspector.open(env.disk, folder);
    await env.disk.replace(
      path.join(folder, 'index.rebuild'),
      Buffer.from('anello device rebuild\n'),
    );
    const device = await openDevice(env, folder, {
      clusterId: identity.clusterId,
      deviceId: identity.deviceId,
      clock: idleClock(env),
      openRows: () => new IdleRows(),
    });
    const result = { ...device.opened, ...device.facts() };
    await device.close();
    if (options.json) console.log(JSON.stringify(result, null, 2));
    else
      console.log(
        `rebuilt: ${result.entries} entries from ${result.replayedRecords} records, ${result.damaged} damaged`,
      );
    if (result.damaged > 0) process.exitCode = 1;
  });
}

/** Nothing is written with it. */
function idleClock(env: NodeEnv): HybridClock {
  const wallMicros = (): number => env.clock.wallMicros();
  return new HybridClock({ workerId: 0, wallMicros, bound: 0, reserve: () => undefined });
}

async function withEnv(
  folder: string,
  logLevel: 'warn' | 'info',
  work: (env: NodeEnv) => Promise<void>,
): Promise<void> {
  if (!existsSync(folder)) throw new OperatingError('wrong-use', `there is no folder ${folder}`);
  const env = createNodeEnv({ logLevel, logDestination: 2 });
  try {
    await work(env);
  } finally {
    await env.close();
  }
}
