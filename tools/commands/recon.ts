/** `anello recon`: versions, disks, certificates and last signs of life of all nodes, in one table. */
import type { Command } from 'commander';
import {
  AuthorityClient,
  type AuthorityOptions,
  addAuthorityOptions,
} from '../authority/client.ts';
import { printTable } from '../authority/table.ts';
import type { ClusterStatus, ProcessStatus } from '../ring/online.ts';
import { formatSize } from '../ring/plan-print.ts';

export function register(program: Command): void {
  addAuthorityOptions(
    program.command('recon').description('versions, disks and certificates of all nodes'),
  ).action(recon);
}

async function recon(options: AuthorityOptions): Promise<void> {
  const { processes, version } = await new AuthorityClient(options).get<ClusterStatus>(
    '/v1/status',
  );
  if (options.json) {
    console.log(JSON.stringify({ version, processes }, null, 2));
    return;
  }
  printTable(
    ['process', 'site', 'anello', 'bundle', 'heard', 'disks', 'fullest', 'certificate until'],
    processes.map(rowOf),
  );
}

function rowOf(process: ProcessStatus): string[] {
  const { devices, certifiedUntilMs, atMs } = process;
  const bad = devices.filter(({ status }) => status !== 'ok');
  const disks = bad.map(({ name, status }) => `${name} ${status}`).join(', ');
  return [
    process.process,
    process.site,
    process.version,
    String(process.bundleVersion),
    `${Math.max(0, Math.round((Date.now() - atMs) / 1000))} s ago`,
    disks === '' ? `${devices.length} ok` : disks,
    fullest(devices),
    certifiedUntilMs === undefined ? '-' : new Date(certifiedUntilMs).toISOString().slice(0, 10),
  ];
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
