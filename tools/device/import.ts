/**
 * `anello device import`: takes back, through ordinary writes, what a removed device still holds. A
 * storage node on this machine does it, for the bytes go to the cluster over the wire.
 */
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import {
  addEndpointOptions,
  type EndpointOptions,
  getJson,
  reasonOf,
  sendJson,
  storageUrls,
} from '../endpoint.ts';

interface Options extends EndpointOptions {
  readonly node?: string;
  readonly prefix?: string;
  readonly dryRun?: boolean;
}

const LOOK_MS = 500;

const statusSchema = z.object({
  state: z.enum(['idle', 'running', 'done', 'failed']),
  error: z.string().optional(),
  counts: z.record(z.string(), z.number()),
  problems: z.array(z.object({ name: z.string(), what: z.string() })),
});

type Status = z.infer<typeof statusSchema>;

export function registerImport(device: Command): void {
  addEndpointOptions(device.command('import'))
    .description(
      'write anew what a removed device still holds and the cluster knows nothing newer of',
    )
    .argument('<path>', 'folder of the device, on the machine of a running storage node')
    .option('--node <name>', 'the storage node that does it; the first one by default')
    .option('--prefix <path>', 'only names that begin so, such as /AUTH_demo/photos/')
    .option('--dry-run', 'only say what would be taken')
    .addHelpText(
      'after',
      `
Objects that were deleted while the device was away come back if their deletion has been reclaimed:
that is why nothing is taken from a removed device but by this command. Look at --dry-run first.`,
    )
    .action(importDevice);
}

async function importDevice(folder: string, options: Options): Promise<void> {
  const url = urlOf(options);
  const { prefix, dryRun } = options;
  const order = {
    path: path.resolve(folder),
    ...(prefix && { prefix }),
    ...(dryRun && { dryRun }),
  };
  let status = parsed(await sendJson('POST', `${url}/import`, order));
  while (status.state === 'running') {
    await sleep(LOOK_MS);
    status = parsed(await getJson(`${url}/import`));
  }
  if (options.json) console.log(JSON.stringify(status, null, 2));
  else print(status, dryRun === true);
  const { failed = 0 } = status.counts;
  if (status.state === 'failed' || failed > 0) process.exitCode = 1;
}

function urlOf(options: Options): string {
  const nodes = storageUrls(options);
  const chosen =
    options.node === undefined ? nodes[0] : nodes.find(({ name }) => name === options.node);
  if (chosen === undefined) throw new OperatingError('wrong-use', 'there is no such storage node');
  return chosen.url;
}

function parsed(answer: Awaited<ReturnType<typeof getJson>>): Status {
  const status = 'error' in answer ? undefined : statusSchema.safeParse(answer.value);
  if (status?.success) return status.data;
  throw new OperatingError('import-refused', reasonOf(answer));
}

function print({ state, error, counts, problems }: Status, isDryRun: boolean): void {
  const count = (name: string): number => counts[name] ?? 0;
  console.log(
    `${count('taken')} ${isDryRun ? 'would be taken' : 'taken'} back, ` +
      `${count('known')} there already, ${count('deleted')} deleted since, ` +
      `${count('no-container')} without their container, ${count('no-body')} without a good body, ` +
      `${count('failed')} failed`,
  );
  for (const { name, what } of problems) console.log(`  ${JSON.stringify(name)}: ${what}`);
  if (state === 'failed') console.log(`stopped: ${error ?? 'unknown reason'}`);
}
