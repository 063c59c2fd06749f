/** `anello quota show|set`: how much a project's account may hold. */
import type { Command } from 'commander';
import { OperatingError } from '#base/errors.ts';
import { addIdentityOptions, IdentityClient, type IdentityOptions } from '../identity/client.ts';
import { printJson } from '../identity/output.ts';

interface SetOptions extends IdentityOptions {
  readonly bytes?: string;
  readonly objects?: string;
}

const NO_LIMIT = '-';

export function register(program: Command): void {
  const quota = program.command('quota').description("limits of projects' accounts");
  addIdentityOptions(quota.command('show <project>'))
    .description('what the account holds, and may hold')
    .action(show);
  addIdentityOptions(quota.command('set <project>'))
    .description('in force at every proxy within seconds; "-" takes a limit away')
    .option('--bytes <n>', 'bytes of all objects')
    .option('--objects <n>', 'number of objects')
    .addHelpText(
      'after',
      `
Whoever sets quotas needs the role ResellerAdmin (anello grant --user U --project P --role ResellerAdmin).

Examples:
  anello quota set photos --bytes 1000000000000 --objects 5000000
  anello quota set photos --bytes -`,
    )
    .action(set);
}

async function show(name: string, options: IdentityOptions): Promise<void> {
  const client = new IdentityClient(options);
  const project = await client.find('project', name);
  const headers = await client.account('HEAD', project.id);
  const number = (header: string): number | undefined => {
    const text = headers.get(header);
    return text === null ? undefined : Number(text);
  };
  const account = {
    project: project.name,
    bytes: number('x-account-bytes-used') ?? 0,
    objects: number('x-account-object-count') ?? 0,
    maxBytes: number('x-account-meta-quota-bytes'),
    maxObjects: number('x-account-meta-quota-count'),
  };
  if (options.json) return printJson(account);
  console.log(`bytes    ${account.bytes} of ${account.maxBytes ?? 'no limit'}`);
  console.log(`objects  ${account.objects} of ${account.maxObjects ?? 'no limit'}`);
}

async function set(name: string, options: SetOptions): Promise<void> {
  const { bytes, objects } = options;
  if (bytes === undefined && objects === undefined)
    throw new OperatingError('wrong-use', 'give --bytes, --objects or both');
  const client = new IdentityClient(options);
  const project = await client.find('project', name);
  await client.account('POST', project.id, {
    ...(bytes !== undefined && { 'x-account-meta-quota-bytes': limitOf('--bytes', bytes) }),
    ...(objects !== undefined && { 'x-account-meta-quota-count': limitOf('--objects', objects) }),
  });
  await show(name, options);
}

function limitOf(option: string, text: string): string {
  if (text === NO_LIMIT) return '';
  if (/^\d{1,15}$/.test(text)) return text;
  throw new OperatingError('wrong-use', `${option}: a number, or "-" for no limit`);
}
