/** `anello restore`: a backup into an empty state store, while no authority runs. */
import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import { type Backup, decodeBackup } from '#authority/backup-format.ts';
import { type Restored, restoreBackup } from '#authority/restore.ts';
import { OperatingError } from '#base/errors.ts';
import { certifiedFetch } from '#env/node/certified-fetch.ts';
import { createNodeEnv } from '#env/node/node-env.ts';
import { PRIVATE, PUBLIC } from '#identity/records.ts';
import { createVault, loadMasterKey } from '#identity/vault.ts';
import { openState } from '#state/open-state.ts';
import { newestBundle } from '../authority/kept-bundle.ts';
import { ProgressBar } from '../authority/progress-bar.ts';
import { placesOf, type RestoreOptions } from '../authority/restore-places.ts';
import { MACHINE_FILE } from '../endpoint.ts';
import { readInput } from '../input-file.ts';

/** New ones are made at the next start: tokens that were revoked since the backup stay without effect. */
const SIGNING_KEYS = [`${PUBLIC}key/`, `${PRIVATE}signing-seed/`, `${PRIVATE}latest-key`];

export function register(program: Command): void {
  const collect = (value: string, all: readonly string[]): string[] => [...all, value];
  program
    .command('restore')
    .description('put a backup into an empty state store, while no authority runs')
    .argument('<file>', 'from: anello backup')
    .option('--state <store>', 'etcd:http://A:2379,... or sqlite:FILE; needed with --config')
    .option('--config <file>', "the machine's own file", MACHINE_FILE)
    .option('--data <dir>', 'the data folder of "anello up" instead')
    .option('--master-key <file>', "default: the machine's own")
    .option('--bundle <file>', "any node's last good bundle; may be repeated", collect, [])
    .option('--replace', 'forget what the store holds')
    .option('--json', 'machine-readable output')
    .addHelpText(
      'after',
      `
Nodes go on without an authority meanwhile, and take no version below theirs. So give it the newest
bundle that nodes have kept (DATA/bundle; this machine's own is looked at anyway): the restored authority
begins above it, with its rings. Tokens given out before end: users log in again.

Examples:
  anello restore anello.backup --state etcd:http://10.1.0.1:2379,http://10.2.0.1:2379,http://10.3.0.1:2379
  anello restore anello.backup --data ./data --replace`,
    )
    .action(restore);
}

async function restore(file: string, options: RestoreOptions): Promise<void> {
  const backup = decodeBackup(readInput(file));
  const places = placesOf(options);
  if (!existsSync(places.masterKey))
    throw new OperatingError('no-master-key', `${places.masterKey} is not there: --master-key`);
  const last = newestBundle(places.bundles, backup);
  const env = createNodeEnv({ logLevel: 'error', logDestination: 2 });
  const masterKey = await loadMasterKey(env, places.masterKey);
  const { etcd } = places;
  const state = openState(env, places.state, etcd ? certifiedFetch(etcd) : fetch);
  const bar = options.json ? undefined : new ProgressBar('stderr');
  try {
    const restored = await restoreBackup({
      env,
      state,
      sealer: createVault(env.random, masterKey),
      backup,
      last,
      without: SIGNING_KEYS,
      replace: options.replace === true,
      progress: (done, all) => bar?.show(done, all, 'keys'),
    });
    bar?.clear();
    if (options.json) console.log(JSON.stringify({ ...restored, last: last?.version }, null, 2));
    else print(restored, backup, last?.version);
  } finally {
    await state.close();
    await env.close();
  }
}

function print(restored: Restored, backup: Backup, last: number | undefined): void {
  const { version, keys, adopted, joinedSince } = restored;
  console.log(
    `${keys} keys of ${new Date(backup.madeMs).toISOString()}: version ${version} is published`,
  );
  if (last === undefined)
    console.log('no bundle of a node was at hand: nodes that know a later version will refuse it');
  for (const ring of adopted) console.log(`newer than the backup, taken from a node: ${ring}`);
  if (joinedSince.length > 0)
    console.log(`joined after the backup: ${joinedSince.join(', ')} (see anello node list)`);
  console.log('start the authorities, then restart all nodes one after another');
}
