/** `anello device quarantine list|clear`: what running nodes have found damaged and kept. */
import type { Command } from 'commander';
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import { addEndpointOptions, type EndpointOptions, getJson, sendJson } from '../endpoint.ts';
import { askNodes } from './ask-nodes.ts';

interface Options extends EndpointOptions {
  readonly device?: string;
}

const listSchema = z.object({
  devices: z.array(
    z.object({
      device: z.number(),
      name: z.string(),
      path: z.string(),
      count: z.number(),
      items: z.array(
        z.object({
          name: z.string(),
          what: z.string(),
          path: z.string().optional(),
          bytes: z.number(),
          atMicros: z.number().optional(),
        }),
      ),
    }),
  ),
});

const clearSchema = z.object({
  devices: z.array(z.object({ device: z.number(), cleared: z.number() })),
});

export function registerQuarantine(device: Command): void {
  const quarantine = device
    .command('quarantine')
    .description('what running nodes have found damaged and kept for a person');
  const verb = (name: string, text: string): Command =>
    addEndpointOptions(quarantine.command(name))
      .description(text)
      .option('--device <id>', 'only this device');
  verb('list', 'what was damaged, where, and when it was found').action(list);
  verb('clear', 'remove it: the status is not degraded by it any more').action(clear);
}

async function list(options: Options): Promise<void> {
  const wanted = deviceOf(options);
  const answers = await askNodes(options, listSchema, (url) => getJson(`${url}/quarantine`));
  const devices = answers.flatMap(({ node, value }) =>
    value.devices
      .filter(({ device }) => wanted === undefined || device === wanted)
      .map((found) => ({ node, ...found })),
  );
  refuseUnknown(options, devices);
  if (options.json) return console.log(JSON.stringify({ devices }, null, 2));
  for (const { node, name, device, count, items } of devices) {
    if (count > 0) console.log(`${node}/${name} (device ${device}): ${count}`);
    for (const item of items) {
      const when = item.atMicros === undefined ? '?' : new Date(item.atMicros / 1000).toISOString();
      console.log(`  ${when}  ${item.what}  ${item.path ?? ''}  ${item.name}  ${item.bytes} bytes`);
    }
  }
  if (devices.every(({ count }) => count === 0)) console.log('nothing is in quarantine');
}

async function clear(options: Options): Promise<void> {
  const device = deviceOf(options);
  const body = device === undefined ? {} : { device };
  const answers = await askNodes(options, clearSchema, (url) =>
    sendJson('DELETE', `${url}/quarantine`, body),
  );
  const devices = answers.flatMap(({ node, value }) =>
    value.devices.map((found) => ({ node, ...found })),
  );
  refuseUnknown(options, devices);
  if (options.json) return console.log(JSON.stringify({ devices }, null, 2));
  const total = devices.reduce((sum, { cleared }) => sum + cleared, 0);
  console.log(`${total} removed from the quarantine of ${devices.length} devices`);
}

/** @throws OperatingError `wrong-use` where `--device` names none of those that answer */
export function refuseUnknown(
  { device }: { readonly device?: string },
  found: readonly unknown[],
): void {
  if (device !== undefined && found.length === 0)
    throw new OperatingError('wrong-use', `no node that answers has device ${device}`);
}

export function deviceOf({ device }: { readonly device?: string }): number | undefined {
  if (device === undefined) return undefined;
  if (/^\d{1,9}$/.test(device)) return Number(device);
  throw new OperatingError('wrong-use', '--device is the number of a device');
}
