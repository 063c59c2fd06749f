/** `anello status`: sites, nodes, devices, fullness, ring versions, and what is degraded. */

import type { Command } from 'commander';
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import { showDurability } from '../device/durability.ts';
import { addEndpointOptions, adminUrls, type EndpointOptions, getJson } from '../endpoint.ts';

const deviceSchema = z.object({
  id: z.number(),
  name: z.string(),
  status: z.string(),
  /** Share of its partitions, by ring number, for which the device counts in a majority. */
  complete: z.record(z.string(), z.number()),
  facts: z.object({
    totalBytes: z.number(),
    freeBytes: z.number(),
    entries: z.number(),
    unlisted: z.number(),
    quarantined: z.number(),
  }),
});

const statusSchema = z.object({
  node: z.string(),
  site: z.string(),
  roles: z.array(z.string()),
  pid: z.number(),
  uptimeSeconds: z.number(),
  bundleVersion: z.number(),
  rings: z.record(z.string(), z.number()),
  /** As the node's file names them; one that is not among `devices` could not be opened. */
  configured: z.array(z.object({ id: z.number(), name: z.string(), path: z.string() })),
  devices: z.array(deviceSchema),
});

type NodeStatus = z.infer<typeof statusSchema>;

interface Found {
  readonly name: string;
  readonly status?: NodeStatus;
  readonly error?: string;
}

export function register(program: Command): void {
  addEndpointOptions(program.command('status'))
    .description('sites, nodes, devices, fullness, ring versions and what is degraded')
    .option('--durability', 'how many objects have how many good copies, and when repair is done')
    .addHelpText(
      'after',
      '\nExamples:\n  anello status\n  anello status --data ./data --json\n  anello status --durability',
    )
    .action(async (options: EndpointOptions & { readonly durability?: boolean }) => {
      if (options.durability) return showDurability(options);
      const found = await Promise.all(adminUrls(options).map(({ name, url }) => ask(name, url)));
      const degraded = found.flatMap(problemsOf).concat(versionProblems(found));
      if (options.json) console.log(JSON.stringify({ nodes: found, degraded }, null, 2));
      else print(found, degraded);
      if (found.every((node) => node.status === undefined)) {
        throw new OperatingError('no-answer', 'no process of the cluster answers');
      }
    });
}

async function ask(name: string, url: string): Promise<Found> {
  const answer = await getJson(`${url}/status`);
  if ('error' in answer) return { name, error: answer.error };
  const parsed = statusSchema.safeParse(answer.value);
  return parsed.success
    ? { name, status: parsed.data }
    : { name, error: 'an answer of another version' };
}

function problemsOf(found: Found): string[] {
  const { status } = found;
  if (status === undefined) return [`${found.name} does not answer: ${found.error}`];
  const problems: string[] = [];
  for (const { id, name, path } of status.configured) {
    if (!status.devices.some((device) => device.id === id)) {
      problems.push(
        `${status.node}/${name} (device ${id}) could not be opened: see the node's log (${path})`,
      );
    }
  }
  for (const device of status.devices) {
    const where = `${status.node}/${device.name} (device ${device.id})`;
    if (device.status !== 'ok') problems.push(`${where} is ${device.status}`);
    const share = completeShare(device);
    if (share < 1) {
      problems.push(
        `${where} is ${(share * 100).toFixed(0)} % complete: it stores and serves, but counts in a majority only where it is complete`,
      );
    }
    const { quarantined } = device.facts;
    const path = status.configured.find((slot) => slot.id === device.id)?.path ?? '';
    if (quarantined > 0) {
      problems.push(
        `${where} holds ${quarantined} damaged records in quarantine, replaced as far as other replicas have them: ${path}/quarantine ("anello device quarantine list" and "clear")`,
      );
    }
  }
  return problems;
}

function completeShare(device: z.infer<typeof deviceSchema>): number {
  return Math.min(1, ...Object.values(device.complete));
}

function versionProblems(found: readonly Found[]): string[] {
  const versions = new Set(
    found.flatMap((node) => (node.status ? [node.status.bundleVersion] : [])),
  );
  return versions.size > 1
    ? [`nodes run different versions of the rings: ${[...versions].sort().join(', ')}`]
    : [];
}

function print(found: readonly Found[], degraded: readonly string[]): void {
  for (const site of new Set(found.map((node) => node.status?.site ?? '?'))) {
    console.log(`site ${site}`);
    for (const node of found.filter((candidate) => (candidate.status?.site ?? '?') === site))
      printNode(node);
  }
  const [one, ...others] = found;
  const whose = others.length === 0 && one !== undefined ? ` at ${one.name}` : '';
  console.log(
    degraded.length === 0
      ? `\nnothing is degraded${whose}`
      : `\ndegraded${whose}:\n${degraded.map((line) => `  ${line}`).join('\n')}`,
  );
  // One node's word must not be taken for the cluster's.
  if (whose !== '') console.log('all nodes: anello recon; all objects: anello status --durability');
}

function printNode({ name, status, error }: Found): void {
  if (status === undefined) {
    console.log(`  ${name}  no answer (${error})`);
    return;
  }
  const rings = Object.entries(status.rings).map(([ring, version]) => `${ring} v${version}`);
  console.log(
    `  ${name}  ${status.roles.join(', ')}  pid ${status.pid}  up ${Math.round(status.uptimeSeconds)} s  bundle ${status.bundleVersion}  ${rings.join(', ')}`,
  );
  for (const device of status.devices.toSorted((a, b) => a.id - b.id)) {
    const { totalBytes, freeBytes, entries, unlisted } = device.facts;
    const used = totalBytes === 0 ? 0 : 1 - freeBytes / totalBytes;
    const complete = completeShare(device) < 1 ? ', not complete' : '';
    // Normal while objects are being written, so it is told here and not among what is degraded.
    const listing = unlisted > 0 ? `  ${unlisted} being listed` : '';
    console.log(
      `    ${device.name}  device ${device.id}  ${device.status}${complete}  ${entries} entries${listing}  disk ${(used * 100).toFixed(1)} % full`,
    );
  }
}
