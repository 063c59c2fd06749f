/** `anello config`: the cluster document, one for all nodes. */
import type { Command } from 'commander';
import { stringify } from 'yaml';
import {
  AuthorityClient,
  type AuthorityOptions,
  addAuthorityOptions,
} from '../authority/client.ts';
import { addExamples } from '../examples.ts';
import { readInputYaml } from '../input-file.ts';
import { whoAmI } from '../ring/online.ts';

export function register(program: Command): void {
  const config = program.command('config').description('the cluster document: one for all nodes');
  const verb = (name: string, text: string): Command =>
    addAuthorityOptions(config.command(name).description(text));
  verb('show', 'print it as YAML').action(show);
  verb('diff', 'what a file would change').argument('<file>', 'YAML').action(diff);
  verb('set', 'put a file in force').argument('<file>', 'YAML').action(set);
  verb('history', 'what was published when, by whom').action(history);
  addExamples(config, [
    'anello config show > cluster.yaml',
    'anello config diff cluster.yaml && anello config set cluster.yaml',
    'anello config history',
  ]);
}

async function show(options: AuthorityOptions): Promise<void> {
  const document = await new AuthorityClient(options).get('/v1/document');
  if (options.json) console.log(JSON.stringify(document, null, 2));
  else process.stdout.write(stringify(document));
}

async function diff(file: string, options: AuthorityOptions): Promise<void> {
  const before = flat(await new AuthorityClient(options).get('/v1/document'));
  const after = flat(readInputYaml(file));
  const paths = [...new Set([...before.keys(), ...after.keys()])].sort();
  const changes = paths
    .map((path) => ({ path, before: before.get(path), after: after.get(path) }))
    .filter((change) => change.before !== change.after);
  if (options.json) {
    console.log(JSON.stringify(changes, null, 2));
    return;
  }
  for (const { path, before: old, after: next } of changes) {
    if (old !== undefined) console.log(`- ${path}: ${old}`);
    if (next !== undefined) console.log(`+ ${path}: ${next}`);
  }
  if (changes.length === 0) console.log('no difference');
}

/** Every leaf by its path. */
function flat(value: unknown, path = ''): Map<string, string> {
  if (typeof value !== 'object' || value === null) return new Map([[path, JSON.stringify(value)]]);
  const entries = Object.entries(value);
  return new Map(
    entries.flatMap(([key, item]) => [...flat(item, path === '' ? key : `${path}.${key}`)]),
  );
}

async function set(file: string, options: AuthorityOptions): Promise<void> {
  const document: unknown = readInputYaml(file);
  const client = new AuthorityClient(options);
  const reply = await client.put<{ version: number }>('/v1/document', { document, who: whoAmI() });
  console.log(options.json ? JSON.stringify(reply) : `version ${reply.version} is published`);
}

interface Published {
  readonly version: number;
  readonly atMs: number;
  readonly what: string;
  readonly who: string;
}

async function history(options: AuthorityOptions): Promise<void> {
  const versions = await new AuthorityClient(options).get<Published[]>('/v1/history');
  if (options.json) console.log(JSON.stringify(versions, null, 2));
  else
    for (const { version, atMs, what, who } of versions)
      console.log(
        `${String(version).padStart(6)}  ${new Date(atMs).toISOString()}  ${who}: ${what}`,
      );
}
