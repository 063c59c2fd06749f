/** `anello object show`, `anello container show`: where a name's copies are, and whether they are good. */
import type { Command } from 'commander';
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import { printTable } from '../authority/table.ts';
import { addEndpointOptions, askAny, type EndpointOptions } from '../endpoint.ts';

interface ShowOptions extends EndpointOptions {
  readonly verify: boolean;
  readonly handoffs: string;
}

/** Bodies may be large; the node reads them while it is waited for. */
const TIMEOUT_MS = 280_000;

const copySchema = z.object({
  device: z.number(),
  node: z.string(),
  site: z.string(),
  role: z.string(),
  holdsBody: z.boolean(),
  state: z.string(),
  reason: z.string().optional(),
  kind: z.string().optional(),
  newest: z.string().optional(),
  size: z.number().optional(),
  etag: z.string().optional(),
  complete: z.boolean().optional(),
  rows: z.number().optional(),
  bytes: z.number().optional(),
});

const reportSchema = z.object({
  path: z.string(),
  hash: z.string(),
  what: z.enum(['object', 'container', 'account']),
  state: z.string(),
  policy: z.string().optional(),
  mode: z.string().optional(),
  rings: z.array(
    z.object({
      ring: z.string(),
      ringVersion: z.number(),
      partition: z.number(),
      wanted: z.number(),
      good: z.number(),
      copies: z.array(copySchema),
    }),
  ),
});

type Report = z.infer<typeof reportSchema>;
type Copy = z.infer<typeof copySchema>;
type Notes = (options: EndpointOptions, path: string) => Promise<string[]>;

/** `notes`: what else is to be told of it. */
export function addShow(
  parent: Command,
  what: 'object' | 'container',
  example: string,
  notes: Notes = async () => [],
): void {
  addEndpointOptions(parent.command('show <name>', { isDefault: true }))
    .description('where its copies are, and whether each is good')
    .option('--no-verify', 'take the replicas at their word: read no bodies')
    .option('--handoffs <number>', 'how many stand-ins to ask besides', '6')
    .addHelpText(
      'after',
      `
The name is /ACCOUNT/CONTAINER${what === 'object' ? '/OBJECT' : ', or /ACCOUNT'}, or a URL of the object store with it.
Exit 1: there are fewer good copies than the policy wants.

Examples:
  anello ${what} show ${example}
  anello ${what} show http://127.0.0.1:8080/v1${example} --json`,
    )
    .action((name: string, options: ShowOptions) => show(what, name, options, notes));
}

async function show(
  what: 'object' | 'container',
  name: string,
  options: ShowOptions,
  notes: Notes,
): Promise<void> {
  const path = pathOf(name);
  const isObject = path.split('/').length > 3;
  if (isObject !== (what === 'object'))
    throw new OperatingError('wrong-use', `${path} is no ${what}'s name`);
  if (!/^\d{1,4}$/.test(options.handoffs))
    throw new OperatingError('wrong-use', '--handoffs: a whole number');
  const query = `path=${encodeURIComponent(path)}&verify=${options.verify ? 1 : 0}`;
  const target = `/copies?${query}&handoffs=${options.handoffs}`;
  const report = await askAny(options, target, reportSchema, TIMEOUT_MS);
  const more = report.what === 'container' ? await notes(options, path) : [];
  if (options.json) console.log(JSON.stringify({ ...report, notes: more }, null, 2));
  else print(report);
  if (!options.json) for (const note of more) console.log(note);
  if (report.state === 'unknown') throw new OperatingError('not-found', `nobody knows ${path}`);
  const short = report.rings.some(({ good, wanted }) => good < wanted);
  if (report.state === 'live' && short) process.exitCode = 1;
}

/** As the ring hashes it: unescaped, with a slash before the account. @throws OperatingError `wrong-use` */
export function pathOf(name: string): string {
  const [, raw] = /^https?:\/\/[^/]+\/v1(\/[^?#]*)/.exec(name) ?? [];
  if (raw === undefined) return name.startsWith('/') ? name : `/${name}`;
  try {
    return decodeURIComponent(raw);
  } catch {
    throw new OperatingError('wrong-use', `${name}: wrong percent signs`);
  }
}

function print(report: Report): void {
  const { what, path, hash, state, policy, mode, rings } = report;
  const made = policy === undefined ? '' : `, policy ${policy}, ${mode}`;
  console.log(`${what} ${path}: ${state}${made} (hash ${hash})`);
  for (const { ring, ringVersion, partition, wanted, good, copies } of rings) {
    console.log(
      `${ring} v${ringVersion}, partition ${partition}: ${good} of ${wanted} copies good`,
    );
    printTable(
      ['  device', 'node', 'site', 'role', 'copy', 'timestamp', ...facts(what)],
      copies.map((copy) => row(copy, what)),
    );
  }
}

function facts(what: Report['what']): string[] {
  return what === 'object' ? ['size', 'etag'] : ['rows', 'bytes'];
}

function row(copy: Copy, what: Report['what']): string[] {
  const { device, node, site, role, holdsBody, state, reason, newest, kind, complete } = copy;
  const notes = [
    state,
    reason !== undefined && `(${reason})`,
    kind !== undefined && kind !== 'live' && `(${kind})`,
    !holdsBody && '(witness: no body)',
    complete === false && '(does not count yet)',
  ].filter((note) => note !== false);
  const last = what === 'object' ? [copy.size, copy.etag] : [copy.rows, copy.bytes];
  return [
    `  ${device}`,
    node,
    site,
    role,
    notes.join(' '),
    newest ?? '-',
    ...last.map((value) => String(value ?? '-')),
  ];
}
