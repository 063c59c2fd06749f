/** `anello audit`: how far the auditors are, a whole cycle now, another rate. */
import type { Command } from 'commander';
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import { ProgressBar } from '../authority/progress-bar.ts';
import { askNodes } from '../device/ask-nodes.ts';
import { deviceOf, refuseUnknown } from '../device/quarantine.ts';
import { addEndpointOptions, type EndpointOptions, getJson, sendJson } from '../endpoint.ts';
import { addExamples } from '../examples.ts';

interface Options extends EndpointOptions {
  readonly device?: string;
  readonly wait?: boolean;
}

const auditSchema = z.object({
  share: z.number(),
  rate: z.number(),
  urgent: z.boolean(),
  cycles: z.number(),
  found: z.number(),
  orphans: z.number(),
  suspects: z.number(),
  totalBytes: z.number(),
  verifiedSinceMs: z.number().optional(),
});

const statusSchema = z.object({
  devices: z.array(z.object({ id: z.number(), name: z.string(), audit: auditSchema })),
});

const doneSchema = z.object({ devices: z.array(z.number()) });

interface AuditedDevice extends z.infer<typeof auditSchema> {
  readonly node: string;
  readonly name: string;
  readonly device: number;
}

const POLL_MS = 500;
const DAY_MS = 24 * 3600 * 1000;

export function register(program: Command): void {
  const audit = program
    .command('audit')
    .description('the auditors of running nodes: coverage, rate, a whole cycle now');
  const verb = (name: string, text: string): Command =>
    addEndpointOptions(audit.command(name))
      .description(text)
      .option('--device <id>', 'only this device');
  verb('status', 'what was read since when, and what was found').action(show);
  verb('run', 'read everything again, as fast as it can')
    .option('--wait', 'until all of it was read')
    .action(run);
  verb('rate', 'bytes a second; "auto": what a cycle of 30 days needs')
    .argument('<bytes>', 'such as 5000000, or auto')
    .action(setRate);
  addExamples(audit, [
    'anello audit status',
    'anello audit run --wait --device 3',
    'anello audit rate 20000000',
    'anello audit rate auto',
  ]);
}

async function show(options: Options): Promise<void> {
  const devices = await ask(options);
  if (options.json) return console.log(JSON.stringify({ devices }, null, 2));
  for (const device of devices) console.log(describe(device));
}

async function run(options: Options): Promise<void> {
  const before = new Map((await ask(options)).map(({ device, cycles }) => [device, cycles]));
  await send(options, '/audit/run', {});
  const bar = options.json ? undefined : new ProgressBar('stderr');
  while (options.wait) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    const devices = await ask(options);
    const isDone = ({ device, cycles, urgent }: AuditedDevice): boolean =>
      !urgent && cycles > (before.get(device) ?? -1);
    if (devices.length >= before.size && devices.every(isDone)) break;
    const shares = devices.map((device) => (isDone(device) ? 1 : device.share));
    const percent = (100 * shares.reduce((sum, share) => sum + share, 0)) / devices.length;
    bar?.show(Math.floor(percent), 100, `% of ${devices.length} devices`);
  }
  bar?.clear();
  await show(options);
}

async function setRate(bytes: string, options: Options): Promise<void> {
  const isNumber = /^\d{1,11}$/.test(bytes) && Number(bytes) > 0;
  if (!isNumber && bytes !== 'auto') {
    throw new OperatingError('wrong-use', 'the rate is a number of bytes a second, or auto');
  }
  await send(options, '/audit/rate', { bytesPerSecond: isNumber ? Number(bytes) : null });
  await show(options);
}

async function send(options: Options, path: string, fields: object): Promise<void> {
  const device = deviceOf(options);
  const body = { ...fields, ...(device !== undefined && { device }) };
  await askNodes(options, doneSchema, (url) => sendJson('POST', url + path, body));
}

async function ask(options: Options): Promise<AuditedDevice[]> {
  const wanted = deviceOf(options);
  const answers = await askNodes(options, statusSchema, (url) => getJson(`${url}/status`));
  const devices = answers.flatMap(({ node, value }) =>
    value.devices
      .filter(({ id }) => wanted === undefined || id === wanted)
      .map(({ id, name, audit }) => ({ node, name, device: id, ...audit })),
  );
  refuseUnknown(options, devices);
  return devices;
}

function describe(device: AuditedDevice): string {
  const { node, name, share, rate, urgent, found, orphans, suspects, verifiedSinceMs } = device;
  const since =
    verifiedSinceMs === undefined
      ? 'not everything read yet'
      : `everything read since ${new Date(verifiedSinceMs).toISOString()} (${((Date.now() - verifiedSinceMs) / DAY_MS).toFixed(1)} days)`;
  const speed = urgent ? 'as fast as it can' : `${(rate / 1e6).toFixed(3)} MB/s`;
  const extra = [
    ...(orphans > 0 ? [`${orphans} orphans`] : []),
    ...(suspects > 0 ? [`${suspects} segments to be rewritten`] : []),
  ];
  const rest = extra.length > 0 ? `, ${extra.join(', ')}` : '';
  return `${node}/${name} (device ${device.device})  ${(100 * share).toFixed(1)} % of this cycle, ${speed}; ${since}; ${found} damaged places found${rest}`;
}
