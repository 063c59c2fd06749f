/** `anello quota show|set`: how much a project's account may hold. */
import type { Command } from 'commander';
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import { BYTE_RATE_HEADER, REQUEST_RATE_HEADER } from '#proxy/fairness/fairness.ts';
import { addIdentityOptions, IdentityClient, type IdentityOptions } from '../identity/client.ts';
import { printJson } from '../identity/output.ts';

interface SetOptions extends IdentityOptions {
  readonly bytes?: string;
  readonly objects?: string;
  readonly requestsPerSecond?: string;
  readonly bytesPerSecond?: string;
}

const NO_LIMIT = '-';

const usageSchema = z.object({ usage: z.object({ bytes: z.number(), objects: z.number() }) });

export function register(program: Command): void {
  const quota = program.command('quota').description("limits of projects' accounts");
  quota.addHelpText(
    'after',
    `
Examples:
  anello quota show photos
  anello quota set photos --bytes 1000000000000`,
  );
  addIdentityOptions(quota.command('show <project>'))
    .description('what the account holds, and may hold')
    .action(show);
  addIdentityOptions(quota.command('set <project>'))
    .description('in force at every proxy within seconds; "-" takes a limit away')
    .option('--bytes <n>', 'bytes of all objects')
    .option('--objects <n>', 'number of objects')
    .option('--requests-per-second <n>', 'of its users, at each proxy process')
    .option('--bytes-per-second <n>', 'of its users, both ways, at each proxy process')
    .addHelpText(
      'after',
      `
Whoever sets quotas needs the role ResellerAdmin (anello grant --user U --project P --role ResellerAdmin).

Examples:
  anello quota set photos --bytes 1000000000000 --objects 5000000
  anello quota set photos --bytes -
  anello quota set photos --requests-per-second 200 --bytes-per-second 50000000`,
    )
    .action(set);
}

async function show(name: string, options: IdentityOptions): Promise<void> {
  const client = new IdentityClient(options);
  const project = await client.find('project', name);
  const headers = await client.account('HEAD', project.id);
  const target = `/anello/usage?project_id=${encodeURIComponent(project.id)}`;
  // With older versions of objects, which the account's own totals don't know.
  const { usage } = usageSchema.parse(await client.call('GET', target));
  const number = (header: string): number | undefined => {
    const text = headers.get(header);
    return text === null ? undefined : Number(text);
  };
  const account = {
    project: project.name,
    bytes: usage.bytes,
    objects: usage.objects,
    maxBytes: number('x-account-meta-quota-bytes'),
    maxObjects: number('x-account-meta-quota-count'),
    requestsPerSecond: number(REQUEST_RATE_HEADER),
    bytesPerSecond: number(BYTE_RATE_HEADER),
  };
  if (options.json) return printJson(account);
  console.log(`bytes    ${account.bytes} of ${account.maxBytes ?? 'no limit'}`);
  console.log(`objects  ${account.objects} of ${account.maxObjects ?? 'no limit'}`);
  const { requestsPerSecond, bytesPerSecond } = account;
  console.log(
    `rates    ${requestsPerSecond ?? 'no limit'} requests/s, ${bytesPerSecond ?? 'no limit'} bytes/s`,
  );
}

async function set(name: string, options: SetOptions): Promise<void> {
  const headers = Object.fromEntries(
    LIMITS.flatMap(({ option, header, value }) => {
      const text = value(options);
      return text === undefined ? [] : [[header, limitOf(option, text)]];
    }),
  );
  if (Object.keys(headers).length === 0) {
    const all = LIMITS.map(({ option }) => option).join(', ');
    throw new OperatingError('wrong-use', `give at least one of ${all}`);
  }
  const client = new IdentityClient(options);
  const project = await client.find('project', name);
  await client.account('POST', project.id, headers);
  await show(name, options);
}

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
