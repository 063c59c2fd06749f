/** `anello recon`: versions, disks, queues, times and certificates of all nodes, in one table. */
import type { Command } from 'commander';
import {
  AuthorityClient,
  type AuthorityOptions,
  addAuthorityOptions,
} from '../authority/client.ts';
import { printTable } from '../authority/table.ts';
import type { ClusterStatus, ProcessStatus } from '../ring/online.ts';
import { formatSeconds, formatSize } from '../ring/plan-print.ts';

const DAY_MS = 24 * 3600 * 1000;

export function register(program: Command): void {
  addAuthorityOptions(
    program.command('recon').description('versions, disks, queues and times of all nodes'),
  )
    .addHelpText(
      'after',
      `
heard: when it last told the authority. clock: ahead (+) of the authority's or behind it, as it told.
queues: objects that wait to be listed, copies that wait on stand-ins, damaged records kept for a person.
audited: everything on its disks was read within so many days.

Examples:
  anello recon
  anello recon --json`,
    )
    .action(recon);
}

async function recon(options: AuthorityOptions): Promise<void> {
  const { processes, version } = await new AuthorityClient(options).get<ClusterStatus>(
    '/v1/status',
  );
  if (options.json) {
    console.log(JSON.stringify({ version, processes }, null, 2));
    return;
  }
  const nowMs = Date.now();
  printTable(
    [
      ...['process', 'site', 'anello', 'bundle', 'heard', 'up', 'clock', 'disks', 'fullest'],
      ...['queues', 'audited', 'certificate until'],
    ],
    processes.map((process) => rowOf(process, nowMs)),
  );
}

export function rowOf(process: ProcessStatus, nowMs: number): string[] {
  const { devices, certifiedUntilMs, atMs, moment, away } = process;
  const bad = devices.filter(({ status }) => status !== 'ok');
  const disks = bad.map(({ name, status }) => `${name} ${status}`).join(', ');
  const heard = `${Math.max(0, Math.round((nowMs - atMs) / 1000))} s ago`;
  return [
    process.process,
    process.site,
    process.version,
    `${process.bundleVersion}${process.behind ? ' BEHIND' : ''}`,
    away ? `${heard} AWAY` : heard,
    moment === undefined ? '-' : formatSeconds(Math.round(moment.uptimeSeconds)),
    moment === undefined ? '-' : skewText(moment.clockMs - atMs),
    disks === '' ? `${devices.length} ok` : disks,
    fullest(devices),
    queuesText(moment?.queues ?? {}),
    auditedText(moment?.verifiedSinceMs, devices.length, nowMs),
    certifiedUntilMs === undefined ? '-' : new Date(certifiedUntilMs).toISOString().slice(0, 10),
  ];
}

/** As it was when it came to the authority: the way there counts as behind. */
function skewText(ms: number): string {
  const seconds = ms / 1000;
  return `${seconds >= 0 ? '+' : ''}${seconds.toFixed(2)} s`;
}

function queuesText(queues: Readonly<Record<string, number>>): string {
  const waiting = Object.entries(queues).filter(([, count]) => count > 0);
  return waiting.map(([name, count]) => `${count} ${name}`).join(', ') || '-';
}

function auditedText(sinceMs: number | undefined, devices: number, nowMs: number): string {
  if (devices === 0) return '-';
  if (sinceMs === undefined) return 'not all yet';
  return `${((nowMs - sinceMs) / DAY_MS).toFixed(1)} days`;
}

function fullest(devices: ProcessStatus['devices']): string {
  const shares = devices
    .filter(({ totalBytes }) => totalBytes > 0)
    .map(({ name, usedBytes, totalBytes }) => ({ name, usedBytes, share: usedBytes / totalBytes }))
    .sort((a, b) => b.share - a.share);
  const [first] = shares;
  if (first === undefined) return '-';
  return `${first.name} ${(first.share * 100).toFixed(1)} % (${formatSize(first.usedBytes)})`;
}
