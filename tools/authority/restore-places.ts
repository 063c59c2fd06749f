/** Where a restore finds the store, the master key and what nodes have kept. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { OperatingError } from '#base/errors.ts';
import { type MachineFile, parseMachineFile } from '#config/machine-file.ts';

export interface RestoreOptions {
  readonly state?: string;
  readonly config: string;
  readonly data?: string;
  readonly masterKey?: string;
  readonly bundle: readonly string[];
  readonly replace?: boolean;
  readonly json?: boolean;
}

export interface RestorePlaces {
  readonly state: string;
  readonly masterKey: string;
  readonly bundles: readonly string[];
  readonly etcd: MachineFile['etcd'];
}

/** @throws OperatingError `wrong-use`, `no-cluster`, `bad-config` */
export function placesOf(options: RestoreOptions): RestorePlaces {
  const { data, state, masterKey, bundle } = options;
  for (const file of bundle)
    if (!existsSync(file)) throw new OperatingError('wrong-use', `there is no bundle ${file}`);
  const found = data === undefined ? onMachine(options) : ofCluster(data);
  const where = state ?? found.state;
  if (where === undefined) throw new OperatingError('wrong-use', '--state is needed');
  const key = masterKey ?? found.masterKey;
  if (key === undefined) throw new OperatingError('wrong-use', '--master-key is needed');
  return {
    state: where,
    masterKey: key,
    bundles: [...bundle, ...found.bundles],
    etcd: found.etcd,
  };
}

type Found = Partial<RestorePlaces> & Pick<RestorePlaces, 'bundles' | 'etcd'>;

function onMachine({ config }: RestoreOptions): Found {
  if (!existsSync(config)) return { bundles: [], etcd: undefined };
  const { data, etcd } = parseMachineFile(readFileSync(config, 'utf8'));
  return { masterKey: path.join(data, 'master.key'), bundles: [path.join(data, 'bundle')], etcd };
}

function ofCluster(folder: string): Found {
  const nodes = path.join(folder, 'nodes');
  if (!existsSync(nodes))
    throw new OperatingError('no-cluster', `no cluster of "anello up" in ${folder}`);
  return {
    state: `sqlite:${path.join(folder, 'state', 'state.db')}`,
    masterKey: path.join(folder, 'state', 'master.key'),
    bundles: readdirSync(nodes).map((name) => path.join(nodes, name, 'bundle')),
    etcd: undefined,
  };
}
