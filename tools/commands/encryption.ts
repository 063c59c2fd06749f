/** `anello encryption key`: the keys that encrypted objects are kept under. */
import type { Command } from 'commander';
import type { ObjectKeyView } from '#authority/encryption-routes.ts';
import {
  AuthorityClient,
  type AuthorityOptions,
  addAuthorityOptions,
} from '../authority/client.ts';
import { printTable } from '../authority/table.ts';
import { addExamples } from '../examples.ts';

const PATH = '/v1/encryption/keys';
const OWN = "(the store's own)";

export function register(program: Command): void {
  const encryption = program.command('encryption').description('keys of encrypted objects');
  const key = encryption.command('key').description('keys that wrap those of single objects');
  const verb = (name: string, text: string): Command =>
    addAuthorityOptions(key.command(name).description(text));
  verb('list', 'all keys and their versions; the newest of a name encrypts').action(list);
  verb('create', 'a key that users can name (SSE-KMS)')
    .argument('<name>', 'letters, digits, dots, dashes, underscores')
    .action((name: string, options: AuthorityOptions) => make('create', name, options));
  verb('rotate', 'a new version; objects of the old ones stay as they are and readable')
    .argument('[name]', "default: the store's own key (SSE-S3)")
    .action((name: string | undefined, options: AuthorityOptions) =>
      make('rotate', name ?? '', options),
    );
  addExamples(encryption, [
    'anello encryption key list',
    'anello encryption key create payroll',
    'anello encryption key rotate payroll',
    "anello encryption key rotate   # the store's own",
  ]);
}

async function list(options: AuthorityOptions): Promise<void> {
  const keys = await new AuthorityClient(options).get<ObjectKeyView[]>(PATH);
  if (options.json) return console.log(JSON.stringify(keys, null, 2));
  const newest = new Map(keys.map(({ name, id }) => [name, id]));
  printTable(
    ['name', 'version', 'made', 'encrypts'],
    keys.map(({ id, name, createdMs }) => [
      name === '' ? OWN : name,
      id,
      new Date(createdMs).toISOString(),
      newest.get(name) === id ? 'yes' : '',
    ]),
  );
}

async function make(
  how: 'create' | 'rotate',
  name: string,
  options: AuthorityOptions,
): Promise<void> {
  const made = await new AuthorityClient(options).post<ObjectKeyView>(PATH, { name, how });
  if (options.json) return console.log(JSON.stringify(made, null, 2));
  console.log(`${name === '' ? OWN : name}: version ${made.id} encrypts from now on`);
}
