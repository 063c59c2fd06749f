/** `anello quota show|set`: how much a project's account may hold, and how much a user may write. */
import type { Command } from 'commander';
import { z } from 'zod';
import { accountOf } from '#auth/caller.ts';
import { OperatingError } from '#base/errors.ts';
import { userAccount } from '#base/names.ts';
import { BYTE_RATE_HEADER, REQUEST_RATE_HEADER } from '#proxy/fairness/fairness.ts';
import { addExamples } from '../examples.ts';
import { addIdentityOptions, IdentityClient, type IdentityOptions } from '../identity/client.ts';
import { printJson } from '../identity/output.ts';

interface SetOptions extends ShowOptions {
  readonly bytes?: string;
  readonly objects?: string;
  readonly requestsPerSecond?: string;
  readonly bytesPerSecond?: string;
}

interface ShowOptions extends IdentityOptions {
  readonly user?: string;
}

const NO_LIMIT = '-';

const usageSchema = z.object({ usage: z.object({ bytes: z.number(), objects: z.number() }) });

/** Whose quota it is. */
type Holder =
  | { readonly kind: 'project'; readonly id: string; readonly name: string }
  | { readonly kind: 'user'; readonly id: string; readonly name: string };

export function register(program: Command): void {
  const quota = program
    .command('quota')
    .description("limits of projects' accounts, and of what users write");
  addExamples(quota, [
    'anello quota show photos',
    'anello quota show --user anna',
    'anello quota set photos --bytes 1000000000000 --objects 5000000',
    'anello quota set photos --bytes -',
    'anello quota set photos --requests-per-second 200 --bytes-per-second 50000000',
    'anello quota set --user anna --bytes 50000000000 --objects 100000',
  ]);
  addIdentityOptions(quota.command('show [project]'))
    .description('what the account holds, or what a user has written, and the limits')
    .option('--user <name>', 'of a user, in all projects (needs the role ResellerAdmin)')
    .action(show);
  addIdentityOptions(quota.command('set [project]'))
    .description('in force at every proxy within seconds; "-" takes a limit away')
    .option('--user <name>', 'limits what this user writes, in all projects')
    .option('--bytes <n>', 'bytes of all objects')
    .option('--objects <n>', 'number of objects')
    .option('--requests-per-second <n>', "of a project's users, at each proxy process")
    .option('--bytes-per-second <n>', "of a project's users, both ways, at each proxy process")
    .addHelpText(
      'after',
      `
Whoever sets quotas needs the role ResellerAdmin (anello grant add --user U --project P --role ResellerAdmin).
An object counts as the user's who wrote it, until it is deleted or overwritten by whoever may.`,
    )
    .action(set);
}

async function show(project: string | undefined, options: ShowOptions): Promise<void> {
  const client = new IdentityClient(options);
  const holder = await holderOf(client, project, options.user);
  const headers = await client.account('HEAD', accountOfHolder(holder));
  const number = (header: string): number | undefined => {
    const text = headers.get(header);
    return text === null ? undefined : Number(text);
  };
  const account = {
    [holder.kind]: holder.name,
    ...(await usageOf(client, holder, headers)),
    maxBytes: number('x-account-meta-quota-bytes'),
    maxObjects: number('x-account-meta-quota-count'),
    requestsPerSecond: number(REQUEST_RATE_HEADER),
    bytesPerSecond: number(BYTE_RATE_HEADER),
  };
  if (options.json) return printJson(account);
  console.log(`bytes    ${account.bytes} of ${account.maxBytes ?? 'no limit'}`);
  console.log(`objects  ${account.objects} of ${account.maxObjects ?? 'no limit'}`);
  if (holder.kind === 'user') return;
  const { requestsPerSecond, bytesPerSecond } = account;
  console.log(
    `rates    ${requestsPerSecond ?? 'no limit'} requests/s, ${bytesPerSecond ?? 'no limit'} bytes/s`,
  );
}

async function usageOf(
  client: IdentityClient,
  { kind, id }: Holder,
  headers: Headers,
): Promise<{ readonly bytes: number; readonly objects: number }> {
  if (kind === 'user') {
    const number = (what: string): number => Number(headers.get(`x-account-${what}`) ?? 0);
    return { bytes: number('bytes-used'), objects: number('object-count') };
  }
  // With older versions of objects, which the account's own totals don't know.
  const target = `/anello/usage?project_id=${encodeURIComponent(id)}`;
  return usageSchema.parse(await client.call('GET', target)).usage;
}

async function holderOf(
  client: IdentityClient,
  project: string | undefined,
  user: string | undefined,
): Promise<Holder> {
  if ((project === undefined) === (user === undefined))
    throw new OperatingError('wrong-use', 'name a project, or a user with --user');
  const kind = project === undefined ? 'user' : 'project';
  return { kind, ...(await client.find(kind, project ?? user ?? '')) };
}

function accountOfHolder({ kind, id }: Holder): string {
  return kind === 'user' ? userAccount(id) : accountOf(id);
}

async function set(project: string | undefined, options: SetOptions): Promise<void> {
  const given = LIMITS.filter(({ value }) => value(options) !== undefined);
  if (given.length === 0) {
    const all = LIMITS.map(({ option }) => option).join(', ');
    throw new OperatingError('wrong-use', `give at least one of ${all}`);
  }
  const rate = given.find(({ header }) => RATES.has(header));
  if (options.user !== undefined && rate !== undefined)
    throw new OperatingError('wrong-use', `${rate.option} is for projects, not for users`);
  const headers = Object.fromEntries(
    given.map(({ option, header, value }) => [header, limitOf(option, value(options) ?? '')]),
  );
  const client = new IdentityClient(options);
  const holder = await holderOf(client, project, options.user);
  await client.account('POST', accountOfHolder(holder), headers);
  await show(project, options);
}

const RATES: ReadonlySet<string> = new Set([REQUEST_RATE_HEADER, BYTE_RATE_HEADER]);

const LIMITS: readonly {
  readonly option: string;
  readonly header: string;
  readonly value: (options: SetOptions) => string | undefined;
}[] = [
  { option: '--bytes', header: 'x-account-meta-quota-bytes', value: ({ bytes }) => bytes },
  { option: '--objects', header: 'x-account-meta-quota-count', value: ({ objects }) => objects },
  {
    option: '--requests-per-second',
    header: REQUEST_RATE_HEADER,
    value: ({ requestsPerSecond }) => requestsPerSecond,
  },
  {
    option: '--bytes-per-second',
    header: BYTE_RATE_HEADER,
    value: ({ bytesPerSecond }) => bytesPerSecond,
  },
];

function limitOf(option: string, text: string): string {
  if (text === NO_LIMIT) return '';
  if (/^\d{1,15}$/.test(text)) return text;
  throw new OperatingError('wrong-use', `${option}: a number, or "-" for no limit`);
}
