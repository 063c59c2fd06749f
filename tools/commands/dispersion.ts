/** `anello dispersion`: how far apart replicas lie, as the rings want it and as the objects are. */
import type { Command } from 'commander';
import { z } from 'zod';
import { printTable } from '../authority/table.ts';
import { askDurability, type Report, spread } from '../device/durability.ts';
import { addEndpointOptions, askAny, type EndpointOptions } from '../endpoint.ts';

const counts = z.record(z.string(), z.number());

const dispersionSchema = z.object({
  version: z.number(),
  rings: z.array(
    z.object({
      ring: z.string(),
      version: z.number(),
      partitions: z.number(),
      replicas: z.number(),
      sites: counts,
      nodes: counts,
      devices: counts,
      close: z.number(),
      closest: z.object({ partition: z.number(), devices: z.array(z.string()) }).optional(),
    }),
  ),
});

type Rings = z.infer<typeof dispersionSchema>['rings'];

interface Options extends EndpointOptions {
  readonly objects: boolean;
}

export function register(program: Command): void {
  addEndpointOptions(program.command('dispersion'))
    .description('how far apart replicas lie: partitions of the rings, and objects as they are')
    .option('--no-objects', 'the rings only: no node counts what it holds')
    .addHelpText(
      'after',
      `
"3: 250, 2: 6" says that 250 partitions (or objects) have replicas at three sites, 6 at two.

Examples:
  anello dispersion
  anello dispersion --no-objects --json`,
    )
    .action(dispersion);
}

async function dispersion(options: Options): Promise<void> {
  const { version, rings } = await askAny(options, '/dispersion', dispersionSchema);
  const durability = options.objects ? await askDurability(options) : undefined;
  const objects = durability?.byPolicy;
  if (options.json) {
    console.log(JSON.stringify({ version, rings, ...(objects && { objects }) }, null, 2));
    return;
  }
  printRings(rings);
  if (durability !== undefined) printObjects(durability);
}

function printRings(rings: Rings): void {
  printTable(
    [
      'ring',
      'version',
      'partitions',
      'replicas',
      'at sites',
      'on nodes',
      'on devices',
      'too close',
    ],
    rings.map(({ ring, version, partitions, replicas, sites, nodes, devices, close }) => [
      ring,
      String(version),
      String(partitions),
      String(replicas),
      spread(sites),
      spread(nodes),
      spread(devices),
      String(close),
    ]),
  );
  for (const { ring, closest } of rings)
    if (closest !== undefined)
      console.log(
        `${ring}: closest is partition ${closest.partition}: ${closest.devices.join(', ')}`,
      );
}

function printObjects({ byPolicy, asOf }: Report): void {
  console.log(`objects, as of ${asOf}`);
  printTable(
    ['policy', 'objects', 'good copies', 'at sites'],
    Object.entries(byPolicy).map(([name, { total, copies, sites }]) => [
      name,
      String(total),
      spread(copies),
      spread(sites),
    ]),
  );
}
