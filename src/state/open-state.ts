/** The state store that a configuration names: `sqlite:PATH`, or `etcd:URL,URL,URL` (nearest first). */
import { OperatingError } from '#base/errors.ts';
import type { Env } from '#env/env.ts';
import { openEtcdState } from './etcd-state.ts';
import { openSqliteState } from './sqlite-state.ts';
import type { State } from './state.ts';

/** @throws OperatingError `bad-state-url` */
export function openState(
  env: Pick<Env, 'clock' | 'disk' | 'random' | 'log'>,
  where: string,
  fetch: typeof globalThis.fetch,
): State {
  const colon = where.indexOf(':');
  const [driver, rest] = [where.slice(0, colon), where.slice(colon + 1)];
  if (driver === 'sqlite' && rest !== '') return openSqliteState(env, rest);
  const endpoints = rest.split(',').map((url) => url.trim().replace(/\/$/, ''));
  if (driver === 'etcd' && endpoints.every(isHttp)) return openEtcdState(env, { endpoints, fetch });
  throw new OperatingError(
    'bad-state-url',
    `a state store is sqlite:PATH or etcd:http://HOST:PORT,..., not ${where}`,
  );
}

function isHttp(text: string): boolean {
  const url = URL.parse(text);
  return url !== null && /^https?:$/.test(url.protocol) && url.pathname === '/';
}
