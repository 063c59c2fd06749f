/**
 * `anello device accept-loss`: where too few complete replicas are left for a device to learn from, a
 * person decides that what they knew is lost. Without --yes it only says what that would be.
 */
import type { Command } from 'commander';
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import { addEndpointOptions, type EndpointOptions, getJson, sendJson } from '../endpoint.ts';
import { askNodes } from './ask-nodes.ts';

interface Options extends EndpointOptions {
  readonly yes?: boolean;
}

const lossSchema = z.object({
  device: z.number(),
  rings: z
    .array(
      z.object({
        ring: z.number(),
        incomplete: z.number(),
        short: z.number(),
        silent: z.array(z.number()),
      }),
    )
    .nullable(),
});

export function registerAcceptLoss(device: Command): void {
  addEndpointOptions(device.command('accept-loss'))
    .description('make a device complete with what is left, where too few complete replicas are')
    .argument('<id...>', 'numbers of devices')
    .option('--yes', 'do it; without this it is only shown what would be accepted')
    .action(acceptLoss);
}

async function acceptLoss(ids: readonly string[], options: Options): Promise<void> {
  const found = [];
  for (const id of ids.map(numberOf)) found.push(await ask(id, options));
  if (options.json) console.log(JSON.stringify({ devices: found }, null, 2));
  else for (const one of found) print(one, options.yes === true);
}

async function ask(device: number, options: Options) {
  const answers = await askNodes(options, lossSchema, (url) =>
    options.yes === true
      ? sendJson('POST', `${url}/loss`, { device })
      : getJson(`${url}/loss?device=${device}`),
  );
  const own = answers.find(({ value }) => value.rings !== null);
  if (own === undefined)
    throw new OperatingError('wrong-use', `no node that answers has device ${device}`);
  return { node: own.node, device, rings: own.value.rings ?? [], accepted: options.yes === true };
}

function print({ node, device, rings }: Awaited<ReturnType<typeof ask>>, isDone: boolean): void {
  const short = rings.reduce((sum, ring) => sum + ring.short, 0);
  const incomplete = rings.reduce((sum, ring) => sum + ring.incomplete, 0);
  const silent = [...new Set(rings.flatMap((ring) => ring.silent))];
  const who = `device ${device} at ${node}`;
  if (short === 0) {
    const learning = `${incomplete} partitions to learn; enough complete replicas answer`;
    console.log(`${who}: ${incomplete === 0 ? 'complete, nothing to accept' : learning}`);
    return;
  }
  console.log(
    `${who}: ${short} of ${incomplete} incomplete partitions have too few complete replicas;` +
      ` silent: ${silent.length > 0 ? `devices ${silent.join(', ')}` : 'none'}`,
  );
  const next = isDone
    ? 'accepted: it is complete with what those know that answer ("anello status" shows when)'
    : 'what only these knew is given up with --yes';
  console.log(`  ${next}`);
}

function numberOf(id: string): number {
  if (/^\d{1,9}$/.test(id)) return Number(id);
  throw new OperatingError('wrong-use', `"${id}" is no number of a device`);
}
