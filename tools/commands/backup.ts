/** `anello backup`: everything that the state store holds, in one file. */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import { decodeBackup } from '#authority/backup-format.ts';
import { OperatingError } from '#base/errors.ts';
import { createNodeEnv } from '#env/node/node-env.ts';
import {
  AuthorityClient,
  type AuthorityOptions,
  addAuthorityOptions,
} from '../authority/client.ts';
import { formatSize } from '../ring/plan-print.ts';

const SECRET_MODE = 0o600;

export function register(program: Command): void {
  addAuthorityOptions(program.command('backup'))
    .description("the authority's state in one file: rings, document, members, identity, buckets")
    .argument('<file>', 'written whole or not at all; must not exist')
    .addHelpText(
      'after',
      `
It is taken at one moment, while the cluster runs. Secrets in it are sealed with the master key
(master.key of an authority's machine), which is not in it: keep a copy of that elsewhere.

Example:
  anello backup /var/backups/anello-$(date +%F).backup`,
    )
    .action(backup);
}

async function backup(file: string, options: AuthorityOptions): Promise<void> {
  if (existsSync(file)) throw new OperatingError('wrong-use', `${file} exists`);
  const bytes = await new AuthorityClient(options).getBytes('/v1/backup');
  // Read back before anybody relies on it.
  const { clusterId, madeMs, bundleVersion, items } = decodeBackup(bytes);
  const env = createNodeEnv({ logLevel: 'warn' });
  await env.disk.replace(file, bytes, SECRET_MODE).finally(() => env.close());
  const facts = {
    file,
    clusterId,
    made: new Date(madeMs).toISOString(),
    bundleVersion,
    keys: items.length,
    bytes: bytes.length,
    sha256: createHash('sha256').update(bytes).digest('hex'),
  };
  if (options.json) console.log(JSON.stringify(facts, null, 2));
  else
    console.log(
      `${file}: ${facts.keys} keys of version ${bundleVersion}, ${formatSize(facts.bytes)}, as of ${facts.made}`,
    );
}
