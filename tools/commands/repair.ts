/** `anello repair`: what repair may take of the running nodes, and how far it is. */
import type { Command } from 'commander';
import { z } from 'zod';
import { messageOf, OperatingError } from '#base/errors.ts';
import { type RepairChanges, repairChangesSchema } from '#ring/repair-limits.ts';
import { askNodes } from '../device/ask-nodes.ts';
import { addEndpointOptions, type EndpointOptions, getJson, sendJson } from '../endpoint.ts';

const debtSchema = z.object({ site: z.string(), entries: z.number(), bytes: z.number() });

const repairSchema = z.object({
  limits: z.record(z.string(), z.unknown()),
  changes: z.record(z.string(), z.unknown()),
  jobs: z.array(
    z.object({
      name: z.string(),
      state: z.string(),
      facts: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
    }),
  ),
  received: z.record(z.string(), z.number()),
  debt: z.array(debtSchema),
  tooMuch: z.array(z.string()),
  slowedWrites: z.number(),
});

const MAX_HOLD_SECONDS = 3_600;

type RepairStatus = z.infer<typeof repairSchema>;

export function register(program: Command): void {
  const repair = program
    .command('repair')
    .description('what repair does on running nodes, and how much it may take');
  addEndpointOptions(repair.command('show'))
    .description('limits in force, progress, copies that wait on stand-ins')
    .addHelpText('after', '\nExample:\n  anello repair show')
    .action(show);
  addEndpointOptions(repair.command('set'))
    .description('changes limits of the nodes, at once and for good')
    .argument('<name=value...>', 'a value of "-" takes a change back')
    .addHelpText(
      'after',
      `
Names: paused, concurrency, share, bandwidth, debtEntries, debtBytes, debtSlowMs, reclaimAgeSeconds

Examples:
  anello repair set concurrency=8 share=0.8
  anello repair set paused=true
  anello repair set 'bandwidth=lngs-bari:20000000@22:00-06:00,lngs-bari:2000000@06:00-22:00,*-padova:5000000'
  anello repair set bandwidth=-`,
    )
    .action(set);
  addEndpointOptions(repair.command('hold'))
    .description('no background job of the nodes works for so long, at most an hour; 0: they go on')
    .argument('<seconds>', 'how long from now')
    .addHelpText('after', '\nExample:\n  anello repair hold 60   # to see what the jobs cost')
    .action(hold);
}

async function show(options: EndpointOptions): Promise<void> {
  const nodes = await askNodes(options, repairSchema, (url) => getJson(`${url}/repair`));
  if (options.json) return console.log(JSON.stringify({ nodes }, null, 2));
  for (const { node, value } of nodes) print(node, value);
}

function print(node: string, status: RepairStatus): void {
  const { changes, jobs, received, debt, tooMuch } = status;
  const { bandwidth, ...limits } = status.limits;
  console.log(`${node}`);
  console.log(
    `  limits: ${pairs(limits)}${Object.keys(changes).length > 0 ? ' (changed here)' : ''}`,
  );
  if (Array.isArray(bandwidth) && bandwidth.length > 0)
    console.log(`  bandwidth: ${JSON.stringify(bandwidth)}`);
  for (const { name, state, facts } of jobs)
    console.log(`  ${name}: ${[state, pairs(facts)].filter(Boolean).join(', ')}`);
  console.log(`  received: ${pairs(received) || 'nothing'}`);
  for (const { site, entries, bytes } of debt) {
    const large = tooMuch.includes(site) ? '  MORE THAN THE LIMIT' : '';
    console.log(`  stand-ins hold for ${site}: ${entries} objects, ${bytes} bytes${large}`);
  }
}

function pairs(facts: Readonly<Record<string, unknown>>): string {
  return Object.entries(facts)
    .map(([name, value]) => `${name} ${String(value)}`)
    .join(', ');
}

async function set(assignments: readonly string[], options: EndpointOptions): Promise<void> {
  const changes = parseChanges(assignments);
  const done = z.object({ limits: z.record(z.string(), z.unknown()) });
  const nodes = await askNodes(options, done, (url) => sendJson('POST', `${url}/repair`, changes));
  if (options.json) return console.log(JSON.stringify({ nodes }, null, 2));
  for (const { node, value } of nodes) console.log(`${node}: ${JSON.stringify(value.limits)}`);
}

async function hold(text: string, options: EndpointOptions): Promise<void> {
  const seconds = Number(text);
  if (!(seconds >= 0 && seconds <= MAX_HOLD_SECONDS))
    throw new OperatingError('wrong-use', `"${text}" is not 0 to ${MAX_HOLD_SECONDS} seconds`);
  const done = z.object({ seconds: z.number() });
  const ask = (url: string) => sendJson('POST', `${url}/repair/hold`, { seconds });
  const nodes = await askNodes(options, done, ask);
  if (options.json) return console.log(JSON.stringify({ nodes }, null, 2));
  for (const { node, value } of nodes) console.log(`${node}: ${value.seconds} s`);
}

/** @throws OperatingError `wrong-use` */
function parseChanges(assignments: readonly string[]): RepairChanges {
  const changes: Record<string, unknown> = {};
  for (const assignment of assignments) {
    const [, name, text] = /^([a-zA-Z]+)=(.*)$/s.exec(assignment) ?? [];
    if (name === undefined || text === undefined) {
      throw new OperatingError('wrong-use', `"${assignment}" is not NAME=VALUE`);
    }
    changes[name] = text === '-' ? null : parseValue(name, text);
  }
  const result = repairChangesSchema.safeParse(changes);
  if (result.success) return result.data;
  const issues = result.error.issues.map((issue) => [...issue.path, issue.message].join(': '));
  throw new OperatingError('wrong-use', issues.join('; '));
}

function parseValue(name: string, text: string): unknown {
  if (name === 'bandwidth') return text.split(',').map(parseRule);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new OperatingError('wrong-use', `${name}: ${messageOf(error)}`);
  }
}

/** `lngs-bari:20000000@22:00-06:00`; a slash between the sites where their names have dashes. */
function parseRule(text: string): unknown {
  const [, sites, bytes, hours] = /^([^:@]+):(\d+)(?:@(.+))?$/.exec(text) ?? [];
  const [a, b, ...more] = (sites ?? '').split(sites?.includes('/') ? '/' : '-');
  if (a === undefined || b === undefined || more.length > 0) {
    throw new OperatingError(
      'wrong-use',
      `"${text}" is not SITE-SITE:BYTES[@HH:MM-HH:MM] (SITE/SITE where names have dashes)`,
    );
  }
  const rule = { between: [a, b], bytesPerSecond: Number(bytes) };
  return hours === undefined ? rule : { ...rule, hours };
}
