/** The state store that a node's file names. */
import type { NodeConfig } from '#config/node-config.ts';
import { certifiedFetch } from '#env/node/certified-fetch.ts';
import type { NodeEnv } from '#env/node/node-env.ts';
import { openEtcdState } from '#state/etcd-state.ts';
import { openSqliteState } from '#state/sqlite-state.ts';
import type { State } from '#state/state.ts';

/** Opening etcd never fails: a member that is away is one that will be asked again. */
export function openNodeState(env: NodeEnv, { state }: Pick<NodeConfig, 'state'>): State {
  if (state.driver === 'sqlite') return openSqliteState(env, state.path);
  const endpoints = state.endpoints.map((url) => url.replace(/\/$/, ''));
  const { tls } = state;
  return openEtcdState(env, { endpoints, fetch: tls === undefined ? fetch : certifiedFetch(tls) });
}
